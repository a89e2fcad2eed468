"""From a feature frame to the clustering that fit hands to score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.clusters.assign import Clustering
from engine.clusters.choose import Choice, choose_k
from engine.clusters.kmeans import ordered
from engine.clusters.prepare import fit_preparation, to_matrix
from engine.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class FittedClusters:
    """The clustering, and how its number of clusters was chosen."""

    clustering: Clustering
    choice: Choice


def fit_clusters(
    frame: pl.DataFrame,
    features: Sequence[str],
    *,
    k_min: int,
    k_max: int,
    seed: int,
    order_by: str | None = None,
) -> FittedClusters:
    """Learns the preparation, the number of clusters and the centroids from one row per user.

    Ids 0, 1, … follow the centroids' mean of `order_by` from high to low (by default their lexicographic order), so
    they do not depend on where k-means started. The result depends on the set of rows and not on their order.

    Args:
        frame: One row per user; null and NaN are missing values. Sample it first when it is larger than wanted.
        features: The columns to cluster on.
        k_min: Smallest number of clusters, ≥ 2.
        k_max: Largest number of clusters.
        seed: Same seed, same rows: same bits.
        order_by: One of `features`, such as the spend.

    Raises:
        ConfigError: `order_by` is not one of `features`.
        DataError: A feature cannot be used, or the users are too few or too alike.
    """
    if order_by is not None and order_by not in features:
        raise ConfigError(
            f"clusters are ordered by one of their features, {sorted(features)}; got {order_by!r}",
            code="clusters-order",
            hint="Add it to clusters.features or order by one of them.",
        )
    rows = to_matrix(frame, features)
    preparation = fit_preparation(rows, features)
    choice = choose_k(preparation.apply(rows), k_min, k_max, seed)
    if order_by is not None:
        column = list(features).index(order_by)
        choice = Choice(choice.k, ordered(choice.fit, lambda centroids: -centroids[:, column]), choice.curve)
    centroids = tuple(tuple(centroid) for centroid in choice.fit.centroids.tolist())
    return FittedClusters(Clustering(preparation, centroids), choice)
