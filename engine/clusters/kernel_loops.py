"""The loops of `engine.clusters.kernel`, compiled by numba; this module is imported only where they are wanted.

Columns are (features, rows), every column contiguous: the innermost loops run over the rows of a tile that stays in a
core's cache, and are vectorised without changing the order in which the features of a row are added.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clusters.nearest import Floats
from engine.clusters.units import FINE_UNITS, HALF_BITS, HALF_MASK, MOST_FINE, UNITS, Whole
from engine.compiled import compiled

Unsigned = NDArray[np.uint64]

TILE: Final = 512
# Added to a float below 2⁵¹, this leaves its nearest whole number in the last bits.
_TO_WHOLE: Final = 1.5 * 2.0**52
_TO_WHOLE_BITS: Final = int(np.array(_TO_WHOLE).view(np.int64))
_UNITS: Final = float(UNITS)
_FINE_UNITS: Final = float(FINE_UNITS)


@compiled
def _add_four(w: Floats, x: Floats, y: Floats, z: Floats, centroid: Floats, to: Floats) -> None:
    """Add the squared differences of four features of each row to one centroid, one after the other."""
    cw, cx, cy, cz = centroid[0], centroid[1], centroid[2], centroid[3]
    for r in range(to.size):
        total = to[r]
        d = w[r] - cw
        total += d * d
        d = x[r] - cx
        total += d * d
        d = y[r] - cy
        total += d * d
        d = z[r] - cz
        total += d * d
        to[r] = total


@compiled
def _add_four_twice(  # noqa: PLR0913, PLR0917 - columns and lines that lie next to each other in memory
    w: Floats, x: Floats, y: Floats, z: Floats, centroids: Floats, at: int, j: int, to: Floats, also: Floats
) -> None:
    """The same for two centroids: what was read of a row serves both."""
    w0, x0, y0, z0 = centroids[at, j], centroids[at, j + 1], centroids[at, j + 2], centroids[at, j + 3]
    w1, x1, y1, z1 = centroids[at + 1, j], centroids[at + 1, j + 1], centroids[at + 1, j + 2], centroids[at + 1, j + 3]
    for r in range(to.size):
        total, other = to[r], also[r]
        d = w[r] - w0
        total += d * d
        d = w[r] - w1
        other += d * d
        d = x[r] - x0
        total += d * d
        d = x[r] - x1
        other += d * d
        d = y[r] - y0
        total += d * d
        d = y[r] - y1
        other += d * d
        d = z[r] - z0
        total += d * d
        d = z[r] - z1
        other += d * d
        to[r] = total
        also[r] = other


@compiled
def _distances(columns: Floats, start: int, rows: int, centroids: Floats, out: Floats) -> None:
    k, features = centroids.shape
    fours = features - features % 4
    for c in range(k):
        one = out[c, :rows]
        for r in range(rows):
            one[r] = 0.0
    for j in range(0, fours, 4):
        w, x = columns[j, start : start + rows], columns[j + 1, start : start + rows]
        y, z = columns[j + 2, start : start + rows], columns[j + 3, start : start + rows]
        for c in range(0, k - k % 2, 2):
            _add_four_twice(w, x, y, z, centroids, c, j, out[c, :rows], out[c + 1, :rows])
        for c in range(k - k % 2, k):
            _add_four(w, x, y, z, centroids[c, j : j + 4], out[c, :rows])
    for j in range(fours, features):
        x = columns[j, start : start + rows]
        for c in range(k):
            centre, one = centroids[c, j], out[c, :rows]
            for r in range(rows):
                d = x[r] - centre
                one[r] += d * d


@compiled
def _nearest(distances: Floats, rows: int, label: Unsigned, best: Floats) -> None:
    for r in range(rows):
        best[r] = distances[0, r]
        label[r] = 0
    for c in range(1, distances.shape[0]):
        distance = distances[c, :rows]
        for r in range(rows):
            nearer = distance[r] < best[r]
            best[r] = distance[r] if nearer else best[r]
            label[r] = np.uint64(c) if nearer else label[r]


@compiled
def nearest_rows(columns: Floats, start: int, stop: int, centroids: Floats, labels: Whole, squared: Floats) -> None:
    """Write label and squared distance of rows `start` to `stop` into the same places of `labels` and `squared`."""
    distances = np.empty((centroids.shape[0], TILE))
    label, best = np.empty(TILE, np.uint64), np.empty(TILE)
    for tile in range(start, stop, TILE):
        rows = min(TILE, stop - tile)
        _distances(columns, tile, rows, centroids, distances)
        _nearest(distances, rows, label, best)
        for r in range(rows):
            labels[tile + r] = label[r]
            squared[tile + r] = best[r]


@compiled
def own_and_other_rows(
    columns: Floats,
    start: int,
    stop: int,
    centroids: Floats,
    offsets: Floats,
    labels: Whole,
    own: Floats,
    other: Floats,
) -> None:
    """Write the squared distance to the own centroid, and the least one plus offset to any other, for those rows."""
    distances = np.empty((centroids.shape[0], TILE))
    mine, least = np.empty(TILE), np.empty(TILE)
    for tile in range(start, stop, TILE):
        rows = min(TILE, stop - tile)
        _distances(columns, tile, rows, centroids, distances)
        label = labels[tile : tile + rows]
        for r in range(rows):
            mine[r] = np.inf
            least[r] = np.inf
        for c in range(centroids.shape[0]):
            distance, offset = distances[c, :rows], offsets[c]
            for r in range(rows):
                is_own = label[r] == c
                away = distance[r] + offset
                mine[r] = distance[r] if is_own else mine[r]
                least[r] = away if (not is_own) & (away < least[r]) else least[r]
        for r in range(rows):
            own[tile + r] = mine[r]
            other[tile + r] = least[r]


@compiled
def _add_shifted(shifted: Whole, rows: int, label: Unsigned, at: np.uint64, sums: Whole) -> None:
    """Add four features of each row to its cluster, with the bits of `_TO_WHOLE`; sums wrap around and come back."""
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    u0, u1, u2, u3 = shifted[0], shifted[1], shifted[2], shifted[3]
    for r in range(rows):
        total = sums[label[r]]
        total[at] += u0[r]
        total[at + one] += u1[r]
        total[at + two] += u2[r]
        total[at + three] += u3[r]


@compiled
def _add_weighted(shifted: Whole, weights: Whole, label: Unsigned, at: np.uint64, sums: Whole) -> None:
    for i in range(4):
        units, place = shifted[i], at + np.uint64(i)
        for r in range(weights.size):
            sums[label[r], place] += (units[r] - _TO_WHOLE_BITS) * weights[r]


@compiled
def sum_rows(
    columns: Floats, start: int, stop: int, centroids: Floats, weights: Whole
) -> tuple[Whole, Whole, Whole, Whole]:
    """Of rows `start` to `stop`: weight and sums of units per nearest centroid, and both halves of its cost.

    Without weights (an empty array) every row counts once.
    """
    k, features = centroids.shape
    distances = np.empty((k, TILE))
    label, best = np.empty(TILE, np.uint64), np.empty(TILE)
    shifted = np.zeros((4, TILE))
    units = shifted.view(np.int64)
    fine, mass = np.empty(TILE, np.int64), np.ones(TILE, np.int64)
    weighted = weights.size > 0
    # Features are taken by four; what falls beyond the last one is never read.
    sums = np.zeros((k, features + 3), np.int64)
    counts, high, low = np.zeros(k, np.int64), np.zeros(k, np.int64), np.zeros(k, np.int64)
    for tile in range(start, stop, TILE):
        rows = min(TILE, stop - tile)
        _distances(columns, tile, rows, centroids, distances)
        _nearest(distances, rows, label, best)
        for j in range(0, features, 4):
            for i in range(min(4, features - j)):
                x, to = columns[j + i, tile : tile + rows], shifted[i]
                for r in range(rows):
                    to[r] = x[r] * _UNITS + _TO_WHOLE
            if weighted:
                _add_weighted(units, weights[tile : tile + rows], label, np.uint64(j), sums)
            else:
                _add_shifted(units, rows, label, np.uint64(j), sums)
        for r in range(rows):
            fine[r] = np.int64(np.rint(min(best[r] * _FINE_UNITS, MOST_FINE)))
        if weighted:
            for r in range(rows):
                mass[r] = weights[tile + r]
        for r in range(rows):
            to_count = label[r]
            counts[to_count] += mass[r]
            high[to_count] += (fine[r] >> HALF_BITS) * mass[r]
            low[to_count] += (fine[r] & HALF_MASK) * mass[r]
    if not weighted:
        for c in range(k):
            sums[c] -= counts[c] * _TO_WHOLE_BITS
    return counts, sums[:, :features].copy(), high, low
