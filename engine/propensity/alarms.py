"""Signs that a model's figures cannot be trusted: leaks, constant scores, identifiers that do not match, shifted rates.

An alarm is a sentence for the report. It does not stop a fit: some are right about data that are as they should be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.propensity.groups import group_by_score, labelled_scores, twice_ordered_pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Counts = NDArray[np.int64]

# Each class is thinned to so many rows: AUC does not depend on the classes' shares, and .98 is told from .97 by fewer.
_ROWS_PER_CLASS: Final = 50_000
_MIN_USERS: Final = 100
_MIN_SHARED: Final = 0.01
_SHIFT: Final = 1.5
_MISS: Final = 2.0
# A difference of rates counts from three standard errors on: rows of one user are not independent.
_STANDARD_ERRORS: Final = 3.0
_LEAK: Final = "alone tells the label"


def feature_alarms(
    frame_matrix: NDArray[np.float64],
    labels: ArrayLike,
    features: Sequence[str],
    leak_auc: float,
    *,
    categorical: Sequence[str] = (),
) -> tuple[str, ...]:
    """One alarm per feature that alone tells the label, in the order of the features.

    The AUC of each feature is exact, a tie counting one half, in the direction that tells more. Missing values are a
    group of their own, below or above all others, whichever tells more: a value that exists only where the event
    happened is a leak too. Categories are ordered by their positive rate in the other half of the rows, so that many
    rare ones tell nothing by chance. Above 50,000 rows of a class, rows at equal distances are taken.

    Args:
        frame_matrix: Training rows by features, in a stable order; NaN is missing.
        labels: One per row, false or true (0 or 1).
        features: Name of each column.
        leak_auc: AUC from which a feature is suspect, such as 0.98.
        categorical: Those of `features` whose values are codes without an order.

    Raises:
        ValueError: Not one label per row, no rows, not one name per column, or labels other than 0 and 1.
    """
    truth, _ = labelled_scores(labels, np.zeros(len(frame_matrix)))
    if frame_matrix.ndim != 2 or frame_matrix.shape[1] != len(features):
        message = f"expected one column per feature ({len(features)}), got the shape {frame_matrix.shape}"
        raise ValueError(message)
    rows = np.sort(np.concatenate([_thinned(np.flatnonzero(truth)), _thinned(np.flatnonzero(~truth))]))
    truth = truth[rows]
    if truth.all() or not truth.any():
        return ()
    alarms = []
    for position, name in enumerate(features):
        values = np.asarray(frame_matrix[rows, position], dtype=np.float64)
        auc = _category_auc(values, truth) if name in categorical else _ordered_auc(values, truth)
        if auc >= leak_auc:
            alarms.append(
                f"feature {name!r} {_LEAK}: AUC {auc:.3f} (alarm from {leak_auc:g} on); check that it is "
                "known before the label's window begins, or leave it out"
            )
    return tuple(alarms)


def is_leak(alarm: str) -> bool:
    """Whether an alarm is one of `feature_alarms`."""
    return _LEAK in alarm


def empty_features(frame_matrix: NDArray[np.float64], features: Sequence[str]) -> tuple[str, ...]:
    """Names of the features without any value in these rows. A note rather than an alarm: the log may be too young."""
    return tuple(name for name, column in zip(features, frame_matrix.T, strict=True) if np.isnan(column).all())


def score_alarm(scores: NDArray[np.float64]) -> str | None:
    """An alarm if every row gets one score: nothing was learnt. Scores that are NaN do not count."""
    known = scores[~np.isnan(scores)]
    if known.size < 2 or (known != known[0]).any():
        return None
    return (
        f"all {known.size} rows get the score {float(known[0]):.4g}: the model has learnt nothing that tells users "
        "apart; check the features, the label's event and that users of both are matched by their id"
    )


def identifier_alarm(
    target_name: str, users_with_event: int, of_them_with_other_events: int, users_with_other_events: int
) -> str | None:
    """An alarm if users with the target's event hardly ever have another event, though others do.

    Two sources that name the same people in two ways look like this: the event belongs to users of whom nothing else is
    known, so no feature can tell who will have it.

    Args:
        users_with_event: Users with the target's event at any time of the log.
        of_them_with_other_events: Those of them who have an event of another type too.
        users_with_other_events: Users with an event of another type, with or without the target's.
    """
    if users_with_event < _MIN_USERS or users_with_other_events < _MIN_USERS:
        return None
    if of_them_with_other_events >= _MIN_SHARED * users_with_event:
        return None
    return (
        f"target {target_name!r}: of {users_with_event} users with its event only {of_them_with_other_events} have any "
        f"other event, while {users_with_other_events} users have others; check that both are named by the same kind "
        "of identifier"
    )


def shift_alarm(
    target_name: str, train_positives: int, train_rows: int, test_positives: int, test_rows: int
) -> str | None:
    """An alarm if the rate of the test rows is 1.5 times that of the rows learned from, or the inverse.

    The difference must also be three standard errors at least.

    Args:
        train_positives: Positive rows among the training and validation rows.
        train_rows: All of these.
        test_positives: Positive rows among the later test rows.
        test_rows: All of these.
    """
    if train_rows <= 0 or test_rows <= 0:
        return None
    before, after = train_positives / train_rows, test_positives / test_rows
    pooled = (train_positives + test_positives) / (train_rows + test_rows)
    error = math.sqrt(pooled * (1 - pooled) * (1 / train_rows + 1 / test_rows))
    if not _apart(before, after, _SHIFT) or abs(after - before) < _STANDARD_ERRORS * error:
        return None
    return (
        f"target {target_name!r}: the base rate has shifted: {_percent(train_positives, train_rows)} in the rows "
        f"learned from, {_percent(test_positives, test_rows)} in the later test rows; probabilities may be off by as "
        "much"
    )


def rate_alarm(target_name: str, predicted: float, positives: int, rows: int) -> str | None:
    """An alarm if the predicted and the realised rate differ by a factor of 2, and by three standard errors.

    Args:
        predicted: Mean probability of the rows.
        positives: Rows in which the event happened.
        rows: All rows.
    """
    if rows <= 0:
        return None
    realised = positives / rows
    error = math.sqrt(max(predicted * (1 - predicted), 0.0) / rows)
    if not _apart(predicted, realised, _MISS) or abs(realised - predicted) < _STANDARD_ERRORS * error:
        return None
    return (
        f"target {target_name!r}: {100 * predicted:.3g} % was predicted on average, {_percent(positives, rows)} "
        "happened; the probabilities do not hold, fit again"
    )


def _apart(one: float, other: float, factor: float) -> bool:
    low, high = sorted((one, other))
    return high > low and high >= factor * low


def _percent(positives: int, rows: int) -> str:
    return f"{100 * positives / rows:.3g} % ({positives} of {rows})"


def _thinned(positions: NDArray[Any]) -> NDArray[Any]:
    if positions.size <= _ROWS_PER_CLASS:
        return positions
    return positions[np.arange(_ROWS_PER_CLASS) * positions.size // _ROWS_PER_CLASS]


def _ordered_auc(values: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    missing = np.isnan(values)
    if missing.all():
        return 0.5
    groups = group_by_score(truth[~missing], values[~missing])
    positives, negatives = groups.positives, groups.rows - groups.positives
    missing_positives = np.array([np.count_nonzero(truth & missing)], dtype=np.int64)
    missing_negatives = np.array([np.count_nonzero(missing)], dtype=np.int64) - missing_positives
    below = _auc(np.append(positives, missing_positives), np.append(negatives, missing_negatives))
    above = _auc(np.append(missing_positives, positives), np.append(missing_negatives, negatives))
    return max(below, 1 - below, above, 1 - above)


def _category_auc(values: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    codes = np.unique(values, return_inverse=True)[1]
    half = np.arange(truth.size) % 2 == 0
    found = [_auc_by_rate(codes, truth, learned) for learned in (half, ~half)]
    return sum(found) / len(found)


def _auc_by_rate(codes: NDArray[Any], truth: NDArray[np.bool_], learned: NDArray[np.bool_]) -> float:
    size = int(codes.max()) + 1
    rows = np.bincount(codes[learned], minlength=size)
    positives = np.bincount(codes[learned & truth], minlength=size)
    # One row at the base rate beside those of the category; a category that this half lacks has the base rate.
    rates = (positives + np.count_nonzero(learned & truth) / np.count_nonzero(learned)) / (rows + 1)
    groups = group_by_score(truth[~learned], rates[codes[~learned]])
    return _auc(groups.positives, groups.rows - groups.positives)


def _auc(positives: Counts, negatives: Counts) -> float:
    pairs = int(positives.sum()) * int(negatives.sum())
    return twice_ordered_pairs(positives, negatives) / (2 * pairs) if pairs else 0.5
