"""One row of features per user at a day: the only place where they are computed, for training and for scoring.

In: daily partials of one bucket. Out: a frame with the columns of the catalogue. Sums are exact Int64; the divisions at
the end are the first floating-point operations.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from engine.features.bands import NEVER, Bands, BandTotals, Totals
from engine.features.catalogue import RATES, core_catalogue
from engine.features.rfm import rfm_of
from engine.features.spec import FeatureSpec
from engine.features.windows import Ints, merge_windows

MONETARY_MINOR: Final = "rfm_monetary_minor"
"""Spend in minor units, beside the catalogue's columns: edges are learnt from it, exactly."""


def build_features(daily: pl.DataFrame, users: int, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """Features of every user with an event before `as_of_day`.

    Args:
        daily: `user`, `type`, `day`, `events`, `amount_minor`; a user, type and day may have several rows, in
            any order.
        users: Number of users of the bucket.
        as_of_day: Days since 1970-01-01; days before it count, windows are `[as_of_day − w, as_of_day)`.
        spec: The feature specification.

    Returns:
        `user` (UInt32, ascending), the core columns of the catalogue in its order and, with a purchase type,
        `rfm_monetary_minor`.
    """
    is_past = daily["day"] < as_of_day
    before = daily if is_past.all() else daily.filter(is_past)
    bands = bands_of(as_of_day, users, spec)
    return features_of(BandTotals(before, bands, len(spec.types)), bands, spec)


def bands_of(as_of_day: int, users: int, spec: FeatureSpec) -> Bands:
    """The windows that the core features need."""
    return Bands(as_of_day, merge_windows(spec.windows, spec.engagement_days), users)


def features_of(log: Totals, bands: Bands, spec: FeatureSpec) -> pl.DataFrame:
    """As `build_features`, from totals per user, type and window."""
    as_of_day, windows, users = bands.as_of_day, bands.windows, bands.users
    columns: dict[str, Ints | pl.Series] = {"user": np.arange(users)}
    first, last = log.first_days(), log.last_days().max(axis=0, initial=-NEVER)
    columns["tenure_days"] = as_of_day - first
    columns["days_since_last_event"] = as_of_day - last
    columns.update(_per_window(bands, log.active_days(), "active_days", spec))
    points = np.zeros(users, dtype=np.int64)
    counts: dict[str, Ints] = {}
    minor = 10**spec.currency_digits
    for code, event_type in enumerate(spec.types):
        totals = counts[event_type.name] = log.events(code)
        points += spec.weights[code] * totals[:, windows.index(spec.engagement_days)]
        columns.update(_per_window(bands, totals, f"{event_type.slug}_count", spec))
        columns[f"{event_type.slug}_count_total"] = totals[:, -1]
        if event_type.priced:
            amounts = log.amounts(code)
            money = {**_per_window(bands, amounts, f"{event_type.slug}_amount", spec)}
            money[f"{event_type.slug}_amount_total"] = amounts[:, -1]
            columns.update({name: pl.Series(values / minor) for name, values in money.items()})
        seen = totals[:, -1] > 0
        since = pl.Series(as_of_day - log.last_days()[code])
        columns[f"days_since_{event_type.slug}"] = since.set(pl.Series(~seen), None)
    columns["engagement_points"] = points
    for name, above, below, _ in RATES:
        over, under = getattr(spec, above), getattr(spec, below)
        if over is not None and under is not None:
            columns.update(_rates(bands, counts[over], counts[under], name, spec))
    frame = pl.DataFrame(columns).with_columns(pl.col("user").cast(pl.UInt32))
    purchase = spec.code(spec.purchase)
    if purchase is not None:
        frame = frame.join(_rfm(log, purchase, as_of_day, spec), on="user", how="left", maintain_order="left")
    wanted = [
        "user",
        *(feature.name for feature in core_catalogue(spec)),
        *([] if purchase is None else [MONETARY_MINOR]),
    ]
    return frame.filter(pl.Series(first < NEVER)).select(wanted)


def _rfm(log: Totals, code: int, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    buying = log.buying_days(code)
    sums = pl.DataFrame(
        {
            "user": np.arange(buying.days.size, dtype=np.uint32),
            "orders": log.events(code)[:, -1],
            "days": buying.days,
            "first": buying.first,
            "last": log.last_days()[code],
            "spent": log.amounts(code)[:, -1],
            "spent_first_day": buying.first_amount,
        }
    )
    return rfm_of(sums.lazy().filter(pl.col("days") > 0), as_of_day, spec).collect()


def _per_window(bands: Bands, totals: Ints, prefix: str, spec: FeatureSpec) -> dict[str, Ints]:
    return {f"{prefix}_{window}d": totals[:, bands.windows.index(window)] for window in spec.windows}


def _rates(bands: Bands, over: Ints, under: Ints, prefix: str, spec: FeatureSpec) -> dict[str, pl.Series]:
    rates = {}
    for window in spec.windows:
        position = bands.windows.index(window)
        below = pl.Series(under[:, position])
        rates[f"{prefix}_{window}d"] = (pl.Series(over[:, position]) / below).set(below == 0, None)
    return rates
