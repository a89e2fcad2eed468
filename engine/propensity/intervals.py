"""How far the measures of a model could be off by chance: bootstrap intervals over the rows (Efron & Tibshirani 1993).

An interval is for the rows as they are drawn: rows of one user at several anchors count as if they were of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.propensity.groups import labelled_scores, twice_ordered_pairs
from engine.stable_math import log, log1p

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

SAMPLES: Final = 200
_BINS: Final = 10
_GROUPS: Final = 2**15
_TAILS: Final = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """The difference of two models on the same rows, and its 95 % percentile interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Sample:
    """How often the rows of each group were drawn, the highest score first."""

    positives: Counts
    negatives: Counts


@dataclass(frozen=True)
class _Means:
    """What one row of each group adds to the sums, the highest score first."""

    score: Floats
    loss_if_positive: Floats
    loss_if_negative: Floats
    error_if_positive: Floats
    error_if_negative: Floats


def bootstrap(labels: ArrayLike, scores: ArrayLike, seed: int, samples: int = SAMPLES) -> dict[str, Interval]:
    """Intervals of `auc`, `average_precision`, `log_loss`, `brier`, `ece`, `lift` (top decile) and `base_rate`.

    The rows are drawn anew `samples` times, with replacement. A measure that the rows do not have (AUC with one class
    only; average precision and lift without positives) has no entry, and draws that do not have it are left out of its
    interval. The expected calibration error grows with the noise that drawing adds to each bin; its interval is shifted
    back by that bias (the mean over the draws less the value of the rows). The order of the rows does not count.

    Args:
        labels: One per row, false or true (0 or 1).
        scores: One probability per row.
        seed: Seed of the draws (PCG64).
        samples: Number of draws.

    Raises:
        ValueError: No rows, different lengths, labels other than 0 and 1, scores outside `[0, 1]`, or no samples.
    """
    truth, probability = labelled_scores(labels, scores)
    truth, probability, group = _ranked(truth, probability)
    count = _counter(truth, group)
    means = _means(truth, probability, group)
    whole = _figures(count(None), means)
    draws = [_figures(count(drawn), means) for drawn in _draws(truth.size, seed, samples)]
    found: dict[str, Interval] = {}
    for name, value in whole.items():
        values = np.array([draw[name] for draw in draws if name in draw])
        if values.size == 0:
            continue
        interval = _percentiles(values)
        if name == "ece":
            bias = float(np.cumsum(values)[-1]) / values.size - value
            interval = Interval(max(0.0, interval.low - bias), max(0.0, interval.high - bias))
        found[name] = interval
    return found


def auc_interval(labels: ArrayLike, scores: ArrayLike, seed: int, samples: int = SAMPLES) -> Interval | None:
    """The interval of AUC alone, as `bootstrap` has it; None with one class only.

    Raises:
        ValueError: As `bootstrap` does.
    """
    truth, probability = labelled_scores(labels, scores)
    truth, _, group = _ranked(truth, probability)
    count = _counter(truth, group)
    found = [_auc(count(drawn)) for drawn in _draws(truth.size, seed, samples)]
    values = np.array([value for value in found if value is not None])
    return _percentiles(values) if values.size and 0 < np.count_nonzero(truth) < truth.size else None


def paired_difference(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, seed: int, samples: int = SAMPLES
) -> Difference:
    """AUC of `first` less AUC of `second` on the same rows: every draw of rows is measured with both.

    What both models owe to the draw cancels out, so the interval is narrower than those of the two AUCs suggest. The
    order of the rows does not count.

    Raises:
        ValueError: As `bootstrap` does, or one class only.
    """
    truth, scores = labelled_scores(labels, first)
    _, others = labelled_scores(labels, second)
    if not 0 < np.count_nonzero(truth) < truth.size:
        message = "expected rows of both classes"
        raise ValueError(message)
    order = np.lexsort((truth, -others, -scores))
    truth, scores, others = truth[order], scores[order], others[order]
    counters = []
    for ranking in (scores, others):
        by_rank = np.lexsort((truth, -ranking))
        group = np.empty(truth.size, dtype=np.int32)
        group[by_rank] = _groups(truth[by_rank], ranking[by_rank])
        counters.append(_counter(truth, group))

    def difference(drawn: NDArray[np.int32] | None) -> float | None:
        one, other = (_auc(count(drawn)) for count in counters)
        return None if one is None or other is None else one - other

    value = difference(None)
    found = [difference(drawn) for drawn in _draws(truth.size, seed, samples)]
    values = np.array([drawn for drawn in found if drawn is not None])
    if value is None or values.size == 0:
        message = "expected rows of both classes in at least one draw"
        raise ValueError(message)
    interval = _percentiles(values)
    return Difference(value=value, low=interval.low, high=interval.high)


def _ranked(truth: NDArray[np.bool_], probability: Floats) -> tuple[NDArray[np.bool_], Floats, NDArray[np.int32]]:
    order = np.lexsort((truth, -probability))
    truth, probability = truth[order], probability[order]
    return truth, probability, _groups(truth, probability)


def _groups(truth: NDArray[np.bool_], ranked: Floats) -> NDArray[np.int32]:
    """The group of each row, the highest score first: rows of equal score, or of neighbouring ones if they are many.

    Neighbouring scores are taken together, up to a 32,768th of the rows, where that changes next to nothing: those of
    negatives only, or any if so many rows are positive.
    """
    is_start = np.concatenate(([True], ranked[1:] != ranked[:-1]))
    starts = np.flatnonzero(is_start)
    if starts.size > 2 * _GROUPS:
        block = starts * _GROUPS // truth.size
        kept = np.concatenate(([True], block[1:] != block[:-1]))
        positives = np.add.reduceat(truth, starts, dtype=np.int64)
        if np.count_nonzero(positives) <= _GROUPS:
            kept |= positives > 0
            kept[1:] |= positives[:-1] > 0
        is_start[starts[~kept]] = False
    return (np.cumsum(is_start) - 1).astype(np.int32)


def _means(truth: NDArray[np.bool_], probability: Floats, group: NDArray[np.int32]) -> _Means:
    def mean(values: Floats, among: NDArray[np.bool_]) -> Floats:
        rows = np.bincount(group[among], minlength=int(group[-1]) + 1)
        return np.bincount(group[among], weights=values[among], minlength=rows.size) / np.maximum(rows, 1)

    eps = np.finfo(np.float64).eps
    clipped = np.clip(probability, eps, 1 - eps)
    return _Means(
        score=mean(probability, np.ones_like(truth)),
        loss_if_positive=mean(-log(clipped), truth),
        loss_if_negative=mean(-log1p(-clipped), ~truth),
        error_if_positive=mean((1 - probability) ** 2, truth),
        error_if_negative=mean(probability**2, ~truth),
    )


def _draws(rows: int, seed: int, samples: int) -> Iterator[NDArray[np.int32]]:
    if samples < 1:
        message = f"expected at least one sample, got {samples}"
        raise ValueError(message)
    random = np.random.Generator(np.random.PCG64(seed))
    for _ in range(samples):
        yield random.integers(0, rows, rows, dtype=np.int32)


def _counter(truth: NDArray[np.bool_], group: NDArray[np.int32]) -> Callable[[NDArray[np.int32] | None], _Sample]:
    # One cell per label and group: a draw of rows becomes counts in one pass.
    groups = int(group.max()) + 1
    cell = group + np.where(truth, 0, groups).astype(np.int32)

    def count(drawn: NDArray[np.int32] | None) -> _Sample:
        counts = np.bincount(cell if drawn is None else cell[drawn], minlength=2 * groups)
        return _Sample(positives=counts[:groups], negatives=counts[groups:])

    return count


def _auc(sample: _Sample) -> float | None:
    positives, negatives = int(sample.positives.sum()), int(sample.negatives.sum())
    if positives == 0 or negatives == 0:
        return None
    return twice_ordered_pairs(sample.positives, sample.negatives) / (2 * positives * negatives)


def _figures(sample: _Sample, means: _Means) -> dict[str, float]:
    rows = sample.positives + sample.negatives
    row_ends, positive_ends = np.cumsum(rows), np.cumsum(sample.positives)
    total, positives = int(row_ends[-1]), int(positive_ends[-1])
    figures = {
        "log_loss": _sum(sample, means.loss_if_positive, means.loss_if_negative) / total,
        "brier": _sum(sample, means.error_if_positive, means.error_if_negative) / total,
        "ece": _ece(rows, row_ends, positive_ends, means.score),
        "base_rate": positives / total,
    }
    auc = _auc(sample)
    if auc is not None:
        figures["auc"] = auc
    if positives:
        precision = positive_ends / np.maximum(row_ends, 1)
        figures["average_precision"] = float(np.cumsum(sample.positives * precision)[-1]) / positives
        figures["lift"] = _first_positives(row_ends, positive_ends, total / 10) * 10 / positives
    return figures


def _ece(rows: Counts, row_ends: Counts, positive_ends: Counts, scores: Floats) -> float:
    """As `engine.propensity.calibration` has it: a bin holds the groups whose middle row falls into it."""
    total = int(row_ends[-1])
    twice_middle = 2 * row_ends - rows
    # From the highest score down, as the bins are cut from the lowest up: a middle on an edge is in the upper bin.
    edges = [2 * total * part // _BINS for part in range(1, _BINS)]
    cuts = [*np.searchsorted(twice_middle, edges, side="right").tolist(), rows.size]
    score_ends = np.cumsum(rows * scores)
    gap, before_positives, before_scores = 0.0, 0.0, 0.0
    for cut in cuts:
        if cut:
            positives, predicted = float(positive_ends[cut - 1]), float(score_ends[cut - 1])
            gap += abs((predicted - before_scores) - (positives - before_positives))
            before_positives, before_scores = positives, predicted
    return gap / total


def _first_positives(row_ends: Counts, positive_ends: Counts, edge: float) -> float:
    """Positives among the first rows; rows of equal score share theirs."""
    group = int(np.searchsorted(row_ends, edge))
    rows_before = int(row_ends[group - 1]) if group else 0
    positives_before = int(positive_ends[group - 1]) if group else 0
    size, hits = int(row_ends[group]) - rows_before, int(positive_ends[group]) - positives_before
    return positives_before + hits * (edge - rows_before) / size


def _sum(sample: _Sample, if_positive: Floats, if_negative: Floats) -> float:
    # From first to last: the order of the sum does not depend on the processor.
    return float(np.cumsum(sample.positives * if_positive + sample.negatives * if_negative)[-1])


def _percentiles(values: Floats) -> Interval:
    low, high = np.quantile(values, _TAILS).tolist()
    return Interval(low=low, high=high)
