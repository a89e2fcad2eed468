"""One interface for every algorithm that clusters: rows in, labels and what choosing k must know of them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from engine.clusters.blocks import array_blocks
from engine.clusters.gaussians import densities, most_likely
from engine.clusters.kernel import nearest
from engine.clusters.kmeans import KMeansFit, kmeans
from engine.clusters.mixture import MixtureFit, fit_mixture
from engine.clusters.nearest import Floats, Labels
from engine.clusters.sampled import ROWS_AT_MOST, Sampled, cut, dbscan, hdbscan, ward_tree
from engine.clusters.weighted import Weighted, thinned
from engine.config_learning import Clusters

FINDS_ITS_OWN: Final = frozenset({"dbscan", "hdbscan"})
"""Algorithms that find the number of clusters themselves."""

Fit = KMeansFit | MixtureFit | Sampled


@dataclass(frozen=True, eq=False)
class Solution:
    """A clustering of weighted rows.

    `fit` is that of the algorithm; `labels` (n,) those that users with these rows are assigned, -1 for none; `k` the
    number of clusters that was asked for, or found. `bic` only of a mixture. What does not iterate has converged.
    """

    k: int
    fit: Fit
    labels: Labels
    iterations: int = 0
    converged: bool = True
    bic: float | None = None


def readable(users: Weighted, settings: Clusters, seed: int) -> Weighted:
    """The users that the algorithm can read: all, or a sample where its time grows with the square of the rows."""
    size = ROWS_AT_MOST.get(settings.algorithm)
    return users if size is None else thinned(users, size, seed)


def solve(
    users: Weighted,
    ks: Sequence[int],
    settings: Clusters,
    seed: int,
    *,
    n_init: int = 4,
    start_rows: int = 20_000,
    threads: int = 1,
) -> Iterator[Solution]:
    """A clustering for each k; a single one of `dbscan` and `hdbscan`, which ask for no k.

    Args:
        users: As `readable` gives them.
        ks: Numbers of clusters, at most as many as there are distinct rows.
        settings: The algorithm and what it needs.
        seed: Same seed, same users: same bits.
        n_init: Starts of k-means per k; a mixture starts from its clusters.
        start_rows: Most rows that starts are tried on.
        threads: Threads that may be used.

    Raises:
        DataError: There are too few distinct rows, or `dbscan` or `hdbscan` found no cluster.
    """
    rows = users.rows
    match settings.algorithm:
        case "kmeans" | "mixture":
            for k in ks:
                fit = kmeans(
                    rows, k, seed=seed, weights=users.counts, n_init=n_init, start_rows=start_rows, threads=threads
                )
                if settings.algorithm == "mixture":
                    yield _mixture(users, fit.centroids, settings, thinned(users, start_rows, seed))
                else:
                    labels, _ = nearest(rows, fit.centroids, threads)
                    yield Solution(k, fit, labels, fit.iterations, fit.converged)
        case "ward":
            tree = ward_tree(_repeated(users))
            for k in ks:
                found = _per_row(cut(tree, k), users)
                # Users are assigned to the nearest centroid, so that is what the figures are about.
                yield Solution(k, found, nearest(rows, found.centroids, threads)[0])
        case "dbscan" | "hdbscan":
            yield _dense(users, settings)


def _mixture(users: Weighted, centroids: Floats, settings: Clusters, few: Weighted) -> Solution:
    k, kind = len(centroids), settings.covariance
    fit = fit_mixture(array_blocks(few.rows, few.counts), k, centroids, covariance=kind)
    if few is not users:
        components = len(fit.mixture.weights)
        fit = fit_mixture(array_blocks(users.rows, users.counts), components, fit.mixture, covariance=kind)
    labels, _, _ = most_likely(users.rows, densities(fit.mixture))
    return Solution(k, fit, labels, fit.iterations, fit.converged, fit.bic)


def _dense(users: Weighted, settings: Clusters) -> Solution:
    rows = _repeated(users)
    if settings.algorithm == "dbscan":
        found = dbscan(rows, settings.neighbours, radius=settings.radius, min_share=settings.min_share)
    else:
        found = hdbscan(rows, settings.neighbours, min_share=settings.min_share)
    found = _per_row(found, users)
    return Solution(len(found.centroids), found, found.labels)


def _repeated(users: Weighted) -> Floats:
    return np.repeat(users.rows, users.counts, axis=0)


def _per_row(found: Sampled, users: Weighted) -> Sampled:
    """With one label per distinct row: that of the first of its equals."""
    first = np.cumsum(users.counts) - users.counts
    return replace(found, labels=found.labels[first])
