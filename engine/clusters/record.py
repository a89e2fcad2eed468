"""Everything that a fit found about its clusters: what assigns users, and the figures that a person wants to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from engine.clusters.assign import Clustering
from engine.clusters.assign import from_json as clustering_from_json
from engine.clusters.assign import to_json as clustering_to_json
from engine.clusters.clustering_document import faulty
from engine.clusters.identity import Identity
from engine.clusters.moves import APART, Moves
from engine.clusters.naming import ClusterNames
from engine.clusters.preparation_report import PreparationReport
from engine.clusters.profile_sums import ProfilePlan
from engine.clusters.profiles import Profile
from engine.clusters.quality import Quality
from engine.clusters.rules import CurvePoint
from engine.clusters.stability import Stability


@dataclass(frozen=True)
class Kept:
    """Why the clusters of the bundle before stayed.

    Attributes:
        bundle: Id of the bundle whose clusters they are.
        reasons: Why the new ones did not pass their gate, one line each.
    """

    bundle: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Clustered:
    """The clusters of a bundle.

    Attributes:
        clustering: What assigns users to them.
        called: Their names, and which of them are the configuration's.
        report: What the preparation did to the users it was learnt from.
        curve: The figures of every number of clusters that was tried.
        notes: What the reader of the figures must know, one sentence each.
        quality: Figures over all users; None with a single cluster. Clusters are told by their places.
        stability: How much of the clusters other samples of the users would give; None when not asked for.
        identity: Which cluster is which of the bundle before, and what became of the others.
        moves: Users by cluster of the bundle before and of this one; None without one to compare with.
        plan: What the profiles look at.
        profiles: What the users of each cluster are like, at the fit.
        kept: The clusters are those of the bundle before; None when they were found by this fit.
    """

    clustering: Clustering
    called: ClusterNames
    report: PreparationReport
    curve: tuple[CurvePoint, ...]
    notes: tuple[str, ...]
    quality: Quality | None
    stability: Stability | None
    identity: Identity
    moves: Moves | None
    plan: ProfilePlan
    profiles: tuple[Profile, ...]
    kept: Kept | None = None

    @property
    def names(self) -> dict[int, str]:
        """Name of each cluster by id, that of the users in none included."""
        clustering = self.clustering
        return {APART: clustering.apart_name, **dict(zip(clustering.ids, clustering.names, strict=True))}


def with_names(clustered: Clustered, given: Mapping[str, str]) -> Clustered:
    """The clusters under names of a configuration, which may have been given after the fit; the others keep theirs.

    Args:
        clustered: The clusters.
        given: Names by id; ids of no cluster do not count.
    """
    clustering = clustered.clustering
    names = (given.get(str(cluster), name) for cluster, name in zip(clustering.ids, clustering.names, strict=True))
    called = replace(clustering, names=tuple(names), apart_name=given.get(str(APART), clustering.apart_name))
    return replace(clustered, clustering=called)


_PARTS: Final[dict[str, Any]] = {
    "called": dict[str, Any],
    "report": PreparationReport,
    "curve": tuple[CurvePoint, ...],
    "notes": tuple[str, ...],
    "quality": Quality | None,
    "stability": Stability | None,
    "identity": Identity,
    "moves": Moves | None,
    "plan": ProfilePlan,
    "profiles": tuple[Profile, ...],
    "kept": Kept | None,
}


def to_json(clustered: Clustered) -> dict[str, Any]:
    """A dictionary of strings, lists, dictionaries and numbers; floats survive `json` exactly."""
    plan = asdict(clustered.plan)
    parts = {
        "called": clustered.called.to_json(),
        "report": asdict(clustered.report),
        "curve": [asdict(point) for point in clustered.curve],
        "notes": list(clustered.notes),
        "quality": None if clustered.quality is None else asdict(clustered.quality),
        "stability": None if clustered.stability is None else asdict(clustered.stability),
        "identity": asdict(clustered.identity),
        "moves": None if clustered.moves is None else asdict(clustered.moves),
        "plan": {**plan, "money": sorted(plan["money"])},
        "profiles": [asdict(profile) for profile in clustered.profiles],
        "kept": None if clustered.kept is None else asdict(clustered.kept),
    }
    return {"clustering": clustering_to_json(clustered.clustering), **parts}


def from_json(document: Mapping[str, Any]) -> Clustered:
    """What `to_json` wrote.

    Raises:
        IntegrityError: Keys are missing, unknown or of the wrong kind, or do not fit together; all problems are named.
    """
    problems = [f"{name}: missing" for name in ("clustering", *_PARTS) if name not in document]
    problems += [f"{name}: unknown" for name in document if name != "clustering" and name not in _PARTS]
    parts: dict[str, Any] = {}
    for name in (name for name in _PARTS if name in document):
        try:
            parts[name] = _adapter(name).validate_python(document[name])
        except ValidationError as error:
            problems += [f"{'.'.join(map(str, (name, *item['loc'])))}: {item['msg']}" for item in error.errors()]
    try:
        parts["called"] = ClusterNames.from_json(parts.get("called", {}))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        problems.append(f"called: {type(error).__name__}")
    if problems:
        raise faulty(problems)
    return Clustered(clustering_from_json(document["clustering"]), **parts)


@lru_cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_PARTS[name])
