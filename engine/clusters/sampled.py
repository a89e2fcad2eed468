"""Clusters of a sample: Ward's hierarchy, DBSCAN and HDBSCAN, whose time or memory grows with the square of the rows.

All other users are assigned to what is found here: to the nearest centroid (Ward), or to the cluster whose exemplars
they are near to, if any (DBSCAN, HDBSCAN). The results depend on the set of rows, not on their order: rows are sorted
first, and clusters are put in the lexicographic order of their centroids.

Sources: J. Ward (1963), with D. Müllner's nearest-neighbour chain in scipy; M. Ester et al., "A density-based algorithm
for discovering clusters" (1996); R. Campello, D. Moulavi and J. Sander, "Density-based clustering based on hierarchical
density estimates" (2013); the knee of the curve of distances as in V. Satopää et al., "Finding a 'kneedle' in a
haystack" (2011).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from engine.clusters.exemplars import Exemplars, stand_for
from engine.clusters.nearest import Floats, Labels
from engine.clusters.outliers import Mask
from engine.errors import DataError

ROWS_AT_MOST: Final = {"ward": 8_000, "dbscan": 20_000, "hdbscan": 20_000}
"""Rows of the sample: Ward takes 0.5 GB for 8,000 rows; the others some ten seconds for 20,000."""

NOISE: Final = -1

_UNITS: Final = 2.0**20
# Few users far from all others would rule the curve that the radius is read from.
_CURVE_SHARE: Final = 0.99
# A cluster's own radius (HDBSCAN): stragglers do not widen it.
_RADIUS_SHARE: Final = 0.95


@dataclass(frozen=True, eq=False)
class Sampled:
    """Clusters of a sample, in the lexicographic order of their centroids.

    `labels` (n,) in the order of the rows, -1 for noise; `centroids` (k, d), means of the rows of each cluster; `sizes`
    (k,). `exemplars` are None for Ward. `radius` is that of DBSCAN, given or found.
    """

    labels: Labels
    centroids: Floats
    sizes: Floats
    exemplars: Exemplars | None = None
    radius: float | None = None


@dataclass(frozen=True, eq=False)
class WardTree:
    """Ward's hierarchy of the sorted rows, to be cut at any number of clusters.

    `order` (n,) sorts the rows; `merges` (n - 1, 2) names what is merged at each step, as scipy's `linkage`.
    """

    rows: Floats
    order: Labels
    merges: Labels
    distinct: int


def ward_tree(rows: Floats) -> WardTree:
    """Merges that raise the sum of squared distances to the centroids least; of equal ones, scipy's choice.

    Args:
        rows: Shape (n, d), finite, n ≥ 2 and at most `ROWS_AT_MOST["ward"]`.

    Raises:
        DataError: All rows are equal.
    """
    from scipy.cluster.hierarchy import linkage

    order = _sorted_order(rows)
    distinct = len(_runs(rows[order])[0])
    _need(2, distinct)
    merges = linkage(np.ascontiguousarray(rows[order]), "ward")[:, :2].astype(np.intp)
    return WardTree(rows, order, merges, distinct)


def cut(tree: WardTree, k: int) -> Sampled:
    """The hierarchy's k clusters.

    Raises:
        DataError: There are fewer than k distinct rows.
    """
    _need(k, tree.distinct)
    n = len(tree.order)
    root = np.arange(n + len(tree.merges))
    for step in range(n - k - 1, -1, -1):
        root[tree.merges[step]] = root[n + step]
    labels = np.empty(n, dtype=np.intp)
    labels[tree.order] = np.unique(root[:n], return_inverse=True)[1]
    return _canonical(tree.rows, labels)


def dbscan(rows: Floats, neighbours: int, *, radius: float | None = None, min_share: float = 0.0) -> Sampled:
    """Clusters of rows that have `neighbours` rows (themselves included) within the radius, and their surroundings.

    A row that is no such core and is in reach of several clusters falls to the one with the lexicographically first
    core. Without a radius it is the knee of the curve of the sorted distances to the `neighbours`-th row, where it
    bends up most: the point farthest below the line from the curve's start to the end of its first 99 %, and that end
    where no point is below the line. Where so many rows have enough equal ones that the knee is at 0, every distinct
    row is counted once to find it.

    Args:
        rows: Shape (n, d), finite; at most `ROWS_AT_MOST["dbscan"]`.
        neighbours: Rows that make a place dense.
        radius: In the unit of the rows.
        min_share: Clusters with a smaller share of the rows are noise.

    Raises:
        DataError: All rows are equal, or there is no cluster.
    """
    from sklearn.cluster import DBSCAN

    order = _sorted_order(rows)
    firsts, counts = _runs(rows[order])
    _need(2, len(firsts))
    points = np.ascontiguousarray(rows[order][firsts])
    within = _knee(points, counts, neighbours) if radius is None else radius
    # A k-d tree at any number of dimensions: brute force would leave the distances to the linear algebra library.
    model = DBSCAN(eps=within, min_samples=neighbours, algorithm="kd_tree").fit(points, sample_weight=counts)
    labels = np.empty(len(rows), dtype=np.intp)
    labels[order] = np.repeat(model.labels_, counts)
    core = np.zeros(len(points), dtype=np.bool_)
    core[model.core_sample_indices_] = True
    dense = np.empty(len(rows), dtype=np.bool_)
    dense[order] = np.repeat(core, counts)
    found = _canonical(rows, _without_small(labels, min_share))
    return replace(found, exemplars=_exemplars(rows, found, dense, np.full(len(rows), within)), radius=within)


def hdbscan(rows: Floats, neighbours: int, *, min_share: float = 0.0) -> Sampled:
    """The most persistent clusters of the hierarchy of densities, of scikit-learn's `HDBSCAN`.

    All rows of a cluster may be its exemplars; its radius is the distance to the `neighbours`-th row that 95 % of its
    rows do not exceed.

    Args:
        rows: Shape (n, d), finite; at most `ROWS_AT_MOST["hdbscan"]`.
        neighbours: Rows that make a place dense.
        min_share: A cluster has at least this share of the rows, and at least `neighbours` and 2 of them.

    Raises:
        DataError: All rows are equal, or there is no cluster.
    """
    from sklearn.cluster import HDBSCAN

    order = _sorted_order(rows)
    firsts, counts = _runs(rows[order])
    _need(2, len(firsts))
    model = HDBSCAN(
        min_cluster_size=max(2, neighbours, math.ceil(min_share * len(rows))),
        min_samples=min(neighbours, len(rows)),
        algorithm="kd_tree",
        copy=True,
    ).fit(np.ascontiguousarray(rows[order]))
    labels = np.empty(len(rows), dtype=np.intp)
    # Of equal rows some may be noise to it, and others not: they have one label.
    labels[order] = np.repeat(np.maximum.reduceat(model.labels_, firsts), counts)
    distances = np.empty(len(rows))
    distances[order] = np.repeat(_distances(rows[order][firsts], counts, neighbours), counts)
    found = _canonical(rows, labels)
    return replace(found, exemplars=_exemplars(rows, found, np.ones(len(rows), dtype=np.bool_), distances))


def _sorted_order(rows: Floats) -> Labels:
    return np.asarray(np.lexsort(rows.T[::-1]), dtype=np.intp)


def _runs(ordered: Floats) -> tuple[Labels, Labels]:
    """Where each run of equal rows starts, and its length."""
    new = np.ones(len(ordered), dtype=np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    firsts = np.flatnonzero(new)
    return firsts, np.diff(firsts, append=len(ordered))


def _need(k: int, distinct: int) -> None:
    if distinct < k:
        raise DataError(
            f"{k} clusters need at least {k} distinct rows, got {distinct}",
            code="clusters-too-few-rows",
            hint="Lower clusters.k_min, or give clusters.features that tell users apart.",
        )


def _without_small(labels: Labels, min_share: float) -> Labels:
    sizes = np.bincount(labels[labels != NOISE], minlength=1)
    small = np.flatnonzero(sizes < min_share * len(labels))
    return np.where(np.isin(labels, small), NOISE, labels)


def _canonical(rows: Floats, labels: Labels) -> Sampled:
    present = np.unique(labels[labels != NOISE])
    if not len(present):
        raise DataError(
            f"no cluster was found among {len(rows)} users of the sample: all of them are noise",
            code="clusters-none-dense",
            hint="Raise clusters.radius (DBSCAN), lower clusters.neighbours or clusters.min_share, "
            'or take clusters.algorithm = "kmeans".',
        )
    centroids = np.array([_mean(rows[labels == label]) for label in present])
    order = _sorted_order(centroids)
    position = np.full(int(present.max()) + 2, NOISE)
    position[present[order]] = np.arange(len(present))
    # The last place is that of noise: -1 counts from the end.
    renumbered = position[labels]
    sizes = np.bincount(renumbered[renumbered != NOISE], minlength=len(present)).astype(np.float64)
    return Sampled(renumbered, centroids[order], sizes)


def _mean(rows: Floats) -> list[float]:
    return [math.fsum(rows[:, feature].tolist()) / len(rows) for feature in range(rows.shape[1])]


def _exemplars(rows: Floats, found: Sampled, dense: Mask, radii: Floats) -> Exemplars:
    clusters = []
    for position in range(len(found.centroids)):
        inside = found.labels == position
        members = rows[inside & dense]
        members = members[_sorted_order(members)]
        ascending = np.sort(radii[inside])
        radius = float(ascending[math.ceil(_RADIUS_SHARE * len(ascending)) - 1])
        clusters.append((members[_runs(members)[0]], rows[inside], radius))
    return stand_for(clusters)


def _distances(points: Floats, counts: Labels, neighbours: int) -> Floats:
    """Distance of each distinct row to the `neighbours`-th row, itself and its equals included, rounded up a little."""
    from scipy.spatial import cKDTree

    nearby = min(neighbours, len(points))
    distances, found = cKDTree(points).query(points, k=list(range(1, nearby + 1)))
    enough = np.cumsum(counts[found], axis=1) >= neighbours
    place = np.where(enough.any(axis=1), enough.argmax(axis=1), nearby - 1)
    chosen = distances[np.arange(len(points)), place]
    # Coordinates are multiples of this unit; the last bits of a compiled library's distances do not count.
    return np.asarray(np.ceil(chosen * _UNITS) / _UNITS, dtype=np.float64)


def _knee(points: Floats, counts: Labels, neighbours: int) -> float:
    asked = max(neighbours, 2)
    radius = _bend(np.repeat(_distances(points, counts, asked), counts))
    return radius if radius > 0 else _bend(_distances(points, np.ones_like(counts), asked))


def _bend(distances: Floats) -> float:
    curve = np.sort(distances)[: max(2, math.ceil(_CURVE_SHARE * len(distances)))]
    rise = curve[-1] - curve[0]
    if rise == 0:
        return float(curve[-1])
    below = np.arange(len(curve)) / (len(curve) - 1) - (curve - curve[0]) / rise
    knee = int(np.argmax(below))
    # A curve that nowhere bends up has no rows that are sparser than the others.
    return float(curve[knee if below[knee] > 0 else -1])
