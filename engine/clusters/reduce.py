"""Fewer coordinates than features: principal components or factors that keep a share of the variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from engine.clusters.eigen import eigen
from engine.clusters.factors import count_for, principal_axes
from engine.clusters.nearest import Floats
from engine.clusters.units import UNITS, to_units

Table = tuple[tuple[float, ...], ...]
"""One row per feature, one column per component."""

_CHUNK_ROWS: Final = 4096
# A unit of 30 bits is split in two halves, so that sums of their products fit 64 bits for 2³² rows.
_HALF_BITS: Final = 15
# Loadings whose absolute values differ by less are equal when a sign is chosen; then the first feature decides.
_SIGN_DECIMALS: Final = 6


@dataclass(frozen=True)
class Reduction:
    """How scaled features become components: `Σ (feature - centre) · weight`, summed in the order of the features.

    Attributes:
        kind: `pca`: principal components, which keep the distances between users as far as they can; `factor`: factors
            by principal axes and varimax, their scores estimated by regression.
        centre: Per feature, its mean in scaled units.
        weights: One row per feature, one column per component.
        loadings: Of the same shape. `pca`: eigenvector times the root of its eigenvalue, the covariance of the scaled
            feature with the standardised component; `factor`: the correlation of feature and factor. The greatest
            absolute loading of a component is positive, so that the next fit does not turn it round.
        explained: Per component, the share of the variance of all features that it explains.
        kept: The share that was asked for and reached: of the variance (`pca`), of the common variance (`factor`).
    """

    kind: Literal["pca", "factor"]
    centre: tuple[float, ...]
    weights: Table
    loadings: Table
    explained: tuple[float, ...]
    kept: float

    def project(self, scaled: Floats) -> Floats:
        """Components of scaled rows, shape (n, components), column-major; a row's bits depend on that row alone."""
        result = np.zeros((len(scaled), len(self.explained)), order="F")
        for index, (centre, weights) in enumerate(zip(self.centre, self.weights, strict=True)):
            values = scaled[:, index] - centre
            for component, weight in enumerate(weights):
                result[:, component] += values * weight
        return result


def fit_reduction(kind: Literal["pca", "factor"], scaled: Floats, variance: float) -> Reduction | None:
    """The fewest components that keep `variance` of the variance; None if factors would have nothing in common.

    Covariances are exact sums, rounded once, so the result depends on the set of rows and not on their order.

    Args:
        kind: Principal components of the covariance matrix, or factors of the correlation matrix.
        scaled: Shape (n, d), n ≥ 1, rounded by `engine.clusters.units.rounded`.
        variance: Share of the variance to keep, of the common variance with factors; above 0 and up to 1.
    """
    centre, covariance = covariances(scaled)
    if kind == "factor":
        return _factors(centre, covariance, variance)
    values, vectors = eigen(covariance)
    values = np.maximum(values, 0.0)
    count = count_for(values, variance)
    weights = vectors[:, :count] * _signs(vectors[:, :count])
    # Users who are all equal have one component, in which they are equal.
    total = math.fsum(values.tolist()) or 1.0
    explained = tuple(value / total for value in values[:count].tolist())
    loadings = weights * np.sqrt(values[:count])
    return Reduction(
        "pca", tuple(centre.tolist()), _table(weights), _table(loadings), explained, min(math.fsum(explained), 1.0)
    )


def covariances(scaled: Floats) -> tuple[Floats, Floats]:
    """Means, shape (d,), and population covariances, shape (d, d), of rows in whole units; sums are exact."""
    rows, size = scaled.shape
    first = np.zeros(size, dtype=np.int64)
    second = np.zeros((3, size, size), dtype=np.int64)
    for start in range(0, rows, _CHUNK_ROWS):
        units = to_units(scaled[start : start + _CHUNK_ROWS].T)
        first += units.sum(axis=1)
        high, low = units >> _HALF_BITS, units & ((1 << _HALF_BITS) - 1)
        for index in range(size):
            second[0, index] += (high[index] * high).sum(axis=1)
            second[1, index] += (high[index] * low + low[index] * high).sum(axis=1)
            second[2, index] += (low[index] * low).sum(axis=1)
    sums = first.tolist()
    covariance = np.empty((size, size))
    for index, parts in enumerate(second.transpose(1, 2, 0).tolist()):
        for other, (high_high, crossed, low_low) in enumerate(parts):
            products = (high_high << 2 * _HALF_BITS) + (crossed << _HALF_BITS) + low_low
            # A quotient of whole numbers is rounded once.
            spread = rows * products - sums[index] * sums[other]
            covariance[index, other] = spread / (rows * UNITS) ** 2
    return np.array([total / (rows * UNITS) for total in sums]), covariance


def _factors(centre: Floats, covariance: Floats, variance: float) -> Reduction | None:
    deviation = np.sqrt(covariance.diagonal())
    # A constant feature correlates with nothing.
    varying = np.flatnonzero(deviation > 0.0)
    if not len(varying):
        return None
    scale = deviation[varying]
    factors = principal_axes(covariance[np.ix_(varying, varying)] / (scale[:, np.newaxis] * scale), variance)
    if factors is None:
        return None
    signs = _signs(factors.loadings)
    loadings, weights = np.zeros((2, len(centre), factors.loadings.shape[1]))
    loadings[varying] = factors.loadings * signs
    weights[varying] = factors.weights * signs / scale[:, np.newaxis]
    explained = [math.fsum((column * column).tolist()) / len(varying) for column in loadings.T]
    return Reduction(
        "factor", tuple(centre.tolist()), _table(weights), _table(loadings), tuple(explained), min(factors.kept, 1.0)
    )


def _signs(loadings: Floats) -> Floats:
    """1 or -1 per column: what makes its greatest absolute entry positive."""
    greatest = np.round(np.abs(loadings), _SIGN_DECIMALS).argmax(axis=0)
    return np.where(loadings[greatest, np.arange(loadings.shape[1])] < 0.0, -1.0, 1.0)


def _table(values: Floats) -> Table:
    # Adding zero turns -0.0 into 0.0, so that equal tables have equal texts.
    return tuple(tuple(row) for row in (values + 0.0).tolist())
