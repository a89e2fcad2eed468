"""From raw features to the space that distances are measured in: fill, signed logarithm, standardise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from engine.clusters.nearest import Floats
from engine.errors import DataError
from engine.stable_math import log1p

# Values that differ by less than rounding noise are one value; dividing by their spread would only enlarge the noise.
_RELATIVE_NOISE = 1e-12


@dataclass(frozen=True)
class Preparation:
    """How raw features become coordinates: missing → `fill`, then `transform`, then `(value - mean) / scale`.

    All tuples have one entry per feature, in the order of `features`. `fill` is in the feature's own unit; `mean` and
    `scale` (population standard deviation, 1 for a constant feature) are those of the filled and transformed rows of
    the fit.
    """

    features: tuple[str, ...]
    fill: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    transform: Literal["log1p"] = "log1p"
    """`log1p`: sign(x)·log(1 + |x|), defined for negative values too (refunds)."""

    def apply(self, rows: Floats) -> Floats:
        """Coordinates of rows, as a new column-major array; each row's bits depend on that row alone.

        Args:
            rows: Shape (n, d) in the order of `features`; NaN means missing.

        Raises:
            DataError: A value is infinite; every such feature is named.
        """
        _refuse(_infinite(rows, self.features))
        prepared = np.empty(rows.shape, order="F")
        for index in range(len(self.features)):
            values = _signed_log1p(_filled(rows[:, index], self.fill[index]))
            # Adding zero turns -0.0 into 0.0, so that equal rows have equal bytes.
            prepared[:, index] = (values - self.mean[index]) / self.scale[index] + 0.0
        return prepared


def to_matrix(frame: pl.DataFrame, features: Sequence[str]) -> Floats:
    """The named columns as a column-major (rows, features) array of floats, null as NaN.

    Raises:
        DataError: A column is missing or is not numeric or boolean; every such column is named.
    """
    problems = []
    for name in features:
        if name not in frame.columns:
            problems.append(f"{name!r} is not there")
        elif not (frame.schema[name].is_numeric() or frame.schema[name] == pl.Boolean):
            problems.append(f"{name!r} must be numeric, got {frame.schema[name]}")
    if problems:
        raise DataError(
            f"{len(problems)} of {len(features)} clustering features cannot be used: " + "; ".join(problems),
            code="clusters-features",
            hint="List numeric feature columns under clusters.features.",
        )
    matrix = np.empty((frame.height, len(features)), order="F")
    for index, name in enumerate(features):
        matrix[:, index] = frame.get_column(name).cast(pl.Float64).fill_null(math.nan).to_numpy()
    return matrix


def fit_preparation(rows: Floats, features: Sequence[str]) -> Preparation:
    """Learns fill values, means and scales from the rows of the fit.

    The fill value is the median of the feature's non-missing values. Means and variances are exact sums, rounded once,
    so they depend on the set of rows and not on their order.

    Args:
        rows: Shape (n, d), one row per user; NaN means missing.
        features: Names of the d columns.

    Raises:
        DataError: There are no rows, a value is infinite, or a feature has no value at all; every such feature is
            named.
    """
    if not len(rows):
        raise DataError(
            "there are no users to learn clusters from; expected at least 2",
            code="clusters-too-few-rows",
            hint="Check the event log and the as-of date, or set clusters.enabled = false.",
        )
    present = np.count_nonzero(~np.isnan(rows), axis=0).tolist()
    empty = [
        f"{name!r} has no value in any of {len(rows)} rows"
        for name, count in zip(features, present, strict=True)
        if not count
    ]
    _refuse(_infinite(rows, features) + empty)
    fill, mean, scale = [], [], []
    for index in range(len(features)):
        values = rows[:, index]
        fill.append(float(np.median(values[~np.isnan(values)])))
        centre, spread = _moments(_signed_log1p(_filled(values, fill[-1])))
        mean.append(centre)
        scale.append(spread)
    return Preparation(tuple(features), tuple(fill), tuple(mean), tuple(scale))


def _moments(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if high - low <= _RELATIVE_NOISE * max(1.0, abs(low), abs(high)):
        return low, 1.0
    mean = math.fsum(values.tolist()) / len(values)
    deviation = values - mean
    return mean, math.sqrt(math.fsum((deviation * deviation).tolist()) / len(values))


def _filled(values: Floats, fill: float) -> Floats:
    return np.ascontiguousarray(np.where(np.isnan(values), fill, values))


def _signed_log1p(values: Floats) -> Floats:
    return np.copysign(log1p(np.abs(values)), values)


def _infinite(rows: Floats, features: Sequence[str]) -> list[str]:
    counts = np.count_nonzero(np.isinf(rows), axis=0).tolist()
    return [f"{name!r} has {count} infinite values" for name, count in zip(features, counts, strict=True) if count]


def _refuse(problems: list[str]) -> None:
    if problems:
        raise DataError(
            "clustering features need finite or missing values, and a fit needs at least one: " + "; ".join(problems),
            code="clusters-values",
            hint="Leave these features out of clusters.features, or correct the values they are computed from.",
        )
