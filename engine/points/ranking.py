"""How well points put users in order, and what one rule adds: areas under the ROC curve with DeLong's intervals.

The area (AUC) is the probability that a user for whom the outcome came has more points than one for whom it did not; a
tie counts one half. Variances are those of DeLong, DeLong & Clarke-Pearson (1988): they are exact sums over the users,
nothing is drawn. What a rule adds is the area of all rules less that of all others, on the same users.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.points.rates import Z
from engine.propensity.intervals import Difference
from engine.stable_math import Floats

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

LABEL = "label"
TOTAL = "total"


@dataclass(frozen=True)
class RankTask:
    """The points of one card, to be measured.

    Attributes:
        files: One row per user: Boolean `label`, Int64 `total` (hundredths, as published), and hundredths per rule.
        rules: Columns of the rules.
    """

    files: tuple[str, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True)
class CardRanking:
    """The areas of one card; None where the users are all alike in the outcome.

    Attributes:
        rows: Users who were measured.
        total: Area of the published points.
        rules: Area of each rule's points.
        gains: What each rule adds to the area of the others.
    """

    rows: int
    total: Difference | None
    rules: tuple[Difference | None, ...]
    gains: tuple[Difference | None, ...]


@dataclass(frozen=True)
class _Placed:
    """The area, and for each user with (without) the outcome the share of those without (with) it who have less (more).

    Attributes:
        area: The AUC.
        came, not_came: The shares.
    """

    area: float
    came: Floats
    not_came: Floats


def rank_card(task: RankTask) -> CardRanking:
    """The areas of one card; neither the order of the files nor that of their rows counts."""
    frame = pl.scan_parquet(list(task.files), glob=False, hive_partitioning=False).collect()
    labels = frame[LABEL].to_numpy()
    points = [frame[name].to_numpy() for name in task.rules]
    together = np.zeros(labels.size, dtype=np.int64)
    for column in points:
        together += column
    return CardRanking(
        rows=labels.size,
        total=area(labels, frame[TOTAL].to_numpy()),
        rules=tuple(area(labels, column) for column in points),
        gains=tuple(gain(labels, together, together - column) for column in points),
    )


def area(labels: Flags, points: Ints) -> Difference | None:
    """The AUC with its interval, cut at 0 and 1; None without users of both kinds."""
    placed = _placed(labels, points)
    if placed is None:
        return None
    half = Z * math.sqrt(_variance(placed.came, placed.area) + _variance(placed.not_came, placed.area))
    return Difference(placed.area, max(0.0, placed.area - half), min(1.0, placed.area + half))


def gain(labels: Flags, points: Ints, others: Ints) -> Difference | None:
    """AUC of `points` less AUC of `others` on the same users; None without users of both kinds."""
    one, two = _placed(labels, points), _placed(labels, others)
    if one is None or two is None:
        return None
    value = one.area - two.area
    variance = _variance(one.came - two.came, value) + _variance(one.not_came - two.not_came, value)
    half = Z * math.sqrt(variance)
    return Difference(value, value - half, value + half)


def _placed(labels: Flags, points: Ints) -> _Placed | None:
    came = int(np.count_nonzero(labels))
    not_came = labels.size - came
    if not came or not not_came:
        return None
    values, place = np.unique(points, return_inverse=True)
    with_outcome = np.bincount(place[labels], minlength=values.size)
    without = np.bincount(place[~labels], minlength=values.size)
    # Twice the number, so that halves are whole.
    less = 2 * (np.cumsum(without) - without) + without
    more = 2 * (came - np.cumsum(with_outcome)) + with_outcome
    ordered = int((with_outcome * less).sum())
    return _Placed(
        area=ordered / (2 * came * not_came),
        came=less[place[labels]] / (2 * not_came),
        not_came=more[place[~labels]] / (2 * came),
    )


def _variance(shares: Floats, mean: float) -> float:
    """The variance of the mean of the shares; 0 of a single one, which says nothing of its spread."""
    if shares.size < 2:
        return 0.0
    # Sorted and from first to last: the sum depends on neither the order of the users nor the processor.
    return float(np.cumsum(np.sort((shares - mean) ** 2))[-1]) / (shares.size - 1) / shares.size
