from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.config import Config, Exclude, Identity
from engine.events.identities import final_links
from engine.events.record import IngestRecord
from engine.rollups import checkpoint
from engine.rollups.bucket import Shelf, load_bucket
from engine.rollups.index import Code
from engine.rollups.ranges import key_ranges
from engine.rollups.update import Updated, Wanted, store_folder
from engine.stages.features import load_features
from engine.stages.forward import forward_shelf, keep_totals
from engine.stages.preparation import Prepared
from engine.tables import disk
from tests.rollups.stores import (
    ZERO,
    at,
    bring,
    config_of,
    features,
    label,
    partials,
    put,
    shelf_of,
    singles,
    source_of,
    spec_for,
    totals,
)

DAYS = 6
FAR = 2**20 + 5
CONDITION = "amount >= 2 AND category = 'x'"
EXCLUDED = "out"
BUY, OPEN, DEAR = Code("buy"), Code("open"), Code("buy", CONDITION)
WANTS = (
    Wanted((BUY,)),
    Wanted((OPEN, BUY)),
    Wanted((BUY, OPEN, DEAR)),
    Wanted((BUY, OPEN), ("buy",), ("amount", "order")),
    Wanted((OPEN, BUY, DEAR), ("buy", "open"), ("category",)),
)


class Row(NamedTuple):
    user: str | None
    type: str | None
    time: datetime | None
    id: str | None = None
    amount: float | None = None
    category: str | None = None


@dataclass(frozen=True)
class Log:
    """A log and what is wanted of it, as it is after some steps; `day` is that of the run, counted from `ZERO`."""

    files: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    wanted: Wanted = WANTS[0]
    day: int = DAYS - 1

    @property
    def as_of(self) -> date:
        return at(self.day).date()


Step = Callable[[Log], Log]


@dataclass(frozen=True)
class History:
    steps: Sequence[Step]
    same_id: str
    has_ids: bool
    dedup_days: int
    linked: bool
    start: int


# ----------------------------------------------------------------------------------------------------------- histories


def rows_on(day: int) -> st.SearchStrategy[Row]:
    own = st.builds(at, st.just(day), st.sampled_from([0, 0, 1, 1439]))
    stray = st.builds(at, st.integers(-1, DAYS) | st.sampled_from([-400, 400, FAR]))
    good = st.builds(
        Row,
        st.sampled_from(["u", "v", "w", EXCLUDED]),
        st.sampled_from(["buy", "buy", "open", "rare"]),
        st.one_of(own, own, own, stray),
        st.sampled_from([None, "", "1", "2", "2"]),
        st.sampled_from([None, 0.0, 1.0, 2.5, 7.0]),
        st.sampled_from([None, "x", "y"]),
    )
    bad = st.builds(
        Row, st.sampled_from([None, "", "u"]), st.sampled_from([None, "", "buy"]), st.none() | own, *[st.none()] * 3
    )
    return st.one_of(good, good, good, good, bad)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, Sequence[Row]]:
    day = draw(st.integers(0, DAYS - 1))
    name = draw(st.sampled_from([f"{label(day)}/a", f"{label(day)}/a", f"{label(day)}/b", "all", "more"]))
    return name, draw(st.lists(rows_on(day), max_size=5))


def write(written: Sequence[tuple[str, Sequence[Row]]]) -> Step:
    return lambda log: replace(log, files={**log.files, **dict(written)})


def delete(number: int) -> Step:
    def without(log: Log) -> Log:
        names = sorted(log.files)
        gone = names[number % len(names)] if names else ""
        return replace(log, files={name: rows for name, rows in log.files.items() if name != gone})

    return without


def want(wanted: Wanted) -> Step:
    return lambda log: replace(log, wanted=wanted)


def link(links: Mapping[str, str]) -> Step:
    return lambda log: replace(log, links=links)


def run_as_of(days: int) -> Step:
    return lambda log: replace(log, day=log.day + days)


def next_day(rows: Sequence[Row]) -> Step:
    """The rows of a day, given as those of day 0, come; and the run is made for the day after."""

    def run(log: Log) -> Log:
        moved = [row._replace(time=row.time and row.time + timedelta(log.day)) for row in rows]
        return replace(log, files={**log.files, f"{label(log.day)}/a": moved}, day=log.day + 1)

    return run


next_days = st.builds(next_day, st.lists(rows_on(0), max_size=4))
steps = st.one_of(
    next_days,
    next_days,
    st.builds(write, st.lists(files(), min_size=1, max_size=2)),
    st.builds(delete, st.integers(0, 9)),
    st.builds(run_as_of, st.sampled_from([1, 1, 2, 7, 30, -1])),
    st.builds(want, st.sampled_from(WANTS)),
    st.builds(link, st.dictionaries(st.sampled_from("uw"), st.sampled_from(["u", "v", EXCLUDED]), max_size=2)),
)
histories = st.builds(
    History,
    st.tuples(st.builds(write, st.lists(files(), min_size=2, max_size=5)), st.lists(steps, min_size=1, max_size=4)).map(
        lambda drawn: [drawn[0], *drawn[1]]
    ),
    st.sampled_from(["duplicate", "lines"]),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([0, 1, 2, 2, 400]),
    st.booleans(),
    st.sampled_from([DAYS - 1, DAYS - 1, 2, FAR + 1]),
)


# -------------------------------------------------------------------------------------------------------------- oracle

Events = list[tuple[Row, int]]


def looked_back(label_: str, labels: Sequence[str], days: int) -> list[str]:
    if not label_ or not days:
        return []
    today = date.fromisoformat(label_)
    return [name for name in labels if not name or 0 < (today - date.fromisoformat(name)).days <= days]


def good(rows: Sequence[Row], links: Mapping[str, str]) -> list[Row]:
    found = []
    for row in rows:
        if row.user and row.type and row.time and row.user != EXCLUDED:
            user = row.user
            while links.get(user, user) != user:
                user = links[user]
            if user != EXCLUDED:
                found.append(row._replace(user=user, id=row.id or None))
    return found


def smallest(values: Sequence[object]) -> object:
    """Null comes before any value."""
    return None if None in values else min(values)  # type: ignore[type-var]


def first_of(group: Sequence[Row]) -> Row:
    time = min(moment(row) for row in group)
    ties = [row for row in group if row.time == time]
    return ties[0]._replace(
        amount=smallest([row.amount for row in ties]), category=smallest([row.category for row in ties])
    )


def moment(row: Row) -> datetime:
    assert row.time is not None
    return row.time


def order_of(group: Sequence[Row], before: Sequence[Row]) -> tuple[Events, Events]:
    began = min(moment(row) for row in (*group, *before))
    lines = sorted(
        (row._replace(time=began) for row in group),
        key=lambda row: [(value is not None, value or 0) for value in (row.amount, row.category)],
    )
    amounts = [row.amount for row in group if row.amount is not None]
    kinds = [row.category for row in group if row.category is not None]
    order = lines[0]._replace(amount=sum(amounts) if amounts else None, category=min(kinds, default=None))
    new = 0 if before else 1
    return [(order, new)], [(row, new if row is lines[0] else 0) for row in lines]


def once(rows: Sequence[Row], before: Sequence[Row], history: History) -> tuple[Events, Events]:
    """The events of a unit, and its single rows; each with the number of events that it counts for."""
    groups: defaultdict[object, list[Row]] = defaultdict(list)
    for number, row in enumerate(rows):
        groups[row[0:2], row.id if history.has_ids and row.id else number].append(row)
    events: Events = []
    lines: Events = []
    for group in groups.values():
        known = [row for row in before if group[0].id and row.id == group[0].id and row[0:2] == group[0][0:2]]
        if history.same_id == "lines" and history.has_ids and group[0].id:
            order, single = order_of(group, known)
        else:
            order = single = [] if known else [(first_of(group), 1)]
        events += order
        lines += single
    return events, lines


def minor(row: Row) -> int | None:
    return None if row.amount is None else round(row.amount * 100)


def counts_as(code: Code, row: Row) -> bool:
    return row.type == code.event_type and (
        code.where is None or (row.amount is not None and row.amount >= 2 and row.category == "x")
    )


def expected(log: Log, history: History) -> tuple[dict[tuple[str, str, int], tuple[int, int]], list[object]]:
    """Partials and single events, every row looked at one after the other."""
    links = log.links if history.linked else {}
    units: defaultdict[str, list[Row]] = defaultdict(list)
    for name, rows in log.files.items():
        units[name.split("/")[0] if "/" in name else ""] += good(rows, links)
    daily: defaultdict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0])
    single: list[object] = []
    for name, rows in units.items():
        back = looked_back(name, list(units), history.dedup_days) if history.has_ids else []
        events, lines = once(rows, [row for other in back for row in units[other]], history)
        for row, number in events:
            for code in log.wanted.codes:
                if moment(row).date() < log.as_of and counts_as(code, row):
                    kind = code.event_type + ("" if code.where is None else f" {code.where}")
                    sums = daily[str(row.user), kind, (moment(row) - ZERO).days]
                    sums[0] += number
                    sums[1] += minor(row) or 0
        for row, number in lines:
            if row.type in log.wanted.event_types and moment(row).date() < log.as_of:
                columns = {"amount": minor(row), "category": row.category}
                known = [columns[one] for one in log.wanted.event_columns if one != "order"]
                single.append((row.user, row.type, row.time, number, *known))
    return {key: (sums[0], sums[1]) for key, sums in daily.items()}, sorted(single, key=repr)


# ------------------------------------------------------------------------------------------------------------ the test


def brought_forward(updated: Updated, out: Path, shelf: Shelf, log: Log) -> pl.DataFrame:
    """The features of all users from the totals of an earlier run, where there are any that can be used."""
    spec = spec_for(log.wanted)
    ranges = tuple(key_ranges(2))
    prepared = Prepared(shelf, updated.index, None, ranges, IngestRecord(), spec.type_names)
    planned = forward_shelf(prepared, spec, out)
    buckets = [load_features(planned, keys, number, spec) for number, keys in enumerate(ranges)]
    keep_totals(prepared, planned, [bucket.standing for bucket in buckets], out)
    tables = [bucket.users.join(bucket.features, on="user", how="inner").drop("user", "user_key") for bucket in buckets]
    return pl.concat(tables).sort("user_id")


class Seen(NamedTuple):
    features: pl.DataFrame
    forward: pl.DataFrame
    daily: dict[tuple[str, str, int], tuple[int, int]]
    events: list[tuple[object, ...]]
    totals: object


def seen(log: Log, history: History, config: Config, out: Path) -> Seen:
    """What the store of an output root tells once it is up to date."""
    store = store_folder(out)
    links = None
    if history.linked:
        pairs = list(log.links.items())
        text = pl.DataFrame(pairs, {"from_id": pl.String, "to_id": pl.String}, orient="row")
        where = [pl.lit(None, pl.Int64).alias("at"), pl.lit(0, pl.UInt32).alias("file"), pl.lit(0).alias("row")]
        links = final_links(text.with_columns(where), ["links"])
    updated = bring(config, store, log.wanted, links=links)
    total = totals(updated, log.wanted, log.as_of)
    outside = total.left_out + total.excluded + sum(total.rejected.values()) + total.after_as_of
    assert sum(total.read.values()) == outside + total.passed == sum(map(len, log.files.values()))
    shelf = shelf_of(updated, store, log.wanted, log.as_of)
    if not (shelf.daily and shelf.users):
        return Seen(pl.DataFrame(), pl.DataFrame(), {}, [], total)
    bucket = load_bucket(shelf, key_ranges(1)[0])
    table = features(bucket, log.wanted, log.as_of)
    forward = brought_forward(updated, out, shelf, log)
    return Seen(
        table if table.height else pl.DataFrame(),
        forward if forward.height else pl.DataFrame(),
        partials(bucket, log.wanted),
        singles(bucket, log.wanted),
        total,
    )


def check(history: History, folder: Path) -> None:
    logs = folder / "log"
    columns = {} if history.has_ids else {"event_id": None}
    source = source_of(logs, columns=columns, same_id=history.same_id if history.has_ids else "duplicate")
    source = source.model_copy(update={"dedup_days": history.dedup_days})
    identity = Identity(path="links", anonymous_id="a", user_id="b") if history.linked else None
    config = config_of(source, exclude=Exclude(user_ids=(EXCLUDED,)), identity=identity)
    tiny = config_of(source, exclude=config.exclude, identity=identity, rows_per_task=2)
    log = Log(day=history.start)
    for number, step in enumerate(history.steps):
        before, log = log, step(log)
        for name in before.files.keys() - log.files.keys():
            (logs / f"{name}.parquet").unlink()
        for name in log.files:
            if log.files[name] is not before.files.get(name):
                put(logs, name, *log.files[name])
        logs.mkdir(exist_ok=True)
        kept = seen(log, history, config, folder / "kept")
        again = [(config, f"new-{number}"), *([(tiny, "tiny")] if step is history.steps[-1] else [])]
        for other, name in again:
            made = seen(log, history, other, folder / name)
            assert_frame_equal(kept.features, made.features, check_exact=True)
            assert_frame_equal(kept.forward, made.features, check_exact=True)
            assert kept[2:] == made[2:]
        daily, single = expected(log, history)
        assert kept.daily == daily
        # The id of an order is a hash: it is compared with the other stores only.
        hashes = {4 + place for place, name in enumerate(log.wanted.event_columns) if name == "order"}
        told = [tuple(value for place, value in enumerate(row) if place not in hashes) for row in kept.events]
        assert sorted(told, key=repr) == single


def check_with_fast_disk(history: History) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(disk, "sync_file", lambda *_: None)
        patch.setattr(disk, "sync_folder", lambda *_: None)
        # Whether it pays or not, totals are brought forward.
        patch.setattr(checkpoint, "_MOST_SHARE", 1.0)
        check(history, Path(folder))


ORDER = Row("u", "buy", at(4), "1", 2.0, "x")
LATE_LINES = [
    write([(f"{label(4)}/a", [ORDER, ORDER._replace(user="v")]), (f"{label(0)}/a", [ORDER._replace(time=at(0))] * 9)]),
    next_day([ORDER._replace(time=at(0))]),
    next_day([]),
]


@settings(max_examples=10)
@example(History(LATE_LINES, "lines", has_ids=True, dedup_days=1, linked=False, start=5))
@given(histories)
def test_a_store_that_is_kept_equals_one_made_from_nothing(history: History) -> None:
    check_with_fast_disk(history)


@pytest.mark.slow
@settings(max_examples=500)
@given(histories)
def test_500_histories(history: History) -> None:
    check_with_fast_disk(history)
