"""From raw features to the space that distances are measured in, by what was learnt from the users of a fit.

A value that is missing is filled in; values are cut to the winsorising edges, transformed, cut to the outlier limits
where outliers are clipped, scaled, and reduced to components. Coordinates are whole units, whose sums are exact. All of
it is elementwise: a user's coordinates do not depend on the users beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl

from engine.clusters.nearest import Floats
from engine.clusters.outliers import Mask, Pair, beyond, in_any, outlier_limits, winsorising_edges
from engine.clusters.preparation_document import read_document
from engine.clusters.preparation_report import FeatureReport, PreparationReport
from engine.clusters.reduce import Reduction, fit_reduction
from engine.clusters.scale import Scaling, centres_and_scales, is_constant, median
from engine.clusters.units import rounded
from engine.errors import DataError
from engine.stable_math import log1p

if TYPE_CHECKING:
    from engine.config_learning import Clusters

Transform = Literal["log1p", "none"]

# Squares of greater values leave the range of floats; no feature of a user is that large.
_GREATEST = 1e100


@dataclass(frozen=True)
class Preparation:
    """How raw features become coordinates. Tuples have one entry per feature, in the order of `features`.

    Attributes:
        features: Names of the columns.
        transform: `log1p`: sign(x)·log(1 + |x|), defined for negative values too (refunds); or `none`.
        scaling: What `centre` and `scale` are; see `engine.clusters.scale.centres_and_scales`.
        outliers: What is done about values beyond `limits`: nothing, cut to them, or their users set apart.
        fill: Taken where a value is missing, in the feature's own unit: the median of the others, 0 if there are none.
        edges: Values are cut to these, in the feature's own unit; None: not cut.
        limits: Outliers are beyond these, in transformed units; None: a constant feature, which has no outliers.
        centre: Taken from transformed values,
        scale: which are then divided by this.
        reduction: From scaled features to components; None: the scaled features are the coordinates.
    """

    features: tuple[str, ...]
    transform: Transform
    scaling: Scaling
    outliers: Literal["keep", "clip", "apart"]
    fill: tuple[float, ...]
    edges: tuple[Pair | None, ...]
    limits: tuple[Pair | None, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    reduction: Reduction | None = None

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the coordinates: the features, or `component_1` … and `factor_1` … ."""
        if self.reduction is None:
            return self.features
        kind = "component" if self.reduction.kind == "pca" else "factor"
        return tuple(f"{kind}_{number}" for number in range(1, len(self.reduction.explained) + 1))

    def apply(self, rows: Floats) -> Floats:
        """Coordinates of rows, as a new column-major array; each row's bits depend on that row alone.

        Users who are set apart have coordinates too.

        Args:
            rows: Shape (n, d) in the order of `features`; NaN means missing.

        Returns:
            Shape (n, `len(coordinates)`): whole multiples of 2⁻²⁰ from -1024 to 1024, never -0.0.

        Raises:
            DataError: A value is infinite, or beyond ± 10¹⁰⁰; every such feature is named.
        """
        _refuse_infinite(rows, self.features)
        scaled = np.empty((len(rows), len(self.features)), order="F")
        for index in range(len(self.features)):
            values = _transformed(self, rows, index)
            limits = self.limits[index]
            if self.outliers == "clip" and limits is not None:
                values = np.clip(values, *limits)
            scaled[:, index] = rounded((values - self.centre[index]) / self.scale[index])
        return scaled if self.reduction is None else rounded(self.reduction.project(scaled))

    def apart(self, rows: Floats) -> Mask:
        """Which users are set apart for an outlier in some feature; none unless `outliers` is `apart`.

        Args:
            rows: As for `apply`. A missing value is no outlier.

        Raises:
            DataError: As for `apply`.
        """
        _refuse_infinite(rows, self.features)
        if self.outliers != "apart":
            return np.zeros(len(rows), dtype=np.bool_)
        columns = (_transformed(self, rows, index) for index in range(len(self.features)))
        return in_any([beyond(values, limits) for values, limits in zip(columns, self.limits, strict=True)])

    def to_json(self) -> dict[str, Any]:
        """A dictionary of strings, lists, floats and None; floats survive `json` exactly."""
        return {key: _lists(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, document: object) -> Self:
        """The preparation that `to_json` wrote.

        Raises:
            IntegrityError: Keys are missing or unknown, or values do not fit together; all problems are named.
        """
        stored = read_document(document)
        reduction = None if stored.reduction is None else Reduction(**dict(stored.reduction))
        return cls(**{**dict(stored), "reduction": reduction})


def to_matrix(frame: pl.DataFrame, features: Sequence[str]) -> Floats:
    """The named columns as a column-major (rows, features) array of floats, null as NaN.

    Raises:
        DataError: A column is missing or is not numeric or boolean, such as a text or a category; every such column is
            named. One of type Null has no values, but could have been a number.
    """
    problems = []
    for name in features:
        if name not in frame.columns:
            problems.append(f"{name!r} is not there")
        elif not (frame.schema[name].is_numeric() or frame.schema[name] in {pl.Boolean, pl.Null}):
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


def fit_preparation(rows: Floats, features: Sequence[str], settings: Clusters) -> tuple[Preparation, PreparationReport]:
    """Learns a preparation from the users of the fit; the result depends on the set of rows and not on their order.

    Fill values, winsorising edges and outlier limits come from the values that are there. Scales and components come
    from all users, their missing values filled; from those who are not set apart, if outliers are set apart; from
    clipped values, if they are clipped. A feature with one value, or with none, is kept with scale 1 and reported: it
    tells no users apart and moves no user to another cluster. Factors of features without common variance do not
    exist; then the scaled features are kept.

    Args:
        rows: Shape (n, d), one row per user; NaN means missing.
        features: Names of the d columns.
        settings: Its keys `transform`, `scale`, `winsorise`, `outliers`, `outlier_limit`, `reduce`, `variance`.

    Raises:
        DataError: There are no rows, a value is infinite or beyond ± 10¹⁰⁰ (every such feature is named), or all users
            would be set apart.
    """
    if not len(rows):
        raise DataError(
            "there are no users to learn clusters from; expected at least 2",
            code="clusters-too-few-rows",
            hint="Check the event log and the as-of date, or set clusters.enabled = false.",
        )
    _refuse_infinite(rows, features)
    ranges = [_ranges(rows[:, index], settings) for index in range(len(features))]
    preparation = Preparation(
        features=tuple(features),
        transform=settings.transform,
        scaling=settings.scale,
        outliers=settings.outliers,
        fill=tuple(fill for fill, _, _ in ranges),
        edges=tuple(edges for _, edges, _ in ranges),
        limits=tuple(limits for _, _, limits in ranges),
        centre=(0.0,) * len(features),
        scale=(1.0,) * len(features),
    )
    columns = [_transformed(preparation, rows, index) for index in range(len(features))]
    outliers = [beyond(values, limits) for values, limits in zip(columns, preparation.limits, strict=True)]
    with_outliers = in_any(outliers)
    taking_part = ~with_outliers if settings.outliers == "apart" else np.ones(len(rows), dtype=np.bool_)
    _refuse_nobody(taking_part, settings)
    learnt = [values[taking_part] for values in columns]
    if settings.outliers == "clip":
        pairs = zip(learnt, preparation.limits, strict=True)
        learnt = [values if limits is None else np.clip(values, *limits) for values, limits in pairs]
    centre, scale = centres_and_scales(settings.scale, learnt)
    preparation = replace(preparation, centre=centre, scale=scale)
    if settings.reduce != "none":
        reduction = fit_reduction(settings.reduce, preparation.apply(rows[taking_part]), settings.variance)
        preparation = replace(preparation, reduction=reduction)
    reduction = preparation.reduction
    return preparation, PreparationReport(
        users=len(rows),
        with_outliers=int(np.count_nonzero(with_outliers)),
        apart=len(rows) - int(np.count_nonzero(taking_part)),
        features=tuple(
            _feature_report(name, rows[:, index], preparation.edges[index], outliers[index], learnt[index])
            for index, name in enumerate(features)
        ),
        components=len(preparation.coordinates),
        explained=() if reduction is None else reduction.explained,
        kept=1.0 if reduction is None else reduction.kept,
    )


def _lists(value: object) -> object:
    """Tuples as lists, as they come back from JSON."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _transformed(preparation: Preparation, rows: Floats, index: int) -> Floats:
    """One feature's values, filled, winsorised and transformed."""
    values = np.where(np.isnan(rows[:, index]), preparation.fill[index], rows[:, index])
    edges = preparation.edges[index]
    return _transform(values if edges is None else np.clip(values, *edges), preparation.transform)


def _ranges(column: Floats, settings: Clusters) -> tuple[float, Pair | None, Pair | None]:
    """Fill value, winsorising edges and outlier limits of a feature."""
    # Adding zero turns -0.0 into 0.0, which sort as equal, so that equal rows have equal bytes.
    present = np.sort(column[~np.isnan(column)]) + 0.0
    if not len(present):
        return 0.0, None, None
    fill = median(present)
    edges = winsorising_edges(present, settings.winsorise) if settings.winsorise else None
    cut = present if edges is None else np.clip(present, *edges)
    return fill, edges, outlier_limits(np.sort(_transform(cut, settings.transform)), settings.outlier_limit)


def _feature_report(name: str, column: Floats, edges: Pair | None, outliers: Mask, learnt: Floats) -> FeatureReport:
    low, high = edges if edges is not None else (-math.inf, math.inf)
    return FeatureReport(
        name=name,
        missing=int(np.count_nonzero(np.isnan(column))),
        winsorised_low=int(np.count_nonzero(column < low)),
        winsorised_high=int(np.count_nonzero(column > high)),
        outliers=int(np.count_nonzero(outliers)),
        constant=is_constant(np.sort(learnt)),
    )


def _transform(values: Floats, transform: Transform) -> Floats:
    if transform == "none":
        return values + 0.0
    return np.copysign(log1p(np.abs(values)), values) + 0.0


def _refuse_infinite(rows: Floats, features: Sequence[str]) -> None:
    counts = np.count_nonzero(np.abs(rows) > _GREATEST, axis=0).tolist()
    problems = [f"{name!r} has {count} infinite values" for name, count in zip(features, counts, strict=True) if count]
    if problems:
        raise DataError(
            f"clustering features need values within ±{_GREATEST:g}, or missing ones: " + "; ".join(problems),
            code="clusters-values",
            hint="Leave these features out of clusters.features, or correct the values they are computed from.",
        )


def _refuse_nobody(taking_part: Mask, settings: Clusters) -> None:
    if not taking_part.any():
        raise DataError(
            f"all {len(taking_part)} users have a value beyond clusters.outlier_limit = {settings.outlier_limit:g} and "
            "would be set apart, so that none is left to learn clusters from",
            code="clusters-too-few-rows",
            hint="Raise clusters.outlier_limit, or set clusters.outliers to 'clip' or 'keep'.",
        )
