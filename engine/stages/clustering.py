"""How a fit finds its clusters: on a sample first, then over all users, then compared with those in use.

1. A sample of the users gives the preparation, the number of clusters and a first solution.
2. Every bucket of users is prepared once, as a block.
3. k-means and mixtures go on from the sample's solution over all blocks; the other algorithms stay with the sample's.
4. All users give the figures of the clusters, the sample tells how stable they are.
5. The clusters get ids and names: those of the clusters in use that they continue, or new ones.
6. Clusters that would move too many users give way to those in use.

Each pass over the users is one call of the executor, and what comes back are whole sums: the clusters do not depend on
how users are cut into buckets, nor on where the tasks run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from engine.bundle import Bundle, load_bundle
from engine.clusters.assign import Clustering
from engine.clusters.identity import Event, Identity, Published, first_ids, match
from engine.clusters.moves import APART, churn_reasons
from engine.clusters.naming import name_clusters
from engine.clusters.profile_sums import ProfilePlan, ProfileSums
from engine.clusters.profiles import profiles
from engine.clusters.record import Clustered, Kept
from engine.clusters.vocabulary import vocabulary
from engine.config import Config
from engine.errors import ConfigError, IntegrityError
from engine.execution.protocol import Executor
from engine.features.build import MONETARY_MINOR
from engine.features.catalogue import catalogue
from engine.features.spec import FeatureSpec
from engine.incumbent import same_definitions
from engine.progress import Progress, track
from engine.stages.cluster_fit import ClusterInput, ClusterRun, Found, find_clusters
from engine.stages.cluster_views import Before, merge_views, view_tasks, view_users

_WITH_CENTRES = {"kmeans", "mixture", "ward"}
_FURTHER = ("rfm_recency_days", "rfm_frequency", "rfm_monetary", "rfm_mean_order", "engagement_points")


@dataclass(frozen=True)
class LearntClusters:
    """The clusters of a fit.

    Attributes:
        clustered: Those that go into the bundle: the new ones, or those in use when the new ones moved too many users.
        failed: Why the new ones did not pass their gate, one line each.
        held: Whether the bundle must not be promoted for it: there are none that could stay in their place.
    """

    clustered: Clustered
    failed: tuple[str, ...] = ()
    held: bool = False


def learn_clusters(
    given: ClusterInput,
    config: Config,
    spec: FeatureSpec,
    before: Path | None,
    *,
    work: Path,
    executor: Executor,
    progress: Progress | None,
) -> LearntClusters:
    """Find, compare, name and judge the clusters of a fit.

    Args:
        given: The users.
        config: The configuration.
        spec: The features.
        before: Folder of the bundle in use; None without one.
        work: Folder for what is only needed now.
        executor: Where the users are read.
        progress: Told how far each stage is.

    Raises:
        DataError: The users are too few or too alike, or a feature has values that are not finite.
    """
    run = ClusterRun(given, config, spec, work, executor, progress)
    in_use = _in_use(before)
    found = find_clusters(run)
    clustered = _described(run, found, in_use)
    failed = churn_reasons(clustered.moves, config.clusters.max_moved)
    if not failed or config.model.gate == "warn":
        return LearntClusters(clustered, failed)
    old = None if in_use is None else in_use.clusters
    if in_use is None or old is None or before is None or not _may_stay(old, in_use.spec, run):
        return LearntClusters(clustered, failed, held=True)
    places = tuple(range(len(old.clustering.ids)))
    kept = Found(replace(old.clustering, ids=places), old.report, old.curve, old.notes, old.quality, old.stability)
    stays = replace(_described(run, kept, in_use, stays=True), kept=Kept(before.name, failed))
    return LearntClusters(stays, failed)


def _in_use(before: Path | None) -> Bundle | None:
    """The bundle in use; None without one that can be read and has clusters."""
    try:
        bundle = None if before is None else load_bundle(before)
    except (ConfigError, IntegrityError):
        # A new fit is what mends it.
        return None
    return None if bundle is None or bundle.clusters is None else bundle


def _may_stay(old: Clustered, then: FeatureSpec, run: ClusterRun) -> bool:
    """Whether clusters are such as the configuration asks for now: made of the same features by the same algorithm."""
    features = old.clustering.preparation.features
    same = features == run.given.features and same_definitions(features, then, run.spec)
    return same and old.clustering.algorithm == run.config.clusters.algorithm


def _described(run: ClusterRun, found: Found, in_use: Bundle | None, *, stays: bool = False) -> Clustered:
    """A clustering with ids, names, profiles and moves; `stays`: it is that of the bundle in use."""
    old = None if in_use is None else in_use.clusters
    note = None
    if old is not None and in_use is not None:
        gone = _gone(old.clustering.preparation.features, in_use.spec, run.spec)
        if gone:
            note = f"clusters have new ids: {', '.join(gone)}, of which those in use are made, are not as they were"
            old = None
    before = None if old is None else Before(old.clustering, by_place=_by_place(old.clustering, found.clustering))
    plan = _plan(run)
    tasks = view_tasks(run.given.files, found.clustering, plan, before)
    view = merge_views(
        run.executor.map(view_users, tasks, on_done=track(run.progress, "describe clusters", len(tasks)))
    )
    order = _order(view.sums, plan, found.clustering, run.given.order_by)
    if old is None or view.overlap is None:
        identity = first_ids(order, run.given.first_id, note)
    elif stays:
        identity = _all_kept(old, view.sums, run.given.first_id)
    else:
        published = _published(old, by_place=before is not None and before.by_place)
        identity = match(published, view.overlap, order, run.given.first_id)
    ids = dict(enumerate(identity.ids))
    described = profiles(view.sums.renamed(ids), plan)
    language = run.config.clusters.language
    called, warnings = name_clusters(
        described,
        plan.clustered,
        vocabulary(run.spec, language),
        language,
        run.config.clusters.names,
        None if old is None else old.called,
    )
    clustering = replace(
        found.clustering,
        ids=identity.ids,
        next_id=identity.next_id,
        names=tuple(called.names[cluster] for cluster in identity.ids),
        apart_name=called.names[APART],
    )
    return Clustered(
        clustering=clustering,
        called=called,
        report=found.report,
        curve=found.curve,
        notes=(*found.notes, *warnings),
        quality=found.quality,
        stability=found.stability,
        identity=identity,
        moves=None if view.overlap is None else view.overlap.moves.renamed(ids),
        plan=plan,
        profiles=described,
    )


def _gone(features: tuple[str, ...], then: FeatureSpec, now: FeatureSpec) -> list[str]:
    return [name for name in features if not same_definitions((name,), then, now)]


def _by_place(old: Clustering, new: Clustering) -> bool:
    """Whether the centroids of two clusterings can be compared: those of DBSCAN are in the middle of any shape."""
    same = old.algorithm == new.algorithm and old.preparation.features == new.preparation.features
    return same and new.algorithm in _WITH_CENTRES


def _published(old: Clustered, *, by_place: bool) -> Published:
    return Published(old.clustering.ids, np.array(old.clustering.centroids) if by_place else None)


def _all_kept(old: Clustered, sums: ProfileSums, first_id: int) -> Identity:
    ids = old.clustering.ids
    events = (Event("kept", cluster, (), sums.users.get(place, 0)) for place, cluster in enumerate(ids))
    next_id = max(first_id, old.clustering.next_id)
    return Identity(ids, next_id, tuple(sorted(events, key=lambda event: event.cluster)))


def _order(sums: ProfileSums, plan: ProfilePlan, clustering: Clustering, by: str) -> list[tuple[float, ...]]:
    """Per cluster the mean of a feature, then its centroid; a cluster without users comes last."""
    means = []
    for place in range(len(clustering.ids)):
        known, total, _ = sums.sums[by].get(place, (0, 0, 0))
        means.append(total / (known * plan.units(by)) if known else float("-inf"))
    return [(mean, *centroid) for mean, centroid in zip(means, clustering.centroids, strict=True)]


def _plan(run: ClusterRun) -> ProfilePlan:
    units = {feature.name: feature.unit for feature in catalogue(run.spec)}
    further = tuple(name for name in _FURTHER if name in units and name not in run.given.features)
    money = frozenset(name for name in (*run.given.features, *further) if units[name] == "money")
    value = None if run.spec.purchase is None else MONETARY_MINOR
    return ProfilePlan(run.given.features, further, money, run.given.categories, value, run.spec.currency_digits)
