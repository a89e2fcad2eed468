"""How likely rows are under weighted Gaussians: the E-step of a mixture, and the assignment to it.

Densities are added feature by feature with elementwise operations, and the covariances are factored here rather than by
LAPACK: a row gets the same bits whatever rows surround it and whichever linear algebra library is installed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from engine.clusters.nearest import Floats, Labels
from engine.stable_math import exp, log

Kind = Literal["diagonal", "full"]

_LOG_2_PI: Final = 1.8378770664093453
_CHUNK_ROWS: Final = 4096


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture of k components in d coordinates.

    Attributes:
        weights: Shares of the components, shape (k,), positive, of sum 1.
        means: Shape (k, d).
        covariances: Per component the d variances (`diagonal`), or the lower triangle of the covariance matrix row by
            row, d (d + 1) / 2 entries (`full`).
        kind: Which of the two.
    """

    weights: tuple[float, ...]
    means: tuple[tuple[float, ...], ...]
    covariances: tuple[tuple[float, ...], ...]
    kind: Kind


@dataclass(frozen=True, eq=False)
class Densities:
    """A mixture made ready for rows.

    `means` has shape (k, d); `factors` the lower Cholesky factors of the covariances, (k, d, d), or the standard
    deviations, (k, d); `offsets` (k,) what the logarithm of weight times density is at the mean.
    """

    means: Floats
    factors: Floats
    offsets: Floats


def densities(mixture: Mixture) -> Densities:
    """The mixture made ready for `log_densities`.

    Raises:
        ValueError: A covariance is not positive definite.
    """
    means = np.array(mixture.means)
    factors, scales = [], []
    for covariance in mixture.covariances:
        factor = _roots(covariance) if mixture.kind == "diagonal" else cholesky(covariance)
        factors.append(factor)
        scales.append(factor if mixture.kind == "diagonal" else factor.diagonal())
    offsets = log(mixture.weights) - 0.5 * _LOG_2_PI * means.shape[1]
    logarithms = log(np.array(scales))
    for feature in range(means.shape[1]):
        offsets = offsets - logarithms[:, feature]
    return Densities(means, np.array(factors), offsets)


def cholesky(covariance: Sequence[float]) -> Floats:
    """The lower factor L of L Lᵀ = covariance, shape (d, d), from the lower triangle row by row.

    Raises:
        ValueError: The covariance is not positive definite.
    """
    size = dimensions(len(covariance))
    factor = [[0.0] * size for _ in range(size)]
    for row in range(size):
        for column in range(row + 1):
            value = covariance[row * (row + 1) // 2 + column]
            for before in range(column):
                value -= factor[row][before] * factor[column][before]
            if row > column:
                factor[row][column] = value / factor[column][column]
            elif value > 0:
                factor[row][row] = math.sqrt(value)
            else:
                message = f"a covariance is not positive definite: pivot {row} is {value!r}"
                raise ValueError(message)
    return np.array(factor)


def dimensions(triangle: int) -> int:
    """The d of a lower triangle with d (d + 1) / 2 entries."""
    return (math.isqrt(8 * triangle + 1) - 1) // 2


def chunks(rows: int) -> Iterator[slice]:
    """Consecutive slices of at most 4,096 rows that cover `rows` rows: what `log_densities` makes of one is small."""
    for start in range(0, rows, _CHUNK_ROWS):
        yield slice(start, min(start + _CHUNK_ROWS, rows))


def log_densities(rows: Floats, ready: Densities) -> tuple[Floats, Floats]:
    """Logarithms of weight times density, and squared Mahalanobis distances to the means, both of shape (k, n).

    Args:
        rows: Shape (n, d), finite; one of `chunks` at a time.
        ready: From `densities`.
    """
    squared = np.zeros((len(ready.means), len(rows)))
    standard: list[Floats] = []
    for feature in range(rows.shape[1]):
        difference = np.ascontiguousarray(rows[:, feature]) - ready.means[:, feature, np.newaxis]
        if ready.factors.ndim == 2:
            difference /= ready.factors[:, feature, np.newaxis]
        else:
            for before, coordinate in enumerate(standard):
                difference -= ready.factors[:, feature, before, np.newaxis] * coordinate
            difference /= ready.factors[:, feature, feature, np.newaxis]
            standard.append(difference)
        squared += difference * difference
    return np.asarray(ready.offsets[:, np.newaxis] - 0.5 * squared), squared


def shares(logarithms: Floats) -> tuple[Floats, Floats]:
    """Responsibilities of the components, shape (k, n), and the logarithm of the rows' density, shape (n,).

    Args:
        logarithms: Of weight times density, shape (k, n).
    """
    top = logarithms.max(axis=0)
    relative = exp(logarithms - top)
    # An explicit loop: numpy's own sum over the components would choose its order of addition by the number of rows.
    total = np.zeros(len(top))
    for component in relative:
        total += component
    return relative / total, top + log(total)


def most_likely(rows: Floats, ready: Densities) -> tuple[Labels, Floats, Floats]:
    """The most likely component of each row, its responsibility, and the Mahalanobis distance to its mean, each (n,).

    Of equally likely components the first one counts.

    Args:
        rows: Shape (n, d), finite; any number.
        ready: From `densities`.
    """
    labels, certainty, distances = np.empty(len(rows), dtype=np.intp), np.empty(len(rows)), np.empty(len(rows))
    for part in chunks(len(rows)):
        logarithms, squared = log_densities(rows[part], ready)
        labels[part] = logarithms.argmax(axis=0)
        own = (labels[part], np.arange(squared.shape[1]))
        certainty[part] = shares(logarithms)[0][own]
        distances[part] = np.sqrt(squared[own])
    return labels, certainty, distances


def _roots(variances: Sequence[float]) -> Floats:
    if min(variances) <= 0:
        message = f"a variance is not positive: {min(variances)!r}"
        raise ValueError(message)
    return np.asarray(np.sqrt(variances), dtype=np.float64)
