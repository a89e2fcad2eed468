"""Does BG/NBD describe the customers it was fitted on? Repeat purchases as they were and as the model expects them."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from engine.stable_math import exp, log
from engine.value.bgnbd import DAYS_PER_WEEK, BgNbd
from engine.value.counts import CUSTOMERS, FREQUENCY, T_DAYS
from engine.value.optimum import Floats

TOP: Final = 7
"""Customers with this many repeat purchases or more are one group."""


def actual_counts(histories: pl.DataFrame) -> tuple[int, ...]:
    """Customers with 0, 1, …, 6 and with 7 or more repeat purchases.

    Args:
        histories: As in `Counts`.
    """
    groups = np.minimum(histories[FREQUENCY].to_numpy(), TOP)
    return tuple(int(histories[CUSTOMERS].filter(pl.Series(groups == group)).sum()) for group in range(TOP + 1))


def expected_counts(histories: pl.DataFrame, model: BgNbd) -> Floats:
    """The same as the model expects it of as many customers with the same ages T.

    Args:
        histories: As in `Counts`.
        model: The parameters.
    """
    ages = histories.group_by(T_DAYS).agg(pl.col(CUSTOMERS).sum()).sort(T_DAYS)
    customers = ages[CUSTOMERS].to_numpy().astype(np.float64)
    chances = purchase_chances(model, ages[T_DAYS].to_numpy() / DAYS_PER_WEEK)
    counts = np.cumsum(chances * customers[:, None], axis=0)[-1]
    return np.append(counts, customers.sum() - np.cumsum(counts)[-1])


def purchase_chances(model: BgNbd, weeks: Floats) -> Floats:
    """Probability of 0, 1, …, 6 repeat purchases in the first `weeks` (Fader, Hardie and Lee 2005, equation 8).

    Args:
        model: The parameters.
        weeks: Time since the first purchase, one per row.

    Returns:
        One row per time, one column per number.
    """
    r, alpha, a, b = model.values
    passed = weeks / (alpha + weeks)
    # Negative binomial terms, and the probability B(a, b + x) / B(a, b) of staying after each of x purchases.
    term = exp(r * log(alpha / (alpha + weeks)))
    fewer = np.zeros_like(term)
    stays = 1.0
    columns = [term]
    for x in range(1, TOP):
        fewer = fewer + term
        term = term * ((r + (x - 1)) / x * passed)
        leaves = stays * a / (a + b + (x - 1))
        stays = stays * (b + (x - 1)) / (a + b + (x - 1))
        columns.append(stays * term + leaves * (1.0 - fewer))
    return np.column_stack(columns)
