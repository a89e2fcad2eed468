"""The model that trees have to beat: a logistic regression on the same features and the same rows.

What makes it a fair opponent, and not a straw man:

- a numeric feature that is skewed (beyond 1 either way), as counts and money are, enters as `sign(x) log(1 + |x|)` if
  that is less skewed; others, such as shares, enter as they are; all are standardised;
- a missing value becomes the median, and a column of its own says that it was missing;
- a category becomes one column per value of its code table; an unknown value is none of them.

Fitted by scikit-learn (L-BFGS, L2 with its usual C = 1) on training rows only. Everything but that fit is made of
operations that give the same bits everywhere, and its coefficients are rounded, so that the figures it is compared by
do not depend on the last bits of a library.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.stable_math import log, log1p, sigmoid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from engine.propensity.boosting import Rows

MAX_ROWS: Final = 100_000
"""Training rows of the baseline at most: more do not move the few coefficients that it has."""
_ITERATIONS: Final = 300
_DIGITS: Final = 5
_LOG_ODDS: Final = 30.0
_FAR: Final = 1e15
_SKEWED: Final = 1.0


@dataclass(frozen=True)
class Baseline:
    """A fitted logistic regression: log odds = intercept + the terms of the columns."""

    intercept: float
    numbers: tuple[_Number, ...]
    categories: tuple[_Category, ...]


@dataclass(frozen=True)
class _Number:
    """A numeric column of the encoded features: its scale, and the coefficients of its value and of its absence."""

    position: int
    on_log_scale: bool
    fill: float
    mean: float
    deviation: float
    slope: float = 0.0
    missing: float = 0.0


@dataclass(frozen=True)
class _Category:
    """A column of codes, and the coefficient of every code."""

    position: int
    effects: tuple[float, ...]


def fit_baseline(train: Rows, levels: Sequence[int | None]) -> Baseline:
    """The logistic regression of the label of `train`.

    Args:
        train: Encoded features and labels, in a stable order. Of more than `MAX_ROWS` rows, as many are taken at equal
            distances.
        levels: One entry per column: the number of its codes, or None for a number.
    """
    matrix, labels = _thinned(train)
    numbers = [
        number
        for position, count in enumerate(levels)
        if count is None and (number := _scaled(matrix[:, position], position)) is not None
    ]
    coded = [(position, count) for position, count in enumerate(levels) if count]
    columns = [column for number in numbers for column in _terms(matrix, number)]
    intercept, slopes = _fit(columns, [(matrix[:, position], count) for position, count in coded], labels)
    pairs, effects = slopes[: 2 * len(numbers)].reshape(-1, 2), slopes[2 * len(numbers) :]
    ends = np.cumsum([count for _, count in coded], dtype=np.int64)
    return Baseline(
        intercept=intercept,
        numbers=tuple(
            replace(number, slope=float(slope), missing=float(missing))
            for number, (slope, missing) in zip(numbers, pairs, strict=True)
        ),
        categories=tuple(
            _Category(position, tuple(float(effect) for effect in effects[end - count : end]))
            for (position, count), end in zip(coded, ends, strict=True)
        ),
    )


def baseline_scores(baseline: Baseline, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The baseline's probability for each row of encoded features, before calibration.

    Terms are added column by column: no bit of a row's score depends on the other rows.
    """
    total = np.full(len(matrix), baseline.intercept)
    for number in baseline.numbers:
        value, missing = _terms(matrix, number)
        total += number.slope * value
        total += number.missing * missing
    for category in baseline.categories:
        codes = matrix[:, category.position]
        # One more effect, of nothing, for values that have no code.
        effects = np.array([*category.effects, 0.0])
        total += effects[np.where(np.isnan(codes), len(category.effects), codes).astype(np.int64)]
    return sigmoid(np.clip(total, -_LOG_ODDS, _LOG_ODDS))


def _thinned(train: Rows) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    rows = len(train.matrix)
    if rows <= MAX_ROWS:
        return train.matrix, train.labels
    taken = np.arange(MAX_ROWS) * rows // MAX_ROWS
    return train.matrix[taken], train.labels[taken]


def _scaled(column: NDArray[np.float64], position: int) -> _Number | None:
    """How a column enters; None when it says nothing, because it is constant and has no gaps, or has no value."""
    known = ~np.isnan(column)
    if not known.any():
        return None
    present = np.sort(column[known])
    fill = float(present[(present.size - 1) // 2])
    filled = _filled(column, fill)
    logs = _signed_log(filled)
    on_log_scale = abs(_skewness(filled)) > max(_SKEWED, abs(_skewness(logs)))
    mean, deviation = _moments(logs if on_log_scale else filled)
    if deviation == 0 and known.all():
        return None
    return _Number(position=position, on_log_scale=on_log_scale, fill=fill, mean=mean, deviation=deviation or 1.0)


def _terms(matrix: NDArray[np.float64], number: _Number) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    column = matrix[:, number.position]
    filled = _filled(column, number.fill)
    scaled = _signed_log(filled) if number.on_log_scale else filled
    return (scaled - number.mean) / number.deviation, np.isnan(column).astype(np.float64)


def _filled(column: NDArray[np.float64], fill: float) -> NDArray[np.float64]:
    # Sums of squares and cubes stay finite, whatever a feature holds.
    return np.clip(np.where(np.isnan(column), fill, column), -_FAR, _FAR)


def _signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.copysign(log1p(np.abs(values)), values)


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    mean = _total(values) / values.size
    # Rounding leaves a constant a deviation of a few last bits.
    if np.all(values == values[0]):
        return mean, 0.0
    centred = values - mean
    return mean, float(np.sqrt(_total(centred * centred) / values.size))


def _skewness(values: NDArray[np.float64]) -> float:
    mean, deviation = _moments(values)
    if deviation == 0:
        return 0.0
    scaled = (values - mean) / deviation
    return _total(scaled * scaled * scaled) / values.size


def _total(values: NDArray[np.float64]) -> float:
    return float(np.bincount(np.zeros(values.size, dtype=np.int8), weights=values)[0])


def _fit(
    columns: Sequence[NDArray[np.float64]], coded: Sequence[tuple[NDArray[np.float64], int]], labels: NDArray[np.int8]
) -> tuple[float, NDArray[np.float64]]:
    """Intercept and coefficients, rounded: first those of `columns`, then those of the codes."""
    from scipy import sparse
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    blocks: list[Any] = [sparse.csr_array(np.column_stack(columns))] if columns else []
    for codes, count in coded:
        rows = np.flatnonzero(~np.isnan(codes))
        places = (rows, codes[rows].astype(np.int64))
        blocks.append(sparse.csr_array((np.ones(rows.size), places), shape=(labels.size, count)))
    if not blocks:
        rate = float(labels.mean())
        return float(np.round(log(rate / (1 - rate)), _DIGITS)), np.empty(0)
    model = LogisticRegression(max_iter=_ITERATIONS)
    # One thread: the sums of a matrix product depend on the number of its parts.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(sparse.hstack(blocks, format="csr"), labels)
    return float(np.round(model.intercept_[0], _DIGITS)), np.round(model.coef_[0], _DIGITS)
