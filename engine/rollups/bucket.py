"""The users of one range of keys with their partials, read back from the store.

In: files of the store and a range of keys. Out: the bucket's users (sorted by id, numbered from 0) and their rows,
which refer to users by that number and to event types by their position in what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from engine.errors import IntegrityError
from engine.rollups.checkpoint import Forward
from engine.rollups.index import Code
from engine.rollups.packed import MAX_TYPES
from engine.rollups.ranges import Files, KeyRange

_NOT_WANTED: Final = (1 << 16) - 1


@dataclass(frozen=True)
class Shelf:
    """Where the rows of a run lie in the store, and which of them it uses.

    Attributes:
        users: Files of user ids.
        daily: Files of daily partials.
        events: Files of single events; empty when none are wanted.
        event_columns: The canonical columns that single events must have.
        codes: For each event type of the run, its code in the store.
        event_types: Those of `codes` (positions) whose single events are wanted.
        end_day: First day that is not used (days since 1970-01-01).
        forward: How totals are brought forward or kept; None where they are made of all rows and not kept.
        kinds: What each of `codes` stands for.
    """

    users: tuple[str, ...]
    daily: tuple[str, ...]
    events: tuple[str, ...]
    event_columns: tuple[str, ...]
    codes: tuple[int, ...]
    event_types: tuple[int, ...]
    end_day: int
    forward: Forward | None = None
    kinds: tuple[Code, ...] = ()


@dataclass(frozen=True)
class Bucket:
    """Users and rows of one key range.

    Attributes:
        users: `user_key`, `user_id`; one row per user that the store knows, sorted by `user_id`; the position is the
            number.
        daily: `user` (UInt32, position in `users`), `type` (UInt16, position in `Shelf.codes`), `day` (Int32),
            `events`, `amount_minor` (Int64), before `end_day`; a user, type and day can have several rows.
        events: `user`, `type`, `day`, `time`, `n` and the event columns; None when none are wanted.
    """

    users: pl.DataFrame
    daily: pl.DataFrame
    events: pl.DataFrame | None


def shelves(shelf: Shelf, buckets: Sequence[KeyRange]) -> list[Shelf]:
    """The shelf of each bucket: what a task is told grows with what it opens, and not with the store."""
    users, daily, events = Files(shelf.users), Files(shelf.daily), Files(shelf.events)
    forward = shelf.forward
    old, new = (Files(()), Files(())) if forward is None else (Files(forward.old), Files(forward.new))
    return [
        replace(
            shelf,
            users=users.within(keys),
            daily=daily.within(keys),
            events=events.within(keys),
            forward=None
            if forward is None
            else replace(
                forward,
                files=(forward.files[number],) if forward.files else (),
                old=old.within(keys),
                new=new.within(keys),
            ),
        )
        for number, keys in enumerate(buckets)
    ]


def load_bucket(shelf: Shelf, keys: KeyRange) -> Bucket:
    """Read the users of one key range.

    Raises:
        IntegrityError: Two user ids have one key (`key-collision`), or a key has no user id.
    """
    users = _users(shelf, keys)
    by_key = users.with_row_index("user").sort("user_key")
    daily = _rows(shelf, shelf.daily, keys, by_key, range(len(shelf.codes)), ("events", "amount_minor"))
    events = None
    if shelf.events:
        columns = ("time", "n", *shelf.event_columns)
        events = _rows(shelf, shelf.events, keys, by_key, shelf.event_types, columns)
    return Bucket(users, daily, events)


@dataclass(frozen=True)
class Changes:
    """What became of one key range since its totals were kept.

    Attributes:
        users: As in `Bucket`.
        totals: The table of totals, as `engine.features.standing` writes it.
        was: Rows of the changed days, as in `Bucket`, as they were counted in the totals.
        now: The same as they are now.
    """

    users: pl.DataFrame
    totals: pl.DataFrame
    was: pl.DataFrame
    now: pl.DataFrame


def load_changes(shelf: Shelf, forward: Forward, keys: KeyRange, number: int) -> Changes:
    """Read the totals of one key range and what has changed since.

    Args:
        shelf: Where the rows are.
        forward: The totals to use; they have a day.
        keys: The users.
        number: Number of the bucket.

    Raises:
        IntegrityError: As `load_bucket`.
    """
    users = _users(shelf, keys)
    by_key = users.with_row_index("user").sort("user_key")
    columns, types = ("events", "amount_minor"), range(len(forward.terms.codes))
    days = pl.Series(forward.days, dtype=pl.Int32).implode()
    old, new = (
        _rows(shelf, files, keys, by_key, types, columns, days) if files else None
        for files in (forward.old, forward.new)
    )
    totals = pl.read_parquet(forward.of_bucket(number), glob=False, hive_partitioning=False)
    rows = [frame for frame in (old, new) if frame is not None]
    nothing = _no_rows(columns)
    was = nothing if old is None else old.filter(pl.col("day") < forward.then)
    return Changes(users, totals, was, pl.concat(rows) if rows else nothing)


def _no_rows(columns: tuple[str, ...]) -> pl.DataFrame:
    numbers = dict.fromkeys(columns, pl.Int64)
    return pl.DataFrame(schema={"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, **numbers})


def _users(shelf: Shelf, keys: KeyRange) -> pl.DataFrame:
    scan = pl.scan_parquet(list(Files(shelf.users).within(keys)), glob=False, hive_partitioning=False)
    users = scan.filter(keys.contains()).select("user_key", "user_id").collect().sort("user_key")
    if (users["user_key"] == users["user_key"].shift(1)).any():
        users = users.unique()
    users = users.sort("user_id")
    if not users["user_key"].is_unique().all():
        raise IntegrityError(
            "two user ids have the same key",
            code="key-collision",
            hint="The run gives one of them another key by itself; this is told only when it cannot.",
        )
    return users


def colliding_ids(files: tuple[str, ...], keys: KeyRange) -> list[str]:
    """Of the user ids in a range that share a key with another one, all but the smallest of each key, as text."""
    scan = pl.scan_parquet(list(files), glob=False, hive_partitioning=False).filter(keys.contains())
    users = scan.select("user_key", pl.col("user_id").cast(pl.String)).unique().collect()
    shared = users.filter(pl.col("user_key").is_duplicated()).sort("user_key", "user_id")
    return shared.filter(pl.col("user_key") == pl.col("user_key").shift(1))["user_id"].to_list()


def _rows(
    shelf: Shelf,
    files: tuple[str, ...],
    keys: KeyRange,
    by_key: pl.DataFrame,
    positions: range | tuple[int, ...],
    columns: tuple[str, ...],
    days: pl.Series | None = None,
) -> pl.DataFrame:
    table = [_NOT_WANTED] * MAX_TYPES
    for position in positions:
        table[shelf.codes[position]] = position
    there = list(Files(files).within(keys))
    scan = pl.scan_parquet(there, glob=False, hive_partitioning=False, extra_columns="ignore")
    rows = scan.filter(keys.contains()).select("user_key", "type", "day", *columns).collect(engine="in-memory")
    if days is not None:
        rows = rows.filter(pl.col("day").is_in(days))
    types = pl.Series("type", table, pl.UInt16).gather(rows["type"])
    # Mostly every row is wanted, and looking first is cheaper than filtering while reading.
    wanted = (rows["day"] < shelf.end_day) & (types != _NOT_WANTED)
    if not wanted.all():
        rows, types = rows.filter(wanted), types.filter(wanted)
    if not rows.height:
        return rows.select(pl.lit(0, pl.UInt32).alias("user"), types, "day", *columns).clear()
    # Rows come sorted by key, file by file, so a binary search walks along; a hash join takes seven times longer.
    places = by_key["user_key"].search_sorted(rows["user_key"]).clip(upper_bound=max(by_key.height, 1) - 1)
    if not by_key.height or (by_key["user_key"].gather(places) != rows["user_key"]).any():
        raise IntegrityError(
            "the store has rows of a user whose id it does not know",
            code="rollup-users",
            hint="Run `tamis rollup rebuild`.",
        )
    return rows.select(by_key["user"].gather(places).alias("user"), types, "day", *columns)
