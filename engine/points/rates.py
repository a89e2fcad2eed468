"""Two rates side by side, and how far they could be off by chance.

- a rate: the score interval of Wilson (1927)
- the difference of two rates: the hybrid score interval of Newcombe (1998, method 10)
- their ratio: the logarithmic interval of Katz et al. (1978); half a case is added to both groups when one has none

All are 95 % intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from engine.propensity.intervals import Difference, Interval
from engine.stable_math import exp, log

Z: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Lift:
    """The ratio of two rates; None where the second is 0."""

    value: float | None
    low: float
    high: float


def wilson(cases: int, users: int) -> Interval:
    """The interval of a rate.

    Raises:
        ValueError: No users.
    """
    if users < 1:
        message = "expected users"
        raise ValueError(message)
    rate, square = cases / users, Z * Z
    middle = (rate + square / (2 * users)) / (1 + square / users)
    half = Z * math.sqrt(rate * (1 - rate) / users + square / (4 * users * users)) / (1 + square / users)
    return Interval(max(0.0, middle - half) if cases else 0.0, min(1.0, middle + half) if cases < users else 1.0)


def difference(cases: int, users: int, other_cases: int, others: int) -> Difference:
    """The first rate less the second.

    Raises:
        ValueError: One group has no users.
    """
    one, two = wilson(cases, users), wilson(other_cases, others)
    rate, other = cases / users, other_cases / others
    below = math.sqrt((rate - one.low) ** 2 + (two.high - other) ** 2)
    above = math.sqrt((one.high - rate) ** 2 + (other - two.low) ** 2)
    return Difference(rate - other, rate - other - below, rate - other + above)


def lift(cases: int, users: int, other_cases: int, others: int) -> Lift:
    """The first rate ÷ the second.

    Raises:
        ValueError: One group has no users.
    """
    if users < 1 or others < 1:
        message = "expected users in both groups"
        raise ValueError(message)
    value = (cases / users) / (other_cases / others) if other_cases else None
    added = 0.0 if cases and other_cases else 0.5
    a, n, b, m = cases + added, users + added, other_cases + added, others + added
    middle = float(log((a / n) / (b / m)))
    half = Z * math.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    return Lift(value, float(exp(middle - half)), float(exp(middle + half)))
