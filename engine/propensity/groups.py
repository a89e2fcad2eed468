"""Labelled scores, checked, and grouped by equal score: what every measure of a ranking is counted from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class ScoreGroups:
    """One entry per distinct score, the highest first: the score, its rows, and how many of them are positive."""

    scores: NDArray[np.float64]
    rows: NDArray[np.int64]
    positives: NDArray[np.int64]


def labelled_scores(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Labels as booleans and scores as floats, one of each per row.

    Raises:
        ValueError: No rows, different lengths, labels other than 0 and 1, or scores outside `[0, 1]`.
    """
    truth = np.asarray(labels)
    probability = np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != probability.shape or truth.size == 0:
        message = f"expected one label and one score per row, got shapes {truth.shape} and {probability.shape}"
        raise ValueError(message)
    if not np.isin(truth, (0, 1)).all():
        message = "expected labels 0 and 1 only"
        raise ValueError(message)
    if not ((probability >= 0) & (probability <= 1)).all():
        message = "expected scores between 0 and 1"
        raise ValueError(message)
    return truth.astype(bool), probability


def group_by_score(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> ScoreGroups:
    """The groups of at least one row; their scores are not NaN. The order of the rows does not count."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    ends = np.append(starts[1:], ordered.size)
    cumulative = np.concatenate(([0], np.cumsum(truth[order], dtype=np.int64)))
    return ScoreGroups(
        scores=ordered[starts],
        rows=(ends - starts).astype(np.int64),
        positives=cumulative[ends] - cumulative[starts],
    )


def twice_ordered_pairs(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> int:
    """Twice the number of pairs in which a positive scores above a negative, a tie counting one half.

    This is twice the Mann-Whitney statistic of the groups, the highest score first: a whole number, which fits 64 bits
    up to 3 billion rows.
    """
    negatives_below = int(negatives.sum()) - np.cumsum(negatives)
    return int(np.sum(positives * (2 * negatives_below + negatives)))
