"""Measures that ask what followed what, from single events.

Times are instants: which of two events at one instant came first is not known, and nothing here depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from engine.events.condition import condition
from engine.events.schema import FILTERABLE
from engine.features.measure import Measure
from engine.features.money import major_units
from engine.features.tally import Mask, ints, latest, starts
from engine.features.windows import Ints
from engine.rollups.index import Code

_DAY_US: Final = 86_400_000_000
_SUMMED: Final = ("amount", "quantity", "duration_ms")


@dataclass(frozen=True, eq=False)
class Timeline:
    """The events of a bucket, by user and time.

    Attributes:
        users: Number of users; they are numbered from 0.
        as_of_day: First day that does not count (days since 1970-01-01).
        types: The number of each event type in the rows.
        events: `type` and the columns that conditions read, amounts in major units.
        user, day, time: One entry per event; time in µs since 1970 UTC.
        begin: For each event, the position of the first one of its user and instant.
        end: For each event, the position behind the last one of its user and instant.
    """

    users: int
    as_of_day: int
    types: Mapping[str, int]
    events: pl.DataFrame
    user: Ints
    day: Ints
    time: Ints
    begin: Ints
    end: Ints

    def are(self, code: Code) -> Mask:
        """Which of the events are of one kind."""
        of_type = pl.col("type") == self.types[code.event_type]
        expression = of_type if code.where is None else of_type & condition(code.where, "where")[0]
        return self.events.select(expression.alias("_"))["_"].to_numpy()

    def inside(self, measure: Measure) -> Mask:
        """Which of the events lie in the window of a measure."""
        mask = self.day < self.as_of_day - measure.until
        return mask if measure.days is None else mask & (self.day >= self.as_of_day - measure.days)


def in_order(
    events: pl.DataFrame | None,
    users: int,
    as_of_day: int,
    types: Mapping[str, int],
    columns: Sequence[str],
    digits: int,
) -> Timeline:
    """The events of some types, lines of one order put together.

    Args:
        events: Rows of a bucket: `user`, `type`, `day`, `time`, `n` and at least `columns`; None for no rows.
        users: Number of users.
        as_of_day: First day that does not count.
        types: The number of each event type in the rows.
        columns: What conditions read, and perhaps `order`.
        digits: Decimals of the minor unit.
    """
    names = ("user", "type", "day", "time", "n", *columns)
    if events is None:
        events = pl.DataFrame(schema={name: FILTERABLE.get(name, pl.Int64()) for name in names})
    chosen = (pl.col("day") < as_of_day) & pl.col("type").is_in(sorted(types.values()))
    rows = _orders(events.select(names).filter(chosen), columns).filter(pl.col("n") > 0).sort("user", "time")
    user, time = ints(rows["user"]), ints(rows["time"])
    first = starts(user, time)
    instant = np.cumsum(first) - 1
    edges = np.append(np.flatnonzero(first), len(user)).astype(np.int64)
    read = rows.select("type", *columns)
    if "amount" in columns:
        read = read.with_columns(amount=major_units(pl.col("amount"), digits))
    return Timeline(users, as_of_day, types, read, user, ints(rows["day"]), time, edges[instant], edges[instant + 1])


def _orders(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Rows with the lines of an order as one row, as they are counted by day; it needs the column `order`."""
    if "order" not in columns or (rows["n"] > 0).all():
        return rows
    key = ["user", "type", "time", "order"]
    several = rows.filter(pl.col("n") == 0).select(key)
    lines = rows.join(several, on=key, how="semi")
    others = [name for name in rows.columns if name not in {*key, "n"}]
    merged = lines.group_by(key).agg(
        pl.col("n").sum(), *(_sum(name) if name in _SUMMED else pl.col(name).min() for name in others)
    )
    return pl.concat([rows.join(several, on=key, how="anti"), merged.select(rows.columns).cast(rows.schema)])


def _sum(name: str) -> pl.Expr:
    # A sum over nothing but nulls is unknown, not zero.
    return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum())


def event_column(measure: Measure, line: Timeline, kinds: Sequence[Code]) -> pl.Series:
    """A measure of every user of the bucket.

    Args:
        measure: A measure of `NEEDS_TIMES`.
        line: The events.
        kinds: Its first and its second kind of events.
    """
    first, second = kinds
    if measure.function == "held_for":
        return pl.Series(_held(line, line.are(first), line.are(second), measure.days or 0))
    is_second = line.are(second)
    rows = np.flatnonzero(line.are(first) & line.inside(measure))
    same = _at_once(line, rows, is_second) if first != second else np.zeros(len(rows), dtype=np.bool_)
    after = _next(line, rows, is_second)
    if measure.function == "followed_by":
        return pl.Series(_any(line, rows[same | (after <= measure.within * _DAY_US)]))
    last = latest(line.user[rows], line.begin[rows], line.users)
    is_last = line.begin[rows] == last[line.user[rows]]
    return pl.Series(_any(line, rows) & ~_any(line, rows[is_last & (same | (after < _LATER))]))


_LATER: Final = np.iinfo(np.int64).max


def _at_once(line: Timeline, rows: Ints, is_second: Mask) -> Mask:
    """Whether another event at the instant of a row is of the second kind."""
    running = np.append(0, np.cumsum(is_second))
    others = running[line.end[rows]] - running[line.begin[rows]] - is_second[rows]
    found: Mask = others > 0
    return found


def _next(line: Timeline, rows: Ints, is_second: Mask) -> Ints:
    """Time from each row to the next event of the second kind at a later instant, in µs; `_LATER` without one."""
    seconds = np.flatnonzero(is_second)
    if not len(seconds):
        return np.full(len(rows), _LATER, dtype=np.int64)
    places = np.searchsorted(seconds, line.end[rows])
    found = seconds[np.minimum(places, len(seconds) - 1)]
    is_there = (places < len(seconds)) & (line.user[found] == line.user[rows])
    return np.where(is_there, line.time[found] - line.time[rows], _LATER)


def _held(line: Timeline, is_first: Mask, is_second: Mask, days: int) -> Mask:
    """Whether the events of the first kind end with a run of instants at which all are of the second kind, too."""
    rows = np.flatnonzero(is_first)
    broken = np.append(0, np.cumsum(is_first & ~is_second))
    is_good = broken[line.end[rows]] == broken[line.begin[rows]]
    user = line.user[rows]
    place = np.arange(len(rows), dtype=np.int64)
    last_bad = latest(user[~is_good], place[~is_good], line.users)
    run = place[place > last_bad[user]]
    begins = run[starts(user[run])]
    return _any(line, rows[begins[line.day[rows[begins]] <= line.as_of_day - days]])


def _any(line: Timeline, rows: Ints) -> Mask:
    """Which users have one of the rows."""
    found = np.zeros(line.users, dtype=np.bool_)
    found[line.user[rows]] = True
    return found
