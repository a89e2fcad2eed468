"""The events of one range of user keys, read back from the parts and made one row per event.

In: paths of part files and a range of keys. Out: the bucket's users (sorted by id, numbered from 0) and its events,
which refer to users by that number.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from engine.events.duplicates import merge_repeats

KEYS = 1 << 64


@dataclass(frozen=True)
class KeyRange:
    """User keys in `[start, end)`."""

    start: int
    end: int

    def contains(self, column: str = "user_key") -> pl.Expr:
        """Whether a UInt64 column lies in the range."""
        key = pl.col(column)
        last = pl.lit(self.end - 1, pl.UInt64)
        return (key >= pl.lit(self.start, pl.UInt64)) & (key <= last)


def key_ranges(buckets: int) -> list[KeyRange]:
    """`buckets` equal ranges that cover all 64-bit keys."""
    edges = [KEYS * index // buckets for index in range(buckets + 1)]
    return [KeyRange(start, end) for start, end in pairwise(edges)]


@dataclass(frozen=True)
class Bucket:
    """Users and events of one key range.

    Attributes:
        users: `user_key`, `user_id`; one row per user with a kept event, sorted by `user_id`; the position is the
            number.
        events: `user` (UInt32, position in `users`), `type` (UInt16), `day` (Int32), `time` (µs), `amount` (minor
            units), extras; one row per event before `as_of`.
        duplicates: Rows dropped because their event was there already.
        lines: Rows summed into another row of their order.
        after_as_of: Orders whose first line is at or after `as_of`.
    """

    users: pl.DataFrame
    events: pl.DataFrame
    duplicates: int
    lines: int
    after_as_of: int


def load_bucket(parts: Sequence[str], keys: KeyRange, line_sources: Collection[int], as_of_us: int) -> Bucket:
    """Read, de-duplicate and number the users of one key range.

    Args:
        parts: Part files as `engine.events.ingest` writes them.
        keys: The users to read.
        line_sources: Positions of the sources whose rows are lines of orders.
        as_of_us: Events before this instant (µs since 1970 UTC) are kept.
    """
    rows = pl.scan_parquet(list(parts), glob=False, hive_partitioning=False).filter(keys.contains()).collect()
    merged = merge_repeats(rows, line_sources)
    events = merged.events.filter(pl.col("time") < as_of_us)
    users = number_users(events)
    columns = [name for name in events.columns if name not in {"user_key", "user_id", "source", "event_id"}]
    numbered = events.select(_numbers(events, users), *columns)
    return Bucket(users, numbered, merged.duplicates, merged.lines, merged.events.height - events.height)


def _numbers(events: pl.DataFrame, users: pl.DataFrame) -> pl.Series:
    """Position in `users` of each event's user."""
    by_key = users.with_row_index("user").sort("user_key")
    if by_key["user_key"].is_unique().all():
        # Events come sorted by key, part by part, so a binary search walks along; a hash join takes seven times longer.
        return by_key["user"].gather(by_key["user_key"].search_sorted(events["user_key"]))
    # Two ids share a key: only the pair tells them apart.
    pairs = by_key.select("user", "user_key", "user_id")
    return events.join(pairs, on=["user_key", "user_id"], how="left", maintain_order="left")["user"]


def number_users(events: pl.DataFrame) -> pl.DataFrame:
    """The distinct users of `events`, sorted by id: `user_key`, `user_id`."""
    ends = events.lazy().group_by("user_key").agg(low=pl.col("user_id").min(), high=pl.col("user_id").max()).collect()
    shared = ends.filter(pl.col("low") != pl.col("high"))
    if shared.height:
        pairs = events.select("user_key", "user_id").unique()
    else:
        pairs = ends.select("user_key", user_id="low")
    return pairs.sort("user_id")
