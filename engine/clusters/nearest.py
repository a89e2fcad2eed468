"""Which centroid is nearest to a row, and how far away it is.

Distances are sums of squared differences, added feature by feature with elementwise operations. That is slower than the
matrix product most libraries use, and it is why a row gets the same bits whatever rows surround it, however many
threads run, and whichever linear algebra library is installed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]

# (clusters, rows) scratch arrays of this many rows stay in a core's cache.
_CHUNK_ROWS = 4096


def row_chunks(rows: int) -> Iterator[slice]:
    """Consecutive slices that cover `rows` rows and fit a core's cache."""
    for start in range(0, rows, _CHUNK_ROWS):
        yield slice(start, min(start + _CHUNK_ROWS, rows))


def squared_distances(rows: Floats, centroids: Floats) -> Floats:
    """Squared Euclidean distances, one row per centroid and one column per row: shape (k, n)."""
    # An explicit loop: numpy's own sum over the features would choose its order of addition by the number of rows.
    total = np.zeros((len(centroids), len(rows)))
    difference = np.empty_like(total)
    for feature in range(rows.shape[1]):
        values = np.ascontiguousarray(rows[:, feature])
        np.subtract(values, centroids[:, feature, np.newaxis], out=difference)
        np.multiply(difference, difference, out=difference)
        np.add(total, difference, out=total)
    return total


def nearest(rows: Floats, centroids: Floats) -> tuple[Labels, Floats]:
    """The index of the nearest centroid of each row and the squared Euclidean distance to it.

    Args:
        rows: Shape (n, d), finite; column-major arrays are read fastest. Never written to.
        centroids: Shape (k, d), k ≥ 1, finite.

    Returns:
        Labels in 0 … k - 1 and squared distances, both of shape (n,). Of equally near centroids the first one counts.
    """
    labels = np.zeros(len(rows), dtype=np.intp)
    squared = np.empty(len(rows))
    for part in row_chunks(len(rows)):
        distances = squared_distances(rows[part], centroids)
        best = distances[0]
        for cluster in range(1, len(centroids)):
            labels[part][distances[cluster] < best] = cluster
            np.minimum(best, distances[cluster], out=best)
        squared[part] = best
    return labels, squared
