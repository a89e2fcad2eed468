"""Daily partials: what every feature is computed from.

Grain: user × event type × day. Only integers: the number of events, the sum of their amounts in minor units, the number
of events that had an amount. Partials add up, so a window is the sum of its days.
"""

from __future__ import annotations

import polars as pl

from engine.rollups.packed import pack_day, unpack_day, unpack_type, unpack_user


def daily_partials(events: pl.LazyFrame) -> pl.LazyFrame:
    """Partials of a bucket's events.

    Args:
        events: `user`, `type`, `day`, `amount`; one row per event.

    Returns:
        `user`, `type`, `day`, `events`, `amount_minor`, `priced` (Int64); unordered.
    """
    grouped = (
        events.select(key=pack_day(), amount="amount")
        .group_by("key")
        .agg(events=pl.len().cast(pl.Int64), amount_minor=pl.col("amount").sum(), priced=pl.col("amount").count())
    )
    return grouped.select(
        unpack_user("key"),
        unpack_type("key"),
        unpack_day("key"),
        "events",
        "amount_minor",
        pl.col("priced").cast(pl.Int64),
    )
