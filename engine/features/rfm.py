"""Recency, frequency and monetary value in both conventions, under names that cannot be confused.

Segmentation RFM looks back from the reference date: recency is as_of − last purchase, every purchase counts.
BTYD (Fader, Hardie and Lee 2005; the summary of lifetimes and BTYD) merges a customer's day by summing it first; the
first purchase day does not count: frequency x is the number of repeat days, recency t_x is last − first day, and T runs
from the first day to the end of the observation period, which is the last complete day, as_of − 1.
"""

from __future__ import annotations

import polars as pl

from engine.features.money import major_units
from engine.features.spec import FeatureSpec


def rfm_features(daily: pl.LazyFrame, as_of_day: int, spec: FeatureSpec) -> pl.LazyFrame | None:
    """RFM per user with a purchase before `as_of_day`; None without a purchase type.

    Args:
        daily: Partials before `as_of_day`: `user`, `type`, `day`, `events`, `amount_minor`; a user, type and day may
            have several rows.
        as_of_day: Days since 1970-01-01.
        spec: The feature specification.

    Returns:
        `user`, the `rfm_` and `btyd_` columns of the catalogue, and `rfm_monetary_minor` (Int64).
    """
    code = spec.code(spec.purchase)
    if code is None:
        return None
    first_day, last_day = pl.col("day").min(), pl.col("day").max()
    sums = (
        daily.filter(pl.col("type") == code)
        .group_by("user", "day")
        .agg(pl.col("events").sum(), pl.col("amount_minor").sum())
        .group_by("user")
        .agg(
            orders=pl.col("events").sum(),
            days=pl.len().cast(pl.Int64),
            first=first_day.cast(pl.Int64),
            last=last_day.cast(pl.Int64),
            spent=pl.col("amount_minor").sum(),
            spent_first_day=pl.col("amount_minor").filter(pl.col("day") == first_day).sum(),
        )
    )
    return rfm_of(sums, as_of_day, spec)


def rfm_of(sums: pl.LazyFrame, as_of_day: int, spec: FeatureSpec) -> pl.LazyFrame:
    """The columns of `rfm_features` from the sums of each buyer.

    Args:
        sums: `user`, and over the purchases before `as_of_day`: `orders`, `days` (different ones), `first` and `last`
            day, `spent`, `spent_first_day` (Int64); one row per user with a purchase.
        as_of_day: Days since 1970-01-01.
        spec: The feature specification.
    """
    minor = 10**spec.currency_digits
    repeats = pl.col("days") - 1
    repeat_spend = (pl.col("spent") - pl.col("spent_first_day")) / (repeats * minor)
    return sums.select(
        "user",
        rfm_recency_days=as_of_day - pl.col("last"),
        rfm_frequency=pl.col("days" if spec.frequency_unit == "days" else "orders"),
        rfm_monetary=major_units(pl.col("spent"), spec.currency_digits),
        rfm_mean_order=pl.col("spent") / (pl.col("orders") * minor),
        btyd_frequency=repeats,
        btyd_recency_days=pl.col("last") - pl.col("first"),
        btyd_t_days=as_of_day - 1 - pl.col("first"),
        btyd_mean_repeat_spend=pl.when(repeats > 0).then(repeat_spend).otherwise(0.0),
        rfm_monetary_minor=pl.col("spent"),
    )
