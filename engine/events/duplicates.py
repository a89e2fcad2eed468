"""One row per event: repeats of an event are dropped, lines of one order are summed.

In and out: encoded events of one range of users, in memory. The key of an event is (source, event type, user,
`event_id`); rows without an `event_id` are never merged. Which rows are kept does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

_KEY = ("source", "type", "user_key", "user_id", "event_id")
_SUMMED = frozenset({"amount", "quantity", "duration_ms"})


@dataclass(frozen=True)
class Merged:
    """Events with each `event_id` once, and how many rows that took: rows in = events + duplicates + lines."""

    events: pl.DataFrame
    duplicates: int
    lines: int


def merge_repeats(events: pl.DataFrame, line_sources: Collection[int]) -> Merged:
    """Each event once.

    Of duplicates the earliest row is kept (then the smallest type, amount and so on). Lines of one order become one
    row: the earliest time, the sum of amount, quantity and duration, the smallest of every other column.

    Args:
        events: Encoded events; the grain is one source row.
        line_sources: Positions of the sources whose rows are lines of orders.
    """
    if not events.height or events["event_id"].null_count() == events.height:
        return Merged(events, 0, 0)
    # Sorting the ids is the cheapest way to find those that occur twice; the whole key then decides.
    ids = events["event_id"].drop_nulls().sort()
    repeated_ids = ids.filter(ids == ids.shift(1)).unique()
    if repeated_ids.is_empty():
        return Merged(events, 0, 0)
    suspect = events["event_id"].is_in(repeated_ids.implode()).fill_null(value=False)
    repeated = events.filter(suspect).sort(
        *_KEY, "time", *(name for name in events.columns if name not in {*_KEY, "time"})
    )
    is_line = pl.col("source").is_in(list(line_sources))
    duplicate_rows = repeated.filter(~is_line)
    first = duplicate_rows.unique(subset=_KEY, keep="first", maintain_order=True)
    line_rows = repeated.filter(is_line)
    others = [name for name in events.columns if name not in _KEY]
    orders = (
        line_rows.group_by(*_KEY)
        .agg(_sum(name) if name in _SUMMED else pl.col(name).min() for name in others)
        .select(events.columns)
    )
    merged = pl.concat([events.filter(~suspect), first, orders.cast(pl.Schema(events.schema))])
    return Merged(merged, duplicate_rows.height - first.height, line_rows.height - orders.height)


def _sum(name: str) -> pl.Expr:
    # A sum over nothing but nulls is unknown, not zero.
    return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum())
