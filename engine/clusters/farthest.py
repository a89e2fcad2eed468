"""The places with rows that are farthest from their nearest centroid: where k-means finds a new cluster's first rows.

Equal rows are one place, whose weight is that of all of them. Places have an order of their own (distance, then
coordinates), so the answer does not depend on how rows are cut into blocks, nor on their order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.clusters.blocks import Block, Blocks
from engine.clusters.kernel import nearest
from engine.clusters.nearest import Floats, Labels


@dataclass(frozen=True)
class FarPoint:
    """A place: its squared distance to the nearest centroid, coordinates, weight, and that centroid's position."""

    squared: float
    place: tuple[float, ...]
    weight: int
    label: int


@dataclass(frozen=True, eq=False)
class _Search:
    centroids: Floats
    count: int


def farthest_points(blocks: Blocks, centroids: Floats, count: int) -> list[FarPoint]:
    """Up to `count` places, farthest first, of equally far ones the lexicographically first.

    Args:
        blocks: Rows; those without weight, and those that sit on a centroid, are no place.
        centroids: Shape (k, d).
        count: Places wanted.
    """
    found: dict[tuple[float, ...], FarPoint] = {}
    for points in blocks.map(_farthest_of_block, _Search(centroids, count)):
        for point in points:
            known = found.get(point.place)
            found[point.place] = point if known is None else replace(known, weight=known.weight + point.weight)
    # A place that is among the first of all is among the first of every block it occurs in: no weight is missing.
    return sorted(found.values(), key=_rank)[:count]


def _farthest_of_block(block: Block, search: _Search) -> list[FarPoint]:
    labels, squared = nearest(block.rows, search.centroids, block.threads)
    if block.weights is not None:
        squared = np.where(block.weights > 0, squared, 0.0)
    chosen = _farthest_rows(squared, search.count)
    if not chosen.size:
        return []
    rows = block.rows[chosen]
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    starts = np.append(0, 1 + np.flatnonzero((ordered[1:] != ordered[:-1]).any(axis=1)))
    mass = np.ones(len(chosen), dtype=np.int64) if block.weights is None else block.weights[chosen]
    weights = np.add.reduceat(mass[order], starts)
    first = chosen[order[starts]]
    points = [
        FarPoint(float(squared[row]), tuple(block.rows[row].tolist()), weight, int(labels[row]))
        for row, weight in zip(first.tolist(), weights.tolist(), strict=True)
    ]
    return sorted(points, key=_rank)[: search.count]


def _farthest_rows(squared: Floats, count: int) -> Labels:
    """The rows with any of the `count` largest different distances above 0: at least as many places, each whole."""
    positive = squared[squared > 0]
    if len(positive) > count:
        # Most often no two of the farthest rows are equally far, and there is no need to sort all of them.
        positive = positive[positive >= np.partition(positive, -count)[-count]]
        if len(np.unique(positive)) < count:
            positive = squared[squared > 0]
    least = np.unique(positive)[-count:][:1]
    return np.flatnonzero(squared >= least) if least.size else np.empty(0, dtype=np.intp)


def _rank(point: FarPoint) -> tuple[float, tuple[float, ...]]:
    return -point.squared, point.place
