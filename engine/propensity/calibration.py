"""From a model's raw scores to probabilities that can be counted on, learnt from rows the model was not trained on.

Isotonic regression (Zadrozny & Elkan 2002) follows any increasing curve but needs many positives; Platt scaling (Platt
1999) has two parameters only, and is the better one below about a thousand (Niculescu-Mizil & Caruana 2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from engine.propensity.groups import ScoreGroups, group_by_score, labelled_scores
from engine.propensity.platt import fit_platt, platt

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Method = Literal["auto", "isotonic", "platt", "none"]

_ISOTONIC_FROM: Final = 1000
# Isotonic regression starts from groups of at least so many rows, and of so many groups at most: a handful of positives
# at the top must not become a probability of one, and the knots stay few.
_MIN_ROWS: Final = 20
_MAX_GROUPS: Final = 500


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing curve from raw scores to probabilities, both in `[0, 1]`."""

    method: str
    """`isotonic`, `platt` or `none`."""
    knots: tuple[float, ...]
    """Isotonic: ascending raw scores from 0 to 1; the curve is straight between two."""
    values: tuple[float, ...]
    """Isotonic: the probability at each knot."""
    slope: float
    intercept: float
    """Platt: the log-odds of the probability are `slope` times the log-odds of the raw score, plus `intercept`."""


IDENTITY: Final = Calibration(method="none", knots=(), values=(), slope=1.0, intercept=0.0)
"""Raw scores are the probabilities."""


@dataclass(frozen=True)
class Bin:
    """Rows of neighbouring scores: how many, what was predicted on average, and which share was positive."""

    rows: int
    mean_score: float
    rate: float


def fit_calibration(labels: ArrayLike, scores: ArrayLike, method: Method) -> Calibration:
    """The calibration of a model, from rows it has not learned from. The order of the rows does not count.

    `auto` is isotonic from 1,000 rows of the rarer class on, and Platt below. One class only, or one score only, gives
    a curve through the (smoothed) rate of the rows.

    The isotonic curve is that of centred isotonic regression (Oron & Flournoy 2017): the pools of adjacent violators
    become one knot each, at the mean score and the rate of their rows, and the curve is straight between knots. A step
    function, or scikit-learn's interpolation between the ends of the pools, gives all rows of a pool one probability,
    often a tenth of the users at once; here scores that differ stay apart, so that percentiles and deciles of
    probabilities rank as finely as the model. Rates are smoothed as Platt's targets are, so that no probability is
    exactly 0 or 1 because a pool has one class. Outside the outermost knots probabilities are proportional to raw
    scores.

    Args:
        labels: One per row, false or true (0 or 1).
        scores: The raw score of each row, in `[0, 1]`.

    Raises:
        ValueError: No rows, different lengths, labels other than 0 and 1, scores outside `[0, 1]`, or another method.
    """
    truth, raw = labelled_scores(labels, scores)
    if method not in {"auto", "isotonic", "platt", "none"}:
        message = f"expected the calibration auto, isotonic, platt or none, got {method!r}"
        raise ValueError(message)
    if method == "none":
        return IDENTITY
    positives = int(np.count_nonzero(truth))
    if method == "isotonic" or (method == "auto" and min(positives, truth.size - positives) >= _ISOTONIC_FROM):
        knots, values = _centred_isotonic(group_by_score(truth, raw))
        return Calibration(method="isotonic", knots=knots, values=values, slope=1.0, intercept=0.0)
    slope, intercept = fit_platt(truth, raw)
    return Calibration(method="platt", knots=(), values=(), slope=slope, intercept=intercept)


def calibrate(calibration: Calibration, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probabilities of raw scores, as a new array; NaN stays NaN.

    Exactly non-decreasing in the score, in `[0, 1]`, and a score has the same bits in any company.

    Raises:
        ValueError: A score is outside `[0, 1]`.
    """
    raw = np.asarray(scores, dtype=np.float64)
    if ((raw < 0) | (raw > 1)).any():
        message = "expected scores between 0 and 1"
        raise ValueError(message)
    result = raw.copy()
    if calibration.method == "none":
        return result
    known = ~np.isnan(raw)
    if calibration.method == "platt":
        result[known] = platt(raw[known], calibration.slope, calibration.intercept)
    else:
        result[known] = _piecewise(raw[known], np.array(calibration.knots), np.array(calibration.values))
    return result


def reliability(labels: ArrayLike, scores: ArrayLike, bins: int = 10) -> tuple[Bin, ...]:
    """Predicted and realised rates by bins of equal row counts, the lowest scores first.

    Rows of equal score stay in one bin, the one that holds their middle; bins that get no rows are left out.

    Raises:
        ValueError: As `fit_calibration` does, or fewer than one bin.
    """
    if bins < 1:
        message = f"expected at least one bin, got {bins}"
        raise ValueError(message)
    truth, probability = labelled_scores(labels, scores)
    return tuple(
        Bin(rows=rows, mean_score=total / rows, rate=positives / rows)
        for rows, positives, total in _parts(group_by_score(truth, probability), bins)
    )


def expected_error(table: tuple[Bin, ...]) -> float:
    """Expected calibration error: the mean distance of predicted and realised rates, weighted by rows."""
    rows = sum(part.rows for part in table)
    return math.fsum(part.rows * abs(part.mean_score - part.rate) for part in table) / rows


def _parts(groups: ScoreGroups, bins: int) -> list[tuple[int, int, float]]:
    """Rows, positives and the sum of scores of each bin, the lowest scores first."""
    rows, positives, scores = groups.rows[::-1], groups.positives[::-1], groups.scores[::-1]
    ends = np.cumsum(rows)
    total = int(ends[-1])
    # Twice the middle of a group is a whole number, and so is the comparison with the edges.
    part = (2 * ends - rows) * bins // (2 * total)
    starts = np.flatnonzero(np.concatenate(([True], part[1:] != part[:-1])))
    terms = (rows * scores).tolist()
    return [
        (int(rows[start:end].sum()), int(positives[start:end].sum()), math.fsum(terms[start:end]))
        for start, end in pairwise([*starts.tolist(), part.size])
    ]


def _centred_isotonic(groups: ScoreGroups) -> tuple[tuple[float, ...], tuple[float, ...]]:
    rows, positives = int(groups.rows.sum()), int(groups.positives.sum())
    # Pools of adjacent violators, compared in whole numbers. Pools of equal rate are one: the curve has no plateau.
    pools: list[tuple[int, int, list[float]]] = []
    for part_size, part_hits, part_sum in _parts(groups, max(1, min(_MAX_GROUPS, rows // _MIN_ROWS))):
        size, hits, terms = part_size, part_hits, [part_sum]
        while pools and pools[-1][1] * size >= hits * pools[-1][0]:
            size_below, hits_below, terms_below = pools.pop()
            size, hits, terms = size + size_below, hits + hits_below, terms_below + terms
        pools.append((size, hits, terms))
    lowest, highest = 1 / (rows - positives + 2), (positives + 1) / (positives + 2)
    curve = {math.fsum(terms) / size: lowest + hits / size * (highest - lowest) for size, hits, terms in pools}
    first, last = min(curve), max(curve)
    if last > 0:
        curve.setdefault(1.0, min(1.0, curve[last] / last))
    else:
        curve[1.0] = curve[last]
    if first > 0:
        curve[0.0] = 0.0
    knots = tuple(sorted(curve))
    return knots, tuple(curve[knot] for knot in knots)


def _piecewise(
    scores: NDArray[np.float64], knots: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    left = np.clip(np.searchsorted(knots, scores, side="right") - 1, 0, knots.size - 2)
    share = (scores - knots[left]) / np.diff(knots)[left]
    # Each operation is monotone, and the minimum keeps a rounding at the end of a piece below the start of the next.
    return np.minimum(values[left] + share * np.diff(values)[left], values[left + 1])
