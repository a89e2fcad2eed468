"""What fit learns about clusters, and which cluster each user of a frame falls into."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal

import numpy as np
import polars as pl

from engine.clusters.clustering_document import faulty, read_document
from engine.clusters.exemplars import Exemplars
from engine.clusters.gaussians import Mixture, chunks, densities, most_likely
from engine.clusters.kernel import nearest, own_and_other
from engine.clusters.moves import APART
from engine.clusters.nearest import Floats, Labels
from engine.clusters.prepare import Preparation, to_matrix

Algorithm = Literal["kmeans", "mixture", "ward", "dbscan", "hdbscan"]

FAR_SHARE: Final = 0.99
"""Share of the users of a fit that are not far from their cluster."""

# Rows whose features are held as floats at one time.
_SLICE_ROWS = 65_536


@dataclass(frozen=True)
class Clustering:
    """A preparation and k clusters in its space. Tuples have one entry per cluster.

    Attributes:
        preparation: From features to coordinates.
        algorithm: What found the clusters, and decides how users are assigned: to the nearest centroid (`kmeans`,
            `ward`), the most likely component (`mixture`), the nearest exemplar in reach (`dbscan`, `hdbscan`).
        centroids: Mean of each cluster, in coordinates; of a mixture the means of its components.
        ids: What a cluster is called in tables: different numbers from 0, kept from fit to fit.
        names: For people.
        apart_name: Name of the group of those who are in no cluster.
        far: The distance to their cluster that 99 % of the users of the fit do not exceed.
        next_id: The smallest id that no cluster has had.
        mixture: For `mixture` alone.
        exemplars: For `dbscan` and `hdbscan` alone.
    """

    preparation: Preparation
    algorithm: Algorithm
    centroids: tuple[tuple[float, ...], ...]
    ids: tuple[int, ...]
    names: tuple[str, ...]
    apart_name: str
    far: float
    next_id: int
    mixture: Mixture | None = None
    exemplars: Exemplars | None = None


@dataclass(frozen=True, eq=False)
class Placed:
    """Where rows fall, each of shape (n,).

    `positions` are indices of clusters, `APART` for noise; `distances` as the column `cluster_distance` of `assign`;
    `certainty` as its column `cluster_margin` or `cluster_probability`.
    """

    positions: Labels
    distances: Floats
    certainty: Floats


def assign(frame: pl.DataFrame, clustering: Clustering) -> pl.DataFrame:
    """The cluster of each row of `frame`, in the same order; nothing is null.

    Args:
        frame: One row per user with the features of the clustering; null and NaN take the stored fill value.
        clustering: What fit learnt.

    Returns:
        `cluster` (Int32): the cluster's id, -1 for users who are set apart as outliers or are noise.
        `cluster_distance` (Float64): Euclidean distance, in coordinates, to its centroid or nearest exemplar; for a
        mixture the Mahalanobis distance to its mean, in its own standard deviations; for those in no cluster, that of
        the cluster they would be in otherwise, for noise the nearest.
        `cluster_margin` (Float64): how much farther away the nearest other cluster is, ≥ 0; 0 if there is none, and for
        those in no cluster. For a mixture `cluster_probability` instead: how likely the user is of the cluster; 0 for
        those in no cluster.
        `cluster_name` (String).

        Of equally near or likely clusters the first one counts. A row's values do not depend on the other rows.

    Raises:
        DataError: A feature is missing, is not numeric, or holds an infinite value.
    """
    preparation, k = clustering.preparation, len(clustering.ids)
    positions = np.empty(frame.height, dtype=np.intp)
    distances = np.empty(frame.height)
    certainty = np.empty(frame.height)
    for start in range(0, max(frame.height, 1), _SLICE_ROWS):
        part = slice(start, start + _SLICE_ROWS)
        rows = to_matrix(frame[part], preparation.features)
        placed = place(preparation.apply(rows), clustering)
        apart = preparation.apart(rows)
        positions[part] = np.where(apart, APART, placed.positions)
        distances[part] = placed.distances
        certainty[part] = np.where(apart, 0.0, placed.certainty)
    # The last entry is that of nobody's cluster: -1 counts from the end.
    ids = np.array([*clustering.ids, APART], dtype=np.int32)
    names = pl.Series([*clustering.names, clustering.apart_name], dtype=pl.String)
    return pl.DataFrame(
        {
            "cluster": ids[positions],
            "cluster_distance": distances,
            "cluster_probability" if clustering.mixture is not None else "cluster_margin": certainty,
            "cluster_name": names.gather(np.where(positions == APART, k, positions)),
        }
    )


def place(coordinates: Floats, clustering: Clustering) -> Placed:
    """Where prepared rows fall, whether or not their users are set apart.

    Args:
        coordinates: Shape (n, d), of the clustering's preparation; column-major arrays are read fastest.
        clustering: What fit learnt; its preparation, ids and names are not looked at.
    """
    if clustering.mixture is not None:
        labels, certainty, distances = most_likely(coordinates, densities(clustering.mixture))
        return Placed(labels, distances, certainty)
    if clustering.exemplars is not None:
        return _place_near_exemplars(coordinates, clustering.exemplars)
    centroids = np.array(clustering.centroids)
    labels, squared = nearest(coordinates, centroids)
    _, other = own_and_other(coordinates, centroids, labels)
    distances = np.sqrt(squared)
    margins = np.sqrt(other) - distances if len(centroids) > 1 else np.zeros(len(coordinates))
    return Placed(labels, distances, margins)


def far_limit(distances: Floats) -> float:
    """The least of the distances that 99 % of them do not exceed.

    Args:
        distances: Of the users of the fit, at least one.
    """
    rank = math.ceil(FAR_SHARE * len(distances)) - 1
    return float(np.partition(distances, rank)[rank])


def to_json(clustering: Clustering) -> dict[str, object]:
    """A dictionary of strings, lists and numbers; floats survive `json` exactly."""
    return {**asdict(clustering), "preparation": clustering.preparation.to_json()}


def from_json(document: Mapping[str, object]) -> Clustering:
    """The clustering that `to_json` wrote; other keys are left to whoever wrote them.

    Raises:
        IntegrityError: Keys are missing or their values do not fit together; all problems are named.
    """
    stored = read_document(document)
    preparation = Preparation.from_json(stored.preparation)
    if len(preparation.coordinates) != len(stored.centroids[0]):
        expected, got = len(preparation.coordinates), len(stored.centroids[0])
        raise faulty([f"the preparation has {expected} coordinates, the centroids have {got}"])
    return Clustering(
        **{
            **dict(stored),
            "preparation": preparation,
            "mixture": None if stored.mixture is None else Mixture(**dict(stored.mixture)),
            "exemplars": None if stored.exemplars is None else Exemplars(**dict(stored.exemplars)),
        }
    )


def _place_near_exemplars(coordinates: Floats, exemplars: Exemplars) -> Placed:
    rows = len(coordinates)
    placed = Placed(np.empty(rows, dtype=np.intp), np.empty(rows), np.empty(rows))
    points = [np.array(own) for own in exemplars.points]
    reach = np.array(exemplars.reach)[:, np.newaxis]
    for part in chunks(rows):
        distances = np.sqrt(np.array([nearest(coordinates[part], own)[1] for own in points]))
        inside = distances <= reach
        noise = ~inside.any(axis=0)
        # Noise has the distance of the nearest cluster, all others that of the nearest one in reach.
        labels = np.where(inside | noise, distances, np.inf).argmin(axis=0)
        mine = (labels, np.arange(len(labels)))
        own = distances[mine]
        distances[mine] = np.inf
        margins = np.maximum(distances.min(axis=0) - own, 0.0)
        placed.positions[part] = np.where(noise, APART, labels)
        placed.distances[part] = own
        placed.certainty[part] = np.where(noise | np.isinf(margins), 0.0, margins)
    return placed
