"""k-means by exact Lloyd iterations over blocks of rows.

Source: S. Lloyd, "Least squares quantization in PCM" (1982). One iteration needs only the weight, the sum and the cost
per cluster and block (sufficient statistics), so blocks can live anywhere; they are always added in the order of the
block list, and the same list gives the same bits wherever its statistics were computed. Clusters that run empty are
refilled as in scikit-learn. Starts are refined on a sample of the rows, as in P. Bradley and U. Fayyad, "Refining
initial points for k-means clustering" (ICML 1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.clusters.nearest import Floats, nearest, sum_by_cluster
from engine.clusters.seeding import generator, plus_plus

# A start is good enough when it was found on this many rows; the iterations over all rows then settle it.
_START_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of shape (n, d), finite, and how many times each counts (once when None); both may be read-only."""

    rows: Floats
    weights: Floats | None = None


@dataclass(frozen=True, eq=False)
class Statistics:
    """What an iteration must know of a block: per cluster the weight (k,), the weighted sum (k, d), the cost (k,)."""

    weights: Floats
    sums: Floats
    costs: Floats


@dataclass(frozen=True, eq=False)
class KMeansFit:
    """A k-means solution.

    `centroids` has shape (k, d). `sizes` (k,), weights of the rows nearest to each, and `inertia`, the weighted sum of
    squared distances, belong to exactly these centroids. `iterations` counts updates of the centroids.
    """

    centroids: Floats
    sizes: Floats
    inertia: float
    iterations: int
    converged: bool


def block_statistics(block: Block, centroids: Floats) -> Statistics:
    """Statistics of a block's rows, each counted for its nearest centroid, added in row order."""
    k = len(centroids)
    labels, squared = nearest(block.rows, centroids)
    sums = np.empty(centroids.shape)
    for feature in range(centroids.shape[1]):
        values = block.rows[:, feature]
        if block.weights is not None:
            values = values * block.weights
        sums[:, feature] = sum_by_cluster(labels, values, k)
    mass = np.ones(len(block.rows)) if block.weights is None else block.weights
    return Statistics(
        weights=sum_by_cluster(labels, mass, k),
        sums=sums,
        costs=sum_by_cluster(labels, squared * mass, k),
    )


def merge_statistics(parts: Iterable[Statistics]) -> Statistics:
    """The sum of the parts, added in their order."""
    first, *others = parts
    weights, sums, costs = first.weights, first.sums, first.costs
    for part in others:
        weights, sums, costs = weights + part.weights, sums + part.sums, costs + part.costs
    return Statistics(weights, sums, costs)


def lloyd(blocks: Sequence[Block], start: Floats, *, max_iter: int = 100, tol: float = 1e-6) -> KMeansFit:
    """Iterates from `start` until the centroids rest.

    A cluster without rows takes the row that is farthest from its own centroid, which leaves its old cluster; of
    equally far rows the first one, in the order of blocks and rows. A cluster's only row is never taken. When every row
    sits on its centroid, an empty cluster keeps its place.

    Args:
        blocks: At least one row in total; read once per iteration.
        start: Centroids of shape (k, d).
        max_iter: Most updates of the centroids.
        tol: Stop when the squared distances the centroids moved sum to at most this, in squared units of the rows.
    """

    def pass_over(centroids: Floats) -> Statistics:
        return merge_statistics(block_statistics(block, centroids) for block in blocks)

    centroids, movement, iterations = start, math.inf, 0
    statistics = pass_over(centroids)
    while movement > tol and iterations < max_iter:
        moved_to = _means(_refill_empty(statistics, blocks, centroids), centroids)
        movement = float(np.add.reduce(np.square(moved_to - centroids), axis=None))
        centroids = moved_to
        iterations += 1
        if movement > 0:
            statistics = pass_over(centroids)
    inertia = float(np.add.reduce(statistics.costs))
    return KMeansFit(centroids, statistics.weights, inertia, iterations, converged=movement <= tol)


def kmeans(
    rows: Floats,
    k: int,
    *,
    seed: int,
    weights: Floats | None = None,
    n_init: int = 4,
    max_iter: int = 100,
    tol: float = 1e-6,
    start_rows: int = _START_ROWS,
) -> KMeansFit:
    """The best of `n_init` k-means runs, with clusters in canonical order.

    Each run starts from its own k-means++ draw. With more than `start_rows` rows the runs go over a systematic sample
    of the row weights, and the best one continues over all rows.

    Args:
        rows: Shape (n, d), finite, in a stable order.
        k: Number of clusters.
        seed: Same seed, same rows in the same order: same bits.
        weights: How many times each row counts, ≥ 0; once when None.
        n_init: Number of starts; of equally good runs the first one counts.
        max_iter: As in `lloyd`.
        tol: As in `lloyd`.
        start_rows: Most rows that starts are tried on.

    Raises:
        DataError: There are fewer than k distinct rows.
    """
    everything = Block(rows, weights)
    tried = _sample(everything, start_rows, generator(seed, k))
    runs = (
        lloyd(
            [tried],
            plus_plus(tried.rows, k, generator(seed, k, restart), tried.weights),
            max_iter=max_iter,
            tol=tol,
        )
        for restart in range(n_init)
    )
    best = min(runs, key=lambda run: run.inertia)
    if tried is not everything:
        best = lloyd([everything], best.centroids, max_iter=max_iter, tol=tol)
    return ordered(best)


def ordered(fit: KMeansFit, key: Callable[[Floats], Floats] | None = None) -> KMeansFit:
    """The same solution with clusters in an order that does not depend on the start.

    Args:
        fit: A solution.
        key: Gives one value per centroid, ascending. Equal values, and all without a key, are put in the lexicographic
            order of their centroids.
    """
    keys = [] if key is None else [key(fit.centroids)]
    order = np.lexsort([*fit.centroids.T[::-1], *keys])
    return replace(fit, centroids=fit.centroids[order], sizes=fit.sizes[order])


def _means(statistics: Statistics, fallback: Floats) -> Floats:
    filled = statistics.weights > 0
    means = fallback.copy()
    means[filled] = statistics.sums[filled] / statistics.weights[filled, np.newaxis]
    return means


def _refill_empty(statistics: Statistics, blocks: Sequence[Block], centroids: Floats) -> Statistics:
    empty = np.flatnonzero(statistics.weights == 0).tolist()
    if not empty:
        return statistics
    weights, sums = statistics.weights.copy(), statistics.sums.copy()
    # Besides one row per empty cluster, every cluster may have one row that must stay.
    for row, weight, label in _farthest(blocks, centroids, len(empty) + len(centroids)):
        if not empty:
            break
        if weights[label] - weight <= 1e-12 * statistics.weights[label]:
            continue
        cluster = empty.pop(0)
        weights[label] -= weight
        sums[label] -= row * weight
        weights[cluster] = weight
        sums[cluster] = row * weight
    return replace(statistics, weights=weights, sums=sums)


def _farthest(blocks: Sequence[Block], centroids: Floats, count: int) -> list[tuple[Floats, float, int]]:
    found: list[tuple[float, Floats, float, int]] = []
    for block in blocks:
        labels, squared = nearest(block.rows, centroids)
        mass = np.ones(len(block.rows)) if block.weights is None else block.weights
        far = np.where(mass > 0, squared, 0.0)
        order = np.argsort(-far, kind="stable")[:count].tolist()
        found += [(far[i], block.rows[i], float(mass[i]), int(labels[i])) for i in order if far[i] > 0]
    # Python's sort is stable: equally far rows stay in the order of blocks and rows.
    found.sort(key=lambda item: -item[0])
    return [(row, weight, label) for _, row, weight, label in found[:count]]


def _sample(block: Block, size: int, random: np.random.Generator) -> Block:
    if len(block.rows) <= size:
        return block
    mass = np.ones(len(block.rows)) if block.weights is None else block.weights
    cumulative = np.cumsum(mass)
    positions = (np.arange(size) + random.random()) * (cumulative[-1] / size)
    drawn = np.minimum(np.searchsorted(cumulative, positions, side="right"), len(mass) - 1)
    counts = np.bincount(drawn, minlength=len(mass))
    kept = np.flatnonzero(counts)
    # A few rows that outweigh all others leave too little to start from.
    if len(kept) < size // 10:
        return block
    return Block(np.asfortranarray(block.rows[kept]), counts[kept].astype(np.float64))
