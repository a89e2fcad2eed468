"""How good a clustering is: silhouette, Calinski-Harabasz, Davies-Bouldin, each in time linear in the number of rows.

The silhouette uses squared Euclidean distances, for which the mean distance of a row to a whole cluster follows from
the cluster's mean and spread alone: mean ‖x - y‖² = ‖x - μ‖² + mean ‖y - μ‖². Spark computes the same number from norms
and sums (`ClusteringEvaluator`); this form subtracts nothing large. It is exact, and not comparable to the silhouette
on plain Euclidean distances. Sources: P. Rousseeuw (1987); T. Caliński and J. Harabasz (1974); D. Davies and D. Bouldin
(1979); edge cases as in scikit-learn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.clusters.nearest import Floats, Labels, row_chunks, squared_distances, sum_by_cluster


@dataclass(frozen=True)
class Quality:
    """Figures of one clustering; empty clusters are left out of them.

    `silhouette` is in [-1, 1] and better high, `calinski_harabasz` ≥ 0 and better high, `davies_bouldin` ≥ 0 and better
    low; `smallest_share` is the share of the rows in the smallest cluster.
    """

    silhouette: float
    calinski_harabasz: float
    davies_bouldin: float
    smallest_share: float


@dataclass(frozen=True, eq=False)
class _Moments:
    """Per cluster its weight and mean; per row its centred values, label, weight and squared distance to that mean."""

    rows: Floats
    labels: Labels
    mass: Floats
    weights: Floats
    means: Floats
    squared: Floats

    def per_cluster(self, values: Floats) -> Floats:
        return sum_by_cluster(self.labels, values * self.mass, len(self.weights))


def assess(rows: Floats, labels: Labels, weights: Floats | None = None) -> Quality:
    """Figures of a clustering.

    Args:
        rows: Shape (n, d), finite.
        labels: Cluster of each row, ≥ 0.
        weights: How many times each row counts; once when None. The result is that of the repeated rows.

    Raises:
        ValueError: There are fewer than two clusters with rows.
    """
    moments = _moments(rows, labels, weights)
    return Quality(
        silhouette=_weighted_mean(_silhouettes(moments), moments.mass),
        calinski_harabasz=_calinski_harabasz(moments),
        davies_bouldin=_davies_bouldin(moments),
        smallest_share=float(moments.weights.min() / np.add.reduce(moments.weights)),
    )


def silhouettes(rows: Floats, labels: Labels, weights: Floats | None = None) -> Floats:
    """Silhouette of each row on squared Euclidean distances, shape (n,); 0 for the only row of a cluster.

    Raises:
        ValueError: There are fewer than two clusters with rows.
    """
    return _silhouettes(_moments(rows, labels, weights))


def _moments(rows: Floats, labels: Labels, weights: Floats | None) -> _Moments:
    present, compact = np.unique(labels, return_inverse=True)
    k = len(present)
    if k < 2:
        message = f"the quality of a clustering needs at least 2 clusters with rows, got {k}"
        raise ValueError(message)
    mass = np.ones(len(rows)) if weights is None else weights
    sizes = sum_by_cluster(compact, mass, k)
    means = np.empty((k, rows.shape[1]))
    centred = np.empty(rows.shape, order="F")
    squared = np.zeros(len(rows))
    for feature in range(rows.shape[1]):
        # Without the common offset, sums keep the digits that tell clusters apart.
        values = rows[:, feature] - np.add.reduce(rows[:, feature]) / len(rows)
        centred[:, feature] = values
        means[:, feature] = sum_by_cluster(compact, values * mass, k) / sizes
        squared += np.square(values - means[compact, feature])
    return _Moments(centred, compact, mass, sizes, means, squared)


def _silhouettes(moments: _Moments) -> Floats:
    spread = moments.per_cluster(moments.squared) / moments.weights
    weights = moments.weights[moments.labels]
    alone = weights <= 1
    # The mean over the other members of the own cluster: a row's distance to itself is 0 and does not count.
    others = np.where(alone, 1.0, weights - 1)
    values = np.zeros(len(moments.rows))
    for part in row_chunks(len(moments.rows)):
        distances = squared_distances(moments.rows[part], moments.means) + spread[:, np.newaxis]
        own = (moments.labels[part], np.arange(distances.shape[1]))
        inner = distances[own] * (weights[part] / others[part])
        distances[own] = np.inf
        outer = distances.min(axis=0)
        larger = np.maximum(inner, outer)
        defined = ~alone[part] & (larger > 0)
        np.divide(outer - inner, larger, out=values[part], where=defined)
    return values


def _calinski_harabasz(moments: _Moments) -> float:
    n, k = float(np.add.reduce(moments.weights)), len(moments.weights)
    within = float(np.add.reduce(moments.per_cluster(moments.squared)))
    if within == 0:
        return 1.0
    between = 0.0
    for feature in range(moments.means.shape[1]):
        means = moments.means[:, feature]
        overall = float(np.add.reduce(means * moments.weights)) / n
        between += float(np.add.reduce(moments.weights * np.square(means - overall)))
    return between * (n - k) / (within * (k - 1))


def _davies_bouldin(moments: _Moments) -> float:
    radius = moments.per_cluster(np.sqrt(moments.squared)) / moments.weights
    between = np.sqrt(squared_distances(moments.means, moments.means))
    if not radius.any() or not between.any():
        return 0.0
    between[between == 0] = np.inf
    similarity = (radius[:, np.newaxis] + radius) / between
    return float(np.add.reduce(similarity.max(axis=1))) / len(radius)


def _weighted_mean(values: Floats, mass: Floats) -> float:
    return math.fsum((values * mass).tolist()) / math.fsum(mass.tolist())
