"""Daily partials of a bucket: what most features are computed from.

Grain: user × event type × day, and within it one row per unit of the log that has such events. Only integers: the
number of events and the sum of their amounts in minor units. Partials add up, so a window is the sum of its days.
"""

from __future__ import annotations

import polars as pl

from engine.rollups.packed import pack_day, unpack_day, unpack_type, unpack_user


def merge_daily(daily: pl.DataFrame) -> pl.DataFrame:
    """Partials with one row per user, type and day.

    Args:
        daily: `user`, `type`, `day`, `events`, `amount_minor`.

    Returns:
        The same columns, unordered.
    """
    grouped = (
        daily.lazy()
        .select("events", "amount_minor", key=pack_day())
        .group_by("key")
        .agg(pl.col("events").sum(), pl.col("amount_minor").sum())
    )
    return grouped.select(unpack_user("key"), unpack_type("key"), unpack_day("key"), "events", "amount_minor").collect()
