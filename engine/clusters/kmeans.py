"""k-means by exact Lloyd iterations over blocks of rows.

Source: S. Lloyd, "Least squares quantization in PCM" (1982). One iteration needs only the weight, the sum and the cost
per cluster and block (sufficient statistics), so blocks can live anywhere. These are whole numbers
(`engine.clusters.units`), so the centroids have the same bits however rows are cut into blocks, in whatever order they
come, and wherever they are added. Clusters that run empty are refilled as in scikit-learn, but for equal rows. Starts
are refined on a sample of the rows, as in P. Bradley and U. Fayyad, "Refining initial points for k-means clustering"
(ICML 1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from engine.clusters.blocks import Block, Blocks, array_blocks
from engine.clusters.farthest import FarPoint, farthest_points
from engine.clusters.kernel import Sums, add_sums, block_sums, means
from engine.clusters.nearest import Floats
from engine.clusters.seeding import generator, plus_plus
from engine.clusters.units import FINE_UNITS, Whole, to_units, whole

# A start is good enough when it was found on this many rows; the iterations over all rows then settle it.
_START_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class KMeansFit:
    """A k-means solution.

    `centroids` has shape (k, d). `sizes` (k,), weights of the rows nearest to each, and `inertia`, the weighted sum of
    squared distances, belong to exactly these centroids. `iterations` counts updates of the centroids.
    """

    centroids: Floats
    sizes: Whole
    inertia: float
    iterations: int
    converged: bool


def lloyd(
    blocks: Blocks,
    start: Floats,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
    on_pass: Callable[[int], None] | None = None,
) -> KMeansFit:
    """Iterates from `start` until the centroids rest.

    A cluster without rows takes the place that is farthest from its own centroid, with all rows there, which leave
    their old cluster; of equally far places the first in lexicographic order of the coordinates. The only place of a
    cluster is never taken. When every row sits on its centroid, an empty cluster keeps its place.

    Args:
        blocks: At least one row in total; read once per iteration, and once more for an empty cluster.
        start: Centroids of shape (k, d).
        max_iter: Most updates of the centroids.
        tol: Stop when the squared distances the centroids moved sum to at most this, in squared units of the rows.
        on_pass: Called with the number of passes made over all rows, after each.
    """
    passes = 0

    def pass_over(centroids: Floats) -> Sums:
        nonlocal passes
        found = add_sums(blocks.map(sums_of, centroids))
        passes += 1
        if on_pass is not None:
            on_pass(passes)
        return found

    centroids, movement, iterations = start, math.inf, 0
    sums = pass_over(centroids)
    while movement > tol and iterations < max_iter:
        moved_to = means(_refill_empty(sums, blocks, centroids), centroids)
        movement = math.fsum(np.square(moved_to - centroids).ravel().tolist())
        centroids = moved_to
        iterations += 1
        if movement > 0:
            sums = pass_over(centroids)
    return KMeansFit(centroids, sums.counts, sums.cost / FINE_UNITS, iterations, converged=movement <= tol)


def sums_of(block: Block, centroids: Floats) -> Sums:
    """`block_sums` as a function that visits blocks."""
    return block_sums(block.rows, centroids, block.weights, block.threads)


def kmeans(
    rows: Floats,
    k: int,
    *,
    seed: int,
    weights: Floats | Whole | None = None,
    n_init: int = 4,
    max_iter: int = 100,
    start_rows: int = _START_ROWS,
    threads: int = 1,
) -> KMeansFit:
    """The best of `n_init` k-means runs, with clusters in canonical order.

    Each run starts from its own k-means++ draw. With more than `start_rows` rows the runs go over a systematic sample
    of the row weights, and the best one continues over all rows.

    Args:
        rows: Shape (n, d), finite, in a stable order: the draws depend on it.
        k: Number of clusters.
        seed: Same seed, same rows in the same order: same bits.
        weights: How many times each row counts, whole numbers ≥ 0; once when None.
        n_init: Number of starts; of equally good runs the first one counts.
        max_iter: As in `lloyd`.
        start_rows: Most rows that starts are tried on.
        threads: Threads that may be used.

    Raises:
        DataError: There are fewer than k distinct rows.
    """
    everything = Block(rows, None if weights is None else whole(weights))
    tried = _sample(everything, start_rows, generator(seed, k))
    blocks = array_blocks(tried.rows, tried.weights, threads)
    runs = (
        lloyd(
            blocks,
            plus_plus(tried.rows, k, generator(seed, k, restart), tried.weights, threads),
            max_iter=max_iter,
        )
        for restart in range(n_init)
    )
    best = min(runs, key=lambda run: run.inertia)
    if tried is not everything:
        blocks = array_blocks(everything.rows, everything.weights, threads)
        best = lloyd(blocks, best.centroids, max_iter=max_iter)
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


def _refill_empty(sums: Sums, blocks: Blocks, centroids: Floats) -> Sums:
    empty = np.flatnonzero(sums.counts == 0).tolist()
    if not empty:
        return sums
    counts, totals = sums.counts.copy(), sums.sums.copy()

    def move(point: FarPoint, cluster: int) -> None:
        moved = to_units(np.array(point.place)) * point.weight
        counts[point.label] -= point.weight
        totals[point.label] -= moved
        counts[cluster] = point.weight
        totals[cluster] = moved

    # Besides one place per empty cluster, every cluster may have one that must stay.
    for point in farthest_points(blocks, centroids, len(empty) + len(centroids)):
        if empty and counts[point.label] > point.weight:
            move(point, empty.pop(0))
    return replace(sums, counts=counts, sums=totals)


def _sample(block: Block, size: int, random: np.random.Generator) -> Block:
    if len(block.rows) <= size:
        return block
    mass = np.ones(len(block.rows), dtype=np.int64) if block.weights is None else block.weights
    cumulative = np.cumsum(mass)
    positions = (np.arange(size) + random.random()) * (float(cumulative[-1]) / size)
    drawn = np.minimum(np.searchsorted(cumulative, positions, side="right"), len(mass) - 1)
    counts = np.bincount(drawn, minlength=len(mass))
    kept = np.flatnonzero(counts)
    # A few rows that outweigh all others leave too little to start from.
    if len(kept) < size // 10:
        return block
    return Block(np.asfortranarray(block.rows[kept]), counts[kept].astype(np.int64))
