"""What the value models are fitted on: how many customers share the same history, in whole numbers.

Both likelihoods depend on a customer through a few integers alone, so customers who share them are one row with a
weight. Counts of parts of the customers add up to those of all of them, whatever the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.features.money import minor_units

FREQUENCY: Final = "frequency"
RECENCY_DAYS: Final = "recency_days"
T_DAYS: Final = "t_days"
SPEND_MINOR: Final = "spend_minor"
CUSTOMERS: Final = "customers"
BTYD_COLUMNS: Final = ("btyd_frequency", "btyd_recency_days", "btyd_t_days", "btyd_mean_repeat_spend")
"""The features that customer value reads; null for users without a purchase."""

# Polars groups and sorts one integer several times as fast as three; x ≤ t_x ≤ T < 2²¹ days, which are 5,700 years.
_BITS = 21
_HISTORY = "history"
_SPEND = (FREQUENCY, SPEND_MINOR)
# Rows of parts that wait before they are added up.
_PENDING_ROWS = 4_000_000


@dataclass(frozen=True)
class Counts:
    """Customers by what the two models see of them.

    Attributes:
        histories: `frequency`, `recency_days`, `t_days` (BTYD), `customers`; Int64, sorted, one row per triple.
        spend: `frequency`, `spend_minor` (the sum over the repeat purchases), `customers`; Int64, sorted, one row per
            pair; customers with a repeat purchase only.
    """

    histories: pl.DataFrame
    spend: pl.DataFrame


def count_customers(features: pl.LazyFrame, currency_digits: int) -> Counts:
    """The counts of some customers.

    Args:
        features: One row per user with `BTYD_COLUMNS`; users without a purchase (null) are left out.
        currency_digits: Decimals of the minor unit.
    """
    customers = features.filter(pl.col("btyd_frequency").is_not_null()).select(
        pl.col("btyd_frequency").cast(pl.Int64).alias(FREQUENCY),
        pl.col("btyd_recency_days").cast(pl.Int64).alias(RECENCY_DAYS),
        pl.col("btyd_t_days").cast(pl.Int64).alias(T_DAYS),
        repeat_spend_minor(currency_digits).alias(SPEND_MINOR),
    )
    frame = customers.collect()
    number = pl.len().cast(pl.Int64).alias(CUSTOMERS)
    return Counts(
        _unpacked(frame.select(_packed()).group_by(_HISTORY).agg(number)),
        frame.filter(pl.col(FREQUENCY) > 0).group_by(_SPEND).agg(number).sort(_SPEND),
    )


def merge(parts: Sequence[Counts]) -> Counts:
    """The counts of all customers of the parts; at least one part."""
    histories = pl.concat([part.histories for part in parts]).select(_packed(), CUSTOMERS)
    spend = pl.concat([part.spend for part in parts])
    total = pl.col(CUSTOMERS).sum()
    return Counts(_unpacked(histories.group_by(_HISTORY).agg(total)), spend.group_by(_SPEND).agg(total).sort(_SPEND))


def count_files(files: Iterable[str], currency_digits: int) -> Counts:
    """The counts of the customers in Parquet files, one after the other: memory is that of the distinct rows.

    Args:
        files: At least one; each with `BTYD_COLUMNS`, and a user in one of them only.
        currency_digits: Decimals of the minor unit.
    """
    parts: list[Counts] = []
    for file in files:
        scan = pl.scan_parquet(file, glob=False, hive_partitioning=False).select(BTYD_COLUMNS)
        parts.append(count_customers(scan, currency_digits))
        if sum(part.histories.height + part.spend.height for part in parts[1:]) > _PENDING_ROWS:
            parts = [merge(parts)]
    return merge(parts)


def repeat_spend_minor(currency_digits: int) -> pl.Expr:
    """What a customer spent on the repeat purchases, in minor units (Int64): the sum that the mean was made from.

    The mean is one division away from the sum and errs by 2⁻⁵³ of it, so the product is less than half a minor unit
    off below 2⁵⁰ minor units, and rounding gives back the integer.
    """
    return minor_units(pl.col("btyd_mean_repeat_spend") * pl.col("btyd_frequency"), currency_digits)


def _packed() -> pl.Expr:
    day = pl.lit(2**_BITS, pl.Int64)
    return ((pl.col(FREQUENCY) * day + pl.col(RECENCY_DAYS)) * day + pl.col(T_DAYS)).alias(_HISTORY)


def _unpacked(counts: pl.DataFrame) -> pl.DataFrame:
    packed, day = pl.col(_HISTORY), 2**_BITS
    return counts.sort(_HISTORY).select(
        (packed // day**2).alias(FREQUENCY),
        (packed // day % day).alias(RECENCY_DAYS),
        (packed % day).alias(T_DAYS),
        CUSTOMERS,
    )
