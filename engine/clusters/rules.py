"""Rules that choose a number of clusters from the figures of each that was tried.

`silhouette`: the smallest k whose silhouette is within a share of the best. Within 10 % is the rule of Google's
marketing-analytics-jumpstart; the maximum alone often sits at a k that is larger, hardly better, and harder to act on.
`elbow`: the k whose inertia is farthest below the chord from the first to the last k, both axes scaled to 0 … 1: V.
Satopää et al., "Finding a 'kneedle' in a haystack" (2011), without its smoothing and its threshold, since there is one
knee to find. `gap`: the smallest k with gap(k) ≥ gap(k + 1) - s(k + 1): R. Tibshirani et al. (2001). `bic`: the least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from engine.config_learning import Clusters


@dataclass(frozen=True)
class CurvePoint:
    """The figures of one k, for the report.

    `silhouette`, `calinski_harabasz`, `davies_bouldin` and `smallest_share` as in `engine.clusters.quality.Quality`;
    the first three are None where only one cluster has rows. `inertia`: sum of squared distances to the centroids
    (k-means), to the means of the clusters (others). `gap` and its standard error `gap_error` as in
    `engine.clusters.gap`, None where not defined; `bic` only of a mixture. `iterations`: updates of the parameters.
    """

    k: int
    silhouette: float | None
    inertia: float
    smallest_share: float
    calinski_harabasz: float | None
    davies_bouldin: float | None
    iterations: int
    converged: bool
    gap: float | None = None
    gap_error: float | None = None
    bic: float | None = None


def chosen(curve: Sequence[CurvePoint], settings: Clusters) -> tuple[int, tuple[str, ...]]:
    """The chosen number of clusters, and what the reader of the report must know about the choice.

    A k whose smallest cluster has a smaller share than `min_share` is not taken if another can be.

    Args:
        curve: At least one k, ascending.
        settings: `choose`, `tolerance` and `min_share`.
    """
    notes = []
    allowed = [point for point in curve if point.smallest_share >= settings.min_share]
    if not allowed:
        allowed = list(curve)
        notes.append(
            f"every number of clusters tried has a cluster with less than {settings.min_share:.1%} of the users "
            "(clusters.min_share); the best of them was taken"
        )
    rules: dict[str, Callable[[], CurvePoint | None]] = {
        "silhouette": lambda: _near_best(allowed, settings.tolerance),
        "elbow": lambda: _elbow(curve, allowed),
        "gap": lambda: _gap(curve, allowed),
        "bic": lambda: _least_bic(allowed),
    }
    point = rules[settings.choose]()
    if point is None:
        point = allowed[0]
        if len(curve) > 1:
            notes.append(f"clusters.choose = {settings.choose!r} has no figure to go by; the smallest number was taken")
    return point.k, tuple(notes)


def _near_best(allowed: Sequence[CurvePoint], tolerance: float) -> CurvePoint | None:
    defined = [(point, point.silhouette) for point in allowed if point.silhouette is not None]
    if not defined:
        return None
    best = max(silhouette for _, silhouette in defined)
    return next(point for point, silhouette in defined if silhouette >= best - tolerance * abs(best))


def _elbow(curve: Sequence[CurvePoint], allowed: Sequence[CurvePoint]) -> CurvePoint:
    first, last = curve[0], curve[-1]
    fall = first.inertia - last.inertia

    def below_chord(point: CurvePoint) -> float:
        if fall <= 0:
            return 0.0
        return (first.inertia - point.inertia) / fall - (point.k - first.k) / (last.k - first.k)

    # Of equally far ones the first: max keeps it.
    return max(allowed, key=below_chord)


def _gap(curve: Sequence[CurvePoint], allowed: Sequence[CurvePoint]) -> CurvePoint | None:
    following = {point.k: after for point, after in pairwise(curve)}
    defined = [(point, point.gap) for point in allowed if point.gap is not None]
    for point, gap in defined:
        after = following.get(point.k)
        if after is not None and after.gap is not None and gap >= after.gap - (after.gap_error or 0.0):
            return point
    # The gap still grows at the last k.
    return max(defined, key=lambda pair: pair[1], default=(None, 0.0))[0]


def _least_bic(allowed: Sequence[CurvePoint]) -> CurvePoint | None:
    defined = [(point, point.bic) for point in allowed if point.bic is not None]
    return min(defined, key=lambda pair: pair[1], default=(None, 0.0))[0]
