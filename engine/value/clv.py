"""Discounting: what purchases of later days count now."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.stable_math import exp, log1p
from engine.value.bgnbd import Integers
from engine.value.optimum import Floats

MONTH_DAYS: Final = 30
"""Length of a period; the last one of a horizon may be shorter."""
YEAR_DAYS: Final = 365


def period_ends(horizon_days: int) -> Integers:
    """The last days of the periods that the horizon is cut into: 30, 60, …, and the horizon itself."""
    return np.array([*range(MONTH_DAYS, horizon_days, MONTH_DAYS), horizon_days], dtype=np.int64)


def discounted(expected: Floats, ends: Integers, yearly_rate: float) -> Floats:
    """Expected purchases, those of a period divided by (1 + rate) ^ (its last day / 365).

    That is the sum of lifetimes' `_customer_lifetime_value` (months of 30 days, discounted at their ends) with the rate
    of a year in place of that of a month. With a rate of 0 it is the last column of `expected`.

    Args:
        expected: Purchases expected up to the end of each period: one row per customer, one column per period.
        ends: As `period_ends` gives them.
        yearly_rate: 0.1 for ten percent a year.
    """
    factors = exp(-float(log1p(yearly_rate)) * (ends / YEAR_DAYS))
    # Summed by parts: what is expected up to an end counts by how much the factor falls there.
    falls = factors - np.append(factors[1:], 0.0)
    return np.asarray(np.cumsum(expected * falls, axis=1)[:, -1])
