"""How many clusters: the smallest k whose silhouette comes close to the best one.

The smallest k within 10 % of the best is the rule of Google's marketing-analytics-jumpstart; the silhouette's maximum
alone often sits at a k that is larger, hardly better, and harder to act on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.clusters.kmeans import KMeansFit, kmeans
from engine.clusters.nearest import Floats, nearest
from engine.clusters.quality import assess
from engine.errors import DataError


@dataclass(frozen=True)
class CurvePoint:
    """The figures of one k, as in `engine.clusters.quality.Quality` and `engine.clusters.kmeans.KMeansFit`."""

    k: int
    silhouette: float
    inertia: float
    smallest_share: float
    calinski_harabasz: float
    davies_bouldin: float
    iterations: int
    converged: bool


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen number of clusters, its solution, and the figures of every k tried, ascending."""

    k: int
    fit: KMeansFit
    curve: tuple[CurvePoint, ...]


def choose_k(
    rows: Floats,
    k_min: int,
    k_max: int,
    seed: int,
    *,
    n_init: int = 4,
    tolerance: float = 0.10,
    start_rows: int = 20_000,
) -> Choice:
    """Fits every k from `k_min` to `k_max` and chooses the smallest whose silhouette is near the best.

    Equal rows are counted once with their number as weight, in sorted order, so the result depends on the set of rows
    and not on their order. No k above the number of distinct rows is tried.

    Args:
        rows: Shape (n, d), finite: prepared features, one row per user.
        k_min: Smallest number of clusters, ≥ 2.
        k_max: Largest number of clusters, ≥ `k_min`.
        seed: Same seed, same set of rows: same bits.
        n_init: Starts per k.
        tolerance: How far below the best silhouette, as a share of it, the chosen one may be.
        start_rows: As in `engine.clusters.kmeans.kmeans`.

    Raises:
        DataError: All rows are equal, or fewer of them are distinct than `k_min`.
    """
    distinct, counts = distinct_rows(rows)
    _refuse_too_few(len(rows), len(distinct), k_min)
    fits: dict[int, KMeansFit] = {}
    curve = []
    for k in range(k_min, min(k_max, len(distinct)) + 1):
        fits[k] = kmeans(distinct, k, seed=seed, weights=counts, n_init=n_init, start_rows=start_rows)
        curve.append(_point(fits[k], distinct, counts))
    best = max(point.silhouette for point in curve)
    k = next(point.k for point in curve if point.silhouette >= best - tolerance * abs(best))
    return Choice(k, fits[k], tuple(curve))


def distinct_rows(rows: Floats) -> tuple[Floats, Floats]:
    """The distinct rows in lexicographic order, column-major, and how often each occurs (as floats).

    The same bits in any row order, provided that -0.0 and 0.0 were made one, as `Preparation.apply` does.
    """
    order = np.lexsort(rows.T[::-1])
    ordered = np.asfortranarray(rows[order])
    starts = np.ones(len(rows), dtype=np.bool_)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.flatnonzero(starts)
    counts = np.diff(first, append=len(rows)).astype(np.float64)
    return np.asfortranarray(ordered[first]), counts


def _point(fit: KMeansFit, rows: Floats, counts: Floats) -> CurvePoint:
    labels, _ = nearest(rows, fit.centroids)
    quality = assess(rows, labels, counts)
    return CurvePoint(
        k=len(fit.centroids),
        silhouette=quality.silhouette,
        inertia=fit.inertia,
        smallest_share=quality.smallest_share,
        calinski_harabasz=quality.calinski_harabasz,
        davies_bouldin=quality.davies_bouldin,
        iterations=fit.iterations,
        converged=fit.converged,
    )


def _refuse_too_few(users: int, distinct: int, k_min: int) -> None:
    if distinct >= max(k_min, 2):
        return
    if distinct == 1:
        raise DataError(
            f"all {users} users are equal in every clustering feature, so there is nothing to tell apart",
            code="clusters-all-equal",
            hint="Set clusters.enabled = false, or give clusters.features in which users differ.",
        )
    raise DataError(
        f"clusters.k_min is {k_min}, but {users} users have only {distinct} different feature values",
        code="clusters-too-few-rows",
        hint="Lower clusters.k_min, give clusters.features that tell users apart, or set clusters.enabled = false.",
    )
