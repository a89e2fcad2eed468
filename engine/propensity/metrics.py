"""How good probabilities are, each number beside the one that a constant prediction would get."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.stable_math import log, log1p

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

DECILES = 10


@dataclass(frozen=True)
class Metrics:
    """Quality of the scores of one set of labelled rows.

    The base rate is the share of positives of these same rows, so the base figures are those of the best constant
    prediction there is. A constant has an AUC of 0.5, an average precision of the base rate and a lift of 1.

    `auc` is None when only one class is present; `average_precision` is None and `lift_by_decile` empty when no row is
    positive. No result depends on the order of the rows.
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

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {**asdict(self), "lift_by_decile": list(self.lift_by_decile)}


@dataclass(frozen=True)
class _Groups:
    """Rows of equal score taken together, highest score first: how many there are, and how many are positive."""

    rows: NDArray[np.int64]
    positives: NDArray[np.int64]


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
    truth = np.asarray(labels)
    probability = np.asarray(scores, dtype=np.float64)
    _check(truth, probability)
    truth = truth.astype(bool)
    rows, positives = truth.size, int(np.count_nonzero(truth))
    base_rate = positives / rows
    groups = _by_score(truth, probability)
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
        lift_by_decile=_lift_by_decile(groups, rows, positives),
    )


def _check(truth: NDArray[Any], probability: NDArray[np.float64]) -> None:
    if truth.ndim != 1 or truth.shape != probability.shape or truth.size == 0:
        message = f"expected one label and one score per row, got shapes {truth.shape} and {probability.shape}"
        raise ValueError(message)
    if not np.isin(truth, (0, 1)).all():
        message = "expected labels 0 and 1 only"
        raise ValueError(message)
    if not ((probability >= 0) & (probability <= 1)).all():
        message = "expected scores between 0 and 1"
        raise ValueError(message)


def _by_score(truth: NDArray[np.bool_], probability: NDArray[np.float64]) -> _Groups:
    order = np.argsort(-probability, kind="stable")
    ordered = probability[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    ends = np.append(starts[1:], ordered.size)
    cumulative = np.concatenate(([0], np.cumsum(truth[order], dtype=np.int64)))
    return _Groups(rows=ends - starts, positives=cumulative[ends] - cumulative[starts])


def _auc(groups: _Groups, positives: int, negatives: int) -> float | None:
    if positives == 0 or negatives == 0:
        return None
    group_negatives = groups.rows - groups.positives
    negatives_below = negatives - np.cumsum(group_negatives)
    # Twice the statistic keeps the halves of ties whole; it fits 64 bits up to 3 billion rows.
    twice = int(np.sum(groups.positives * (2 * negatives_below + group_negatives)))
    return twice / (2 * positives * negatives)


def _average_precision(groups: _Groups, positives: int) -> float | None:
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


def _lift_by_decile(groups: _Groups, rows: int, positives: int) -> tuple[float, ...]:
    """Lift of ten equal shares of the rows; a share may cut a row, and rows of equal score share their positives."""
    if positives == 0:
        return ()
    row_ends = np.cumsum(groups.rows)
    positive_ends = np.cumsum(groups.positives)

    def positives_up_to(edge: Fraction) -> Fraction:
        group = min(int(np.searchsorted(row_ends, math.ceil(edge))), row_ends.size - 1)
        size, hits = int(groups.rows[group]), int(groups.positives[group])
        into = edge - (int(row_ends[group]) - size)
        return int(positive_ends[group]) - hits + hits * into / size

    captured = [positives_up_to(Fraction(rows * decile, DECILES)) for decile in range(DECILES + 1)]
    return tuple(float((upper - lower) * DECILES / positives) for lower, upper in pairwise(captured))
