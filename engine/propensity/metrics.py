"""How good probabilities are, each number beside the one that a constant prediction would get."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.propensity.calibration import expected_error, reliability
from engine.propensity.groups import ScoreGroups, group_by_score, labelled_scores, twice_ordered_pairs
from engine.stable_math import log, log1p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

DECILES: Final = 10
SHARES: Final = (Fraction(1, 100), Fraction(1, 20), Fraction(1, 10), Fraction(1, 5))
"""Shares of the rows, highest scores first, whose precision is measured."""


@dataclass(frozen=True)
class Metrics:
    """Quality of the scores of one set of labelled rows.

    The base rate is the share of positives of these same rows, so the base figures are those of the best constant
    prediction there is. A constant has an AUC of 0.5, an average precision of the base rate and a lift of 1.

    `auc` is None when only one class is present; `average_precision` is None, `lift_by_decile` and `gain_by_decile` are
    empty when no row is positive. No result depends on the order of the rows.
    """

    rows: int
    positives: int
    base_rate: float
    auc: float | None
    """Probability that a positive scores above a negative; a tie counts one half."""
    average_precision: float | None
    """Precision at each distinct score, weighted by the recall it adds."""
    log_loss: float
    """Mean negative log likelihood in nats."""
    brier: float
    """Mean squared error."""
    base_log_loss: float
    base_brier: float
    lift_by_decile: tuple[float, ...]
    """Positive rate of each tenth of the rows, highest scores first, over the base rate."""
    ece: float
    """Expected calibration error: distance of predicted and realised rates in ten bins of equal row counts."""
    gain_by_decile: tuple[float, ...]
    """Share of the positives in the first one, two, … ten tenths of the rows, highest scores first."""
    precision_at: tuple[tuple[float, float], ...]
    """Share of the rows, highest scores first, and the positive rate in it: for 1 %, 5 %, 10 % and 20 %."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            **asdict(self),
            "lift_by_decile": list(self.lift_by_decile),
            "gain_by_decile": list(self.gain_by_decile),
            "precision_at": [list(pair) for pair in self.precision_at],
        }


def measure(labels: ArrayLike, scores: ArrayLike) -> Metrics:
    """The metrics of predicted probabilities.

    AUC is the Mann-Whitney statistic in whole numbers and divided once. Average precision and log loss follow
    scikit-learn's definitions: one step per distinct score, and probabilities clipped to `[eps, 1 - eps]` of float64.
    Means are correctly rounded sums (`math.fsum`).

    Args:
        labels: One per row, false or true (0 or 1).
        scores: One probability per row, in the order of `labels`.

    Raises:
        ValueError: No rows, different lengths, labels other than 0 and 1, or scores outside `[0, 1]`.
    """
    truth, probability = labelled_scores(labels, scores)
    rows, positives = truth.size, int(np.count_nonzero(truth))
    base_rate = positives / rows
    groups = group_by_score(truth, probability)
    captured = _captured(groups, [Fraction(decile, DECILES) for decile in range(DECILES + 1)])
    return Metrics(
        rows=rows,
        positives=positives,
        base_rate=base_rate,
        auc=_auc(groups, positives, rows - positives),
        average_precision=_average_precision(groups, positives),
        log_loss=_log_loss(truth, probability),
        brier=math.fsum((probability - truth) ** 2) / rows,
        base_log_loss=_entropy(base_rate),
        base_brier=base_rate * (1 - base_rate),
        lift_by_decile=tuple(
            float((upper - lower) * DECILES / positives) for lower, upper in pairwise(captured) if positives
        ),
        ece=expected_error(reliability(truth, probability)),
        gain_by_decile=tuple(float(upper / positives) for upper in captured[1:] if positives),
        precision_at=tuple(
            (float(share), float(hits / (share * rows)))
            for share, hits in zip(SHARES, _captured(groups, SHARES), strict=True)
        ),
    )


def _auc(groups: ScoreGroups, positives: int, negatives: int) -> float | None:
    if positives == 0 or negatives == 0:
        return None
    return twice_ordered_pairs(groups.positives, groups.rows - groups.positives) / (2 * positives * negatives)


def _average_precision(groups: ScoreGroups, positives: int) -> float | None:
    if positives == 0:
        return None
    precision = np.cumsum(groups.positives) / np.cumsum(groups.rows)
    return math.fsum(groups.positives * precision) / positives


def _log_loss(truth: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    eps = np.finfo(np.float64).eps
    clipped = np.clip(probability, eps, 1 - eps)
    return -math.fsum(np.where(truth, log(clipped), log1p(-clipped))) / truth.size


def _entropy(rate: float) -> float:
    if rate in (0, 1):
        return 0.0
    return -(rate * float(log(rate)) + (1 - rate) * float(log1p(-rate)))


def _captured(groups: ScoreGroups, shares: Sequence[Fraction]) -> list[Fraction]:
    """Positives among the first shares of the rows; a share may cut rows, and equal scores share their positives."""
    row_ends = np.cumsum(groups.rows)
    positive_ends = np.cumsum(groups.positives)

    def positives_up_to(edge: Fraction) -> Fraction:
        group = min(int(np.searchsorted(row_ends, math.ceil(edge))), row_ends.size - 1)
        size, hits = int(groups.rows[group]), int(groups.positives[group])
        into = edge - (int(row_ends[group]) - size)
        return int(positive_ends[group]) - hits + hits * into / size

    return [positives_up_to(share * int(row_ends[-1])) for share in shares]
