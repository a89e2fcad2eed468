"""What a run tells of its clusters: figures of a fit, and what it or a score run warns of."""

from __future__ import annotations

from typing import Any

from engine.bundle import Bundle
from engine.clusters.record import Clustered
from engine.config import Config
from engine.stages.clustering import LearntClusters


def cluster_counts(clustered: Clustered) -> dict[str, Any]:
    """The clusters in `counts["clusters"]` of a fit's record: JSON-ready figures, and one entry per cluster."""
    names, quality, stability, moves = clustered.names, clustered.quality, clustered.stability, clustered.moves
    return {
        "clusters": [
            {
                "cluster": profile.cluster,
                "name": names[profile.cluster],
                "users": profile.users,
                "share": profile.share,
            }
            for profile in clustered.profiles
        ],
        "silhouette": None if quality is None else quality.silhouette,
        "stability": None if stability is None else stability.ari,
        "moved_share": None if moves is None else moves.moved_share,
        "ari": None if moves is None else moves.ari,
        "events": [
            {"event": event.kind, "cluster": event.cluster, "others": list(event.others)}
            for event in clustered.identity.events
        ],
        **({} if clustered.kept is None else {"kept": clustered.kept.bundle}),
    }


def cluster_warnings(learnt: LearntClusters) -> list[str]:
    """What a fit warns of about its clusters.

    Args:
        learnt: The clusters of the fit.
    """
    clustered = learnt.clustered
    reasons = "; ".join(learnt.failed)
    lines = []
    if clustered.kept is not None:
        stay = f"the clusters of bundle {clustered.kept.bundle} stay"
        lines.append(f"{stay}, the new ones did not pass their gate: {reasons}")
    elif learnt.failed:
        lines.append(f"the clusters did not pass their gate: {reasons}")
    lines += [f"clusters: {note}" for note in clustered.notes]
    if clustered.identity.note is not None:
        lines.append(clustered.identity.note)
    lines += same_for_all(clustered)
    return [*lines, *unstable(clustered)]


def same_for_all(clustered: Clustered) -> list[str]:
    """Features that tell no users apart, without a value or with a single one."""
    report = clustered.report
    empty = [feature.name for feature in report.features if feature.missing == report.users]
    constant = [feature.name for feature in report.features if feature.constant and feature.name not in empty]
    return [
        *([f"clusters: nobody has a value of {', '.join(empty)}, which tells no users apart"] if empty else []),
        *([f"clusters: all users have the same {', '.join(constant)}, which tells none apart"] if constant else []),
    ]


def unstable(clustered: Clustered) -> list[str]:
    """Clusters that other samples of the users do not give."""
    stability, ids = clustered.stability, clustered.clustering.ids
    if stability is None or not stability.unstable:
        return []
    names = clustered.names
    listed = ", ".join(
        f"{names[ids[place]]} ({ids[place]}) {stability.jaccards[place]:.2f}" for place in stability.unstable
    )
    return [f"clusters that are found again in few samples of the users (mean Jaccard similarity): {listed}"]


def cluster_alarms(bundle: Bundle, users: int, far: int, config: Config) -> list[str]:
    """What a score run warns of about the clusters it assigned; nothing without clusters.

    Args:
        bundle: The bundle that scored.
        users: Users of the run.
        far: Those of them who are farther from every cluster than 99 % were at the fit.
        config: The configuration.
    """
    if bundle.clusters is None:
        return []
    lines = unstable(bundle.clusters)
    if users and far >= config.clusters.refit_far * users:
        lines.append(
            f"{far / users:.1%} of the users are farther from every cluster than 99 % were at the fit of "
            f"{bundle.as_of}; `tamis fit` finds clusters for them"
        )
    unknown = [cluster for cluster in config.clusters.names if int(cluster) not in bundle.clusters.names]
    if unknown:
        lines.append(f"clusters.names: there is no cluster {', '.join(unknown)}")
    return lines
