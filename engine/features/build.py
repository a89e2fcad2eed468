"""One row of features per user at a day: the only place where they are computed, for training and for scoring.

In: daily partials of one bucket. Out: a frame with the columns of the catalogue. Sums are exact Int64; the divisions at
the end are the first floating-point operations.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from engine.features.catalogue import RATES, catalogue
from engine.features.rfm import rfm_features
from engine.features.spec import FeatureSpec
from engine.features.windows import Bands, Ints, merge_windows
from engine.rollups.packed import (
    pack_band,
    pack_user_band,
    pack_user_day,
    unpack_band,
    unpack_day,
    unpack_type,
    unpack_user,
)

MONETARY_MINOR: Final = "rfm_monetary_minor"
"""Spend in minor units, beside the catalogue's columns: edges are learnt from it, exactly."""


def build_features(daily: pl.DataFrame, users: int, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """Features of every user with an event before `as_of_day`.

    Args:
        daily: `user`, `type`, `day`, `events`, `amount_minor`, `priced`; grain user × type × day, in any order.
        users: Number of users of the bucket.
        as_of_day: Days since 1970-01-01; days before it count, windows are `[as_of_day − w, as_of_day)`.
        spec: The feature specification.

    Returns:
        `user` (UInt32, ascending), the columns of the catalogue in its order and, with a purchase type,
        `rfm_monetary_minor`.
    """
    windows = merge_windows(spec.windows, spec.engagement_days)
    bands = Bands(as_of_day, windows, users)
    before = daily.lazy().filter(pl.col("day") < as_of_day).with_columns(band=bands.band())
    by_type_query = (
        before.select("events", "amount_minor", "day", key=pack_band())
        .group_by("key")
        .agg(pl.col("events").sum(), pl.col("amount_minor").sum(), last=pl.col("day").max())
        .with_columns(unpack_user("key"), unpack_type("key"), unpack_band("key"))
    )
    active_days = before.select(key=pack_user_day()).unique().select(unpack_user("key"), unpack_day("key"))
    active_query = (
        active_days.with_columns(band=bands.band())
        .select("day", key=pack_user_band())
        .group_by("key")
        .agg(days=pl.len().cast(pl.Int64), first=pl.col("day").min(), last=pl.col("day").max())
        .with_columns(unpack_user("key"), unpack_band("key"))
    )
    rfm_query = rfm_features(before, as_of_day, spec)
    by_type, active, *rfm = pl.collect_all([by_type_query, active_query, *([] if rfm_query is None else [rfm_query])])

    columns: dict[str, Ints | pl.Series] = {"user": np.arange(users)}
    first, last = _extreme(active, "first", users, lowest=True), _extreme(active, "last", users, lowest=False)
    columns["tenure_days"] = as_of_day - first
    columns["days_since_last_event"] = as_of_day - last
    columns.update(_per_window(bands, bands.totals(active, "days"), "active_days", spec))
    points = np.zeros(users, dtype=np.int64)
    counts: dict[str, Ints] = {}
    minor = 10**spec.currency_digits
    for code, event_type in enumerate(spec.types):
        rows = by_type.filter(pl.col("type") == code)
        totals = counts[event_type.name] = bands.totals(rows, "events")
        points += spec.weights[code] * totals[:, windows.index(spec.engagement_days)]
        columns.update(_per_window(bands, totals, f"{event_type.slug}_count", spec))
        columns[f"{event_type.slug}_count_total"] = totals[:, -1]
        if event_type.priced:
            amounts = bands.totals(rows, "amount_minor")
            money = {**_per_window(bands, amounts, f"{event_type.slug}_amount", spec)}
            money[f"{event_type.slug}_amount_total"] = amounts[:, -1]
            columns.update({name: pl.Series(values / minor) for name, values in money.items()})
        seen = totals[:, -1] > 0
        since = pl.Series(as_of_day - _extreme(rows, "last", users, lowest=False))
        columns[f"days_since_{event_type.slug}"] = since.set(pl.Series(~seen), None)
    columns["engagement_points"] = points
    for name, above, below, _ in RATES:
        over, under = getattr(spec, above), getattr(spec, below)
        if over is not None and under is not None:
            columns.update(_rates(bands, counts[over], counts[under], name, spec))
    frame = pl.DataFrame(columns).with_columns(pl.col("user").cast(pl.UInt32))
    if rfm:
        frame = frame.join(rfm[0], on="user", how="left", maintain_order="left")
    wanted = ["user", *(feature.name for feature in catalogue(spec)), *([MONETARY_MINOR] if rfm else [])]
    return frame.filter(pl.Series(np.isin(np.arange(users), active["user"].to_numpy()))).select(wanted).sort("user")


def _per_window(bands: Bands, totals: Ints, prefix: str, spec: FeatureSpec) -> dict[str, Ints]:
    return {f"{prefix}_{window}d": totals[:, bands.windows.index(window)] for window in spec.windows}


def _rates(bands: Bands, over: Ints, under: Ints, prefix: str, spec: FeatureSpec) -> dict[str, pl.Series]:
    rates = {}
    for window in spec.windows:
        position = bands.windows.index(window)
        below = pl.Series(under[:, position])
        rates[f"{prefix}_{window}d"] = (pl.Series(over[:, position]) / below).set(below == 0, None)
    return rates


def _extreme(grouped: pl.DataFrame, value: str, users: int, *, lowest: bool) -> Ints:
    """The smallest or largest `value` per user over its bands; meaningless for users without rows."""
    result = np.full(users, np.iinfo(np.int64).max if lowest else np.iinfo(np.int64).min // 2, dtype=np.int64)
    if lowest:
        result //= 2
    reduce = np.minimum if lowest else np.maximum
    reduce.at(result, grouped["user"].to_numpy(), grouped[value].cast(pl.Int64).to_numpy())
    return result
