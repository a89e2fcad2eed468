"""The events of one user behind the values of a rule, with their days, read from the rollup store.

Only the rows of the user's key are read. The store is not brought up to date for it: what it lacks is said, and so is
that it has changed since the tables were published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from engine.errors import TamisError
from engine.events.condition import condition
from engine.events.keys import user_key
from engine.features.catalogue import user_catalogue
from engine.features.feature import Feature
from engine.features.measure import EventRef, Measure
from engine.features.measures import event_code
from engine.features.money import major_units
from engine.features.spec import FeatureSpec
from engine.features.windows import EPOCH, day_number
from engine.rollups.index import Code, Entry, Index, read_index
from engine.rollups.ranges import KeyRange
from engine.rollups.update import store_folder
from engine.rules.rule import Clause

SHOWN_DAYS: Final = 12
"""Days that are listed of one kind of event, the latest ones; all of them are counted."""

_UNREADABLE = (OSError, pl.exceptions.PolarsError)
_WHOLE = frozenset({"first_time", "stopped", "restarted", "held_for", "days_since_event", "days_since_first_event"})


@dataclass(frozen=True)
class Counted:
    """Events of one kind of one user in a window.

    Attributes:
        of: The column, or the clause with the event function, that they stand behind.
        type: The event type; None: events of every type.
        where: Condition over the event; None: all.
        start, end: The window `[start, end)`; start None: the whole history.
        events: Their number.
        days: Day and number, ascending; of more than `SHOWN_DAYS` the latest.
        problem: Why they cannot be told, or not all of them; empty when they can.
        periods: Of `regularly`: periods with such an event, and all periods; None for other functions.
    """

    of: str
    type: str | None
    where: str | None
    start: date | None
    end: date
    events: int
    days: tuple[tuple[date, int], ...]
    problem: str = ""
    periods: tuple[int, int] | None = None


@dataclass(frozen=True)
class UserLog:
    """The rows of one user in the store; opened by `open_log`.

    Attributes:
        store: Folder of the store.
        index: What is in it.
        key: The user's.
        spec: What derived event types are.
    """

    store: Path
    index: Index
    key: int
    spec: FeatureSpec

    @cached_property
    def daily(self) -> pl.DataFrame:
        """`type` (code), `day`, `events` of all partials of the user."""
        return self._rows([file.path for entry in self.index.entries for file in entry.daily], ("events",))

    def single(self, columns: Sequence[str]) -> pl.DataFrame:
        """`type` (code), `day`, `n` and columns of all single events of the user."""
        files = [file.path for entry in self.index.entries if entry.events for file in entry.events]
        return self._rows(files, ("n", *columns))

    def _rows(self, files: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
        wanted = ["type", "day", *columns]
        if not files:
            return pl.DataFrame(schema=dict.fromkeys(wanted, pl.Int64))
        paths = [self.store / file for file in files]
        scan = pl.scan_parquet(
            paths, glob=False, hive_partitioning=False, extra_columns="ignore", missing_columns="insert"
        )
        own = scan.filter(KeyRange(self.key, self.key + 1).contains())
        return own.select(wanted).collect()


def open_log(out: Path, user: str | int, spec: FeatureSpec) -> UserLog | str:
    """The store's rows of one user, or why there are none to be had.

    Args:
        out: The output root.
        user: The id in the type of the published one.
        spec: The features that were published.
    """
    store = store_folder(out)
    try:
        index = read_index(store)
        if not index.entries:
            return f"there is no rollup store under {out}"
        files = [store / file.path for file in index.users]
        ids = pl.Series("user_id", [user], pl.String if isinstance(user, str) else pl.Int64).to_frame()
        key = int(ids.select(user_key(pl.col("user_id"), tuple(index.rekeyed.items())).alias("key"))["key"].item())
        own = KeyRange(key, key + 1).contains() & (pl.col("user_id") == user)
        known = pl.scan_parquet(files, glob=False, hive_partitioning=False).filter(own) if files else None
        there = known is not None and not known.select("user_key").collect().is_empty()
    except (*_UNREADABLE, TamisError) as error:
        return f"the rollup store cannot be read ({type(error).__name__}): `tamis rollup verify` tells more"
    return UserLog(store, index, key, spec) if there else "the rollup store does not know the user"


def counted_of(
    clause: Clause, row: Mapping[str, object], log: UserLog | str, as_of: date, spec: FeatureSpec
) -> tuple[Counted, ...]:
    """The events behind the measures and the event columns of one clause.

    Args:
        clause: Of its columns those count that are made of the user's events.
        row: The published values of the user.
        log: Of the user.
        as_of: First day that is not used.
        spec: The features that were published.
    """
    known: Mapping[str, Feature] = {feature.name: feature for feature in user_catalogue(spec)}
    asked: list[tuple[str, EventRef | None, tuple[date | None, date], object, tuple[int, int] | None]] = []
    for measure in clause.measures:
        expected = row.get(measure.name) if measure.function == "event_count" else None
        periods = (measure.periods, measure.period_days) if measure.function == "regularly" else None
        asked += [(clause.text, event, _window(measure, as_of), expected, periods) for event in measure.events]
    for name in sorted(clause.columns & known.keys()):
        feature = known[name]
        window = _feature_window(feature, as_of)
        expected = row.get(name) if _is_count(feature, spec) else None
        refs = [None if kind is None else EventRef(kind) for kind in feature.types or (None,)]
        asked += [(name, event, window, expected, None) for event in refs]
    found: dict[tuple[EventRef | None, date | None, date, tuple[int, int] | None], Counted] = {}
    for name, event, (start, end), expected, periods in asked:
        counted = _count(name, event, start, end, log, periods)
        if expected is not None and not counted.problem and expected != counted.events:
            counted = replace(counted, problem=f"the table has {expected}: the log has changed since")
        found.setdefault((event, start, end, periods), counted)
    return tuple(found.values())


def _is_count(feature: Feature, spec: FeatureSpec) -> bool:
    """Whether a column is the number of the events of one type in its window."""
    window = "total" if feature.window_days is None else f"{feature.window_days}d"
    return len(feature.types) == 1 and feature.name == f"{spec.slug(feature.types[0])}_count_{window}"


def _window(measure: Measure, as_of: date) -> tuple[date | None, date]:
    """What a measure looks at; the whole history where a first or last event decides."""
    end = as_of - timedelta(days=measure.until)
    if measure.function in _WHOLE:
        return None, end
    days = measure.periods * measure.period_days if measure.function == "regularly" else measure.days
    return (None if days is None else as_of - timedelta(days=days)), end


def _feature_window(feature: Feature, as_of: date) -> tuple[date | None, date]:
    window = feature.window_days
    if window is None:
        return None, as_of
    if "_year_ago_" in feature.name:
        return None, as_of
    # The window before is what such a column is compared with.
    longer = "_previous_" in feature.name or "_trend_" in feature.name
    return as_of - timedelta(days=2 * window if longer else window), as_of


def _count(
    of: str,
    event: EventRef | None,
    start: date | None,
    end: date,
    log: UserLog | str,
    periods: tuple[int, int] | None,
) -> Counted:
    kind, where = (None, None) if event is None else (event.type, event.where)
    if isinstance(log, str):
        return Counted(of, kind, where, start, end, 0, (), log)
    try:
        rows, problem = _every(log) if event is None else _rows_of(log, event)
    except (*_UNREADABLE, TamisError) as error:
        problem = f"the rollup store cannot be read ({type(error).__name__}): `tamis rollup verify` tells more"
        return Counted(of, kind, where, start, end, 0, (), problem)
    inside = pl.col("day") < day_number(end)
    if start is not None:
        inside &= pl.col("day") >= day_number(start)
    days = rows.filter(inside).group_by("day").agg(pl.col("events").sum()).filter(pl.col("events") > 0).sort("day")
    shown = tuple((EPOCH + timedelta(days=day), events) for day, events in days.tail(SHOWN_DAYS).iter_rows())
    met = None
    if periods is not None:
        number, length = periods
        # The last period ends at `end`; days are counted back from the last one of it.
        met = (((day_number(end) - 1 - days["day"]) // length).n_unique(), number)
    return Counted(of, kind, where, start, end, int(days["events"].sum()), shown, problem, met)


def _every(log: UserLog) -> tuple[pl.DataFrame, str]:
    codes = [log.index.codes.index(code) for code in map(_plain, log.spec.type_names) if code in log.index.codes]
    return log.daily.filter(pl.col("type").is_in(codes)).select("day", "events"), ""


def _plain(name: str) -> Code:
    return Code(name)


def _rows_of(log: UserLog, event: EventRef) -> tuple[pl.DataFrame, str]:
    """`day`, `events` of a kind of event, and what keeps them from being all."""
    code = event_code(event.type, event.where, log.spec)
    parent, where = code.event_type, code.where
    with_type = [entry for entry in log.index.entries if any(count.event_type == parent for count in entry.counts)]
    if code in log.index.codes:
        number = log.index.codes.index(code)
        lacking = [entry for entry in with_type if number not in entry.coded]
        rows = log.daily.filter(pl.col("type") == number).select("day", "events")
        return rows, _lacking(lacking, "counts of this kind")
    if where is None:
        nothing = pl.DataFrame(schema={"day": pl.Int32, "events": pl.Int64})
        return nothing, _lacking(with_type, "counts of this kind")
    return _single(log, parent, where, with_type)


def _single(log: UserLog, parent: str, where: str, with_type: Sequence[Entry]) -> tuple[pl.DataFrame, str]:
    expression, columns = condition(where, "the condition")
    plain = Code(parent)
    number = log.index.codes.index(plain) if plain in log.index.codes else -1
    lacking = [
        entry for entry in with_type if parent not in entry.event_types or not set(columns) <= {*entry.event_columns}
    ]
    nothing = pl.DataFrame(schema={"day": pl.Int32, "events": pl.Int64})
    if len(lacking) == len(with_type):
        return nothing, _lacking(lacking, "single events of this kind with these properties")
    rows = log.single(columns).filter(pl.col("type") == number)
    if "amount" in columns:
        rows = rows.with_columns(major_units(pl.col("amount"), log.spec.currency_digits))
    return rows.filter(expression).select("day", events="n"), _lacking(lacking, "single events of this kind")


def _lacking(entries: Sequence[Entry], what: str) -> str:
    if not entries:
        return ""
    return f"the store has no {what} for {len(entries)} of its units, such as {entries[0].label!r}"
