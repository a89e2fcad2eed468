"""From a quantity to points: the forms of a rule, in whole hundredths of a point."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.config import PointRule
from engine.stable_math import Floats, log1p

Hundredths = NDArray[np.int64]

HUNDREDTHS: Final = 100
MOST_POINTS: Final = 10.0**11
"""Points that a rule gives or takes at most, so that the hundredths of hundreds of rules are exact in a float."""
_MOST: Final = 10.0**15
# A product of decimals may end a few last bits below the half that it is on paper.
_SLACK: Final = 1.0 + 2.0**-50


def points_of(quantity: Floats, rule: PointRule) -> Hundredths:
    """The points of a rule, rounded to hundredths, halves away from zero.

    - `each`: points × quantity; `once`: all points where the quantity is above 0
    - `linear`: points × quantity ÷ full_at, and `log`: points × log₂(1 + quantity ÷ full_at), both from 0 to all points
    - `steps`: the points of the highest step that the quantity reaches, 0 below all of them

    With a cap neither more than it is given nor more than it taken away.

    Args:
        quantity: Events, a value, or 1 and 0 for a condition; NaN where there is none, which gives no points.
        rule: Points, form and cap.
    """
    known = ~np.isnan(quantity)
    points = _raw(np.clip(np.where(known, quantity, 0.0), -_MOST, _MOST), rule)
    most = MOST_POINTS if rule.cap is None else min(rule.cap, MOST_POINTS)
    limited = np.clip(np.where(known, points, 0.0), -most, most)
    return to_hundredths(limited)


def to_hundredths(points: Floats) -> Hundredths:
    """Whole hundredths, halves away from zero; more points than any card can have count as so many."""
    size = np.floor(np.minimum(np.abs(points), _MOST) * (HUNDREDTHS * _SLACK) + 0.5)
    return (np.sign(points) * size).astype(np.int64)


def to_points(hundredths: Hundredths) -> Floats:
    """Points as people read them: the nearest float to each two decimals."""
    return hundredths / float(HUNDREDTHS)


def _raw(quantity: Floats, rule: PointRule) -> Floats:
    if rule.form == "each":
        return quantity * rule.points
    if rule.form == "once":
        return np.where(quantity > 0, rule.points, 0.0)
    if rule.form == "steps":
        reached = np.searchsorted([low for low, _ in rule.steps], quantity, side="right")
        return np.array([0.0, *(points for _, points in rule.steps)])[reached]
    full = rule.full_at or 1.0
    share = np.clip(quantity, 0.0, full) / full
    if rule.form == "linear":
        return share * rule.points
    return np.minimum(log1p(share) / log1p(1.0), 1.0) * rule.points
