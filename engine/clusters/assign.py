"""What fit learns about clusters, and which cluster each user of a frame falls into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
import polars as pl
from pydantic import BaseModel, Field, FiniteFloat, ValidationError, model_validator

from engine.clusters.nearest import nearest
from engine.clusters.prepare import Preparation, to_matrix
from engine.errors import IntegrityError

# Rows whose features are held as floats at one time.
_SLICE_ROWS = 65_536


@dataclass(frozen=True)
class Clustering:
    """A preparation and the centroids in its space; a cluster's id is its centroid's place, from 0."""

    preparation: Preparation
    centroids: tuple[tuple[float, ...], ...]


def assign(frame: pl.DataFrame, clustering: Clustering) -> pl.DataFrame:
    """The nearest cluster of each row of `frame`, in the same order: `cluster` and `cluster_distance`, never null.

    Args:
        frame: One row per user with the features of the clustering; null and NaN take the stored fill value.
        clustering: What fit learnt.

    Returns:
        `cluster` (Int32): id of the nearest centroid, of equally near ones the lowest. `cluster_distance` (Float64):
        Euclidean distance to it, in standard deviations of the prepared features. A row's values do not depend on the
        other rows.

    Raises:
        DataError: A feature is missing, is not numeric, or holds an infinite value.
    """
    preparation, centroids = clustering.preparation, np.array(clustering.centroids)
    labels = np.empty(frame.height, dtype=np.int32)
    distances = np.empty(frame.height)
    for start in range(0, max(frame.height, 1), _SLICE_ROWS):
        part = slice(start, start + _SLICE_ROWS)
        rows = preparation.apply(to_matrix(frame[part], preparation.features))
        labels[part], squared = nearest(rows, centroids)
        distances[part] = np.sqrt(squared)
    return pl.DataFrame({"cluster": labels, "cluster_distance": distances})


def to_json(clustering: Clustering) -> dict[str, object]:
    """A dictionary of strings, lists and floats; floats survive `json` exactly."""
    preparation = clustering.preparation
    return {
        "features": list(preparation.features),
        "transform": preparation.transform,
        "fill": list(preparation.fill),
        "mean": list(preparation.mean),
        "scale": list(preparation.scale),
        "centroids": [list(centroid) for centroid in clustering.centroids],
    }


def from_json(document: Mapping[str, object]) -> Clustering:
    """The clustering that `to_json` wrote; other keys are left to whoever wrote them.

    Raises:
        IntegrityError: Keys are missing or their values do not fit together; all problems are named.
    """
    try:
        stored = _Document.model_validate(document)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc'])) or 'lists'}: {item['msg']}" for item in error.errors()]
        raise IntegrityError(
            f"the stored clustering has {len(problems)} faults: " + "; ".join(problems),
            code="bundle-clusters",
            hint="Run `tamis fit` again to write a new bundle.",
        ) from error
    return Clustering(
        Preparation(stored.features, stored.fill, stored.mean, stored.scale, stored.transform), stored.centroids
    )


class _Document(BaseModel):
    features: tuple[str, ...] = Field(min_length=1)
    transform: Literal["log1p"]
    fill: tuple[FiniteFloat, ...]
    mean: tuple[FiniteFloat, ...]
    scale: tuple[Annotated[FiniteFloat, Field(gt=0)], ...]
    centroids: tuple[tuple[FiniteFloat, ...], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_entry_per_feature(self) -> Self:
        vectors = {"fill": self.fill, "mean": self.mean, "scale": self.scale}
        vectors |= {f"centroids.{index}": centroid for index, centroid in enumerate(self.centroids)}
        expected = len(self.features)
        wrong = [f"{key} has {len(values)} entries" for key, values in vectors.items() if len(values) != expected]
        if wrong:
            message = f"expected one entry per feature ({expected}); " + ", ".join(wrong)
            raise ValueError(message)
        return self
