"""Platt scaling: a logistic curve over the log-odds of a model's raw scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.propensity.groups import group_by_score
from engine.stable_math import exp, log1p, logit, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Scores are taken as multiples of 2⁻³⁶. Neighbours then differ by far more than the last bits of the functions below,
# which makes the curve exactly monotone; and 0 and 1 have finite log-odds.
_STEPS: Final = 2.0**36
# A flatter curve counts as a constant: the ranking of the scores says nothing, or the opposite of what it should.
_MIN_SLOPE: Final = 2.0**-10
_ITERATIONS: Final = 100
_MIN_STEP: Final = 1e-10
_CONVERGED: Final = 1e-12
_RIDGE: Final = 1e-12


def platt(scores: NDArray[np.float64], slope: float, intercept: float) -> NDArray[np.float64]:
    """`sigmoid(slope * logit(score) + intercept)`, exactly non-decreasing; scores in `[0, 1]`, taken to 2⁻³⁶."""
    return sigmoid(slope * _log_odds(scores) + intercept)


def fit_platt(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[float, float]:
    """Slope (not negative) and intercept of greatest likelihood.

    Labels are smoothed to `(P + 1) / (P + 2)` and `1 / (N + 2)` as in Platt 1999; Newton's method with a line search
    follows Lin, Lin & Weng 2007. Sums are correctly rounded, so the order of the rows does not count.
    """
    groups = group_by_score(truth, _on_grid(scores))
    positives = int(groups.positives.sum())
    negatives = int(groups.rows.sum()) - positives
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    weights = groups.rows.astype(np.float64)
    targets = groups.positives * high + (groups.rows - groups.positives) * low
    mean = (positives * high + negatives * low) / (positives + negatives)
    flat = 0.0, float(logit(mean))
    if positives == 0 or negatives == 0 or weights.size == 1:
        return flat
    log_odds = logit(groups.scores)
    # In units of their spread about their mean, log-odds that hardly differ are told apart as well as any.
    centre = _total(weights * log_odds) / _total(weights)
    spread = math.sqrt(_total(weights * (log_odds - centre) ** 2) / _total(weights))
    steepness, offset = _newton((log_odds - centre) / spread, targets, weights, start=(spread, centre))
    slope = steepness / spread
    return (slope, offset - slope * centre) if slope >= _MIN_SLOPE else flat


def _on_grid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.rint(scores * _STEPS), 1.0, _STEPS - 1.0) / _STEPS


def _log_odds(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return logit(_on_grid(scores))


def _newton(
    log_odds: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
    start: tuple[float, float],
) -> tuple[float, float]:
    """Minimise the cross entropy of summed `targets` (positives) out of `weights` (rows)."""
    slope, intercept = start
    loss = _loss(log_odds, targets, weights, slope, intercept)
    for _ in range(_ITERATIONS):
        fitted = sigmoid(slope * log_odds + intercept)
        residual = weights * fitted - targets
        curvature = weights * fitted * (1 - fitted)
        gradient = _total(residual * log_odds), _total(residual)
        a = _total(curvature * log_odds * log_odds) + _RIDGE
        b = _total(curvature * log_odds)
        c = _total(curvature) + _RIDGE
        determinant = a * c - b * b
        if determinant <= 0:
            break
        move = (b * gradient[1] - c * gradient[0]) / determinant, (b * gradient[0] - a * gradient[1]) / determinant
        descent = gradient[0] * move[0] + gradient[1] * move[1]
        if -descent <= _CONVERGED * loss:
            # The loss cannot show so small a gain any more; the last step of Newton's method is the best of them.
            return slope + move[0], intercept + move[1]
        step = 1.0
        while step >= _MIN_STEP:
            tried = slope + step * move[0], intercept + step * move[1]
            found = _loss(log_odds, targets, weights, *tried)
            if found < loss + 1e-4 * step * descent:
                (slope, intercept), loss = tried, found
                break
            step /= 2
        else:
            break
    return slope, intercept


def _loss(
    log_odds: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
    slope: float,
    intercept: float,
) -> float:
    # −t ln p − (w − t) ln(1 − p) where p is the sigmoid of f: w ln(1 + e^−|f|) + w max(f, 0) − t f.
    score = slope * log_odds + intercept
    return _total(weights * (log1p(exp(-np.abs(score))) + np.maximum(score, 0.0)) - targets * score)


def _total(values: NDArray[np.float64]) -> float:
    return math.fsum(values.tolist())
