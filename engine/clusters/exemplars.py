"""A few rows that stand for a cluster of any shape, and how far from them a row still belongs to it.

Rows are picked by the farthest-point rule: T. Gonzalez, "Clustering to minimize the maximum intercluster distance"
(1985), which covers a cluster within twice the least possible distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.clusters.kernel import nearest
from engine.clusters.nearest import Floats

AT_MOST = 100
"""Exemplars of a cluster: they keep the bundle small, and the assignment of all users cheap."""


@dataclass(frozen=True)
class Exemplars:
    """Per cluster, rows that stand for it, and its reach.

    Attributes:
        points: Per cluster its exemplars, each with one coordinate per dimension.
        reach: Per cluster the greatest Euclidean distance from the nearest of its exemplars at which a row belongs to
            it, the distance itself included.
    """

    points: tuple[tuple[tuple[float, ...], ...], ...]
    reach: tuple[float, ...]


def farthest_points(rows: Floats, centre: Floats, *, close: float = 0.0, at_most: int = AT_MOST) -> Floats:
    """Rows that cover `rows`: first the one nearest to `centre`, then always the one farthest from those before.

    Args:
        rows: Shape (n, d), n ≥ 1, in a stable order: of equally far rows the first one counts.
        centre: Shape (d,).
        close: Stop when no row is farther than this from the nearest exemplar.
        at_most: The most exemplars.

    Returns:
        The exemplars, different rows in the order in which they were picked, shape (m, d).
    """
    chosen = [int(np.argmin(nearest(rows, centre[np.newaxis])[1]))]
    squared = nearest(rows, rows[chosen])[1]
    while len(chosen) < at_most:
        farthest = int(np.argmax(squared))
        if squared[farthest] <= close * close:
            break
        chosen.append(farthest)
        squared = np.minimum(squared, nearest(rows, rows[[farthest]])[1])
    return rows[chosen]


def stand_for(clusters: Sequence[tuple[Floats, Floats, float]]) -> Exemplars:
    """Exemplars of clusters, and the reach within which their rows are.

    Args:
        clusters: Per cluster its dense rows, which exemplars are picked from, all its rows, and its radius. The reach
            is the distance of its farthest row from the exemplars, or the radius where that is greater.
    """
    points, reach = [], []
    for dense, rows, radius in clusters:
        centre = np.array([math.fsum(dense[:, feature].tolist()) / len(dense) for feature in range(dense.shape[1])])
        chosen = farthest_points(dense, centre, close=radius / 4)
        points.append(tuple(map(tuple, chosen.tolist())))
        reach.append(max(math.sqrt(nearest(rows, chosen)[1].max()), radius))
    return Exemplars(tuple(points), tuple(reach))
