from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Columns, Config, Source, Target
from engine.errors import ConfigError
from engine.features.build import MONETARY_MINOR
from engine.features.measure import NEEDS_TIMES, EventRef, Measure
from engine.features.measures import event_code, measure_columns, measure_wants, needs_rows
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number, midnight_us
from engine.rollups.bucket import Bucket, Shelf
from engine.rollups.checkpoint import Forward
from engine.rollups.index import Code
from engine.rollups.ranges import key_ranges
from engine.rollups.update import Wanted
from engine.stages.features import load_features, target_positions, terms_of, wanted_of
from tests.features.logs import rolled
from tests.features.measure_logs import (
    AMOUNT,
    CATEGORY,
    CONDITIONS,
    DAY_US,
    Happened,
    day_of,
    expected,
    frame_of,
    spec_with,
)

AS_OF = date(2024, 3, 1)
SPEC = spec_with()
BUY, VIEW, DEAR = EventRef("buy"), EventRef("view"), EventRef("dear")
END = midnight_us(AS_OF, "UTC")


def bucket_of(log: Sequence[Happened], wanted: Wanted, seed: int = 7) -> Bucket:
    """What the store gives for these events: partials in portions and in no order, and single events likewise."""
    totals: dict[tuple[int, int, int, int], list[int]] = {}
    for number, event in enumerate(log):
        for code, kind in enumerate(wanted.codes):
            # The condition of a derived type is the code's own text, so that it can be told by looking it up.
            if event.type == kind.event_type and all(
                CONDITIONS[text](event) for text in (kind.where or "").strip("()").split(") AND (") if text
            ):
                sums = totals.setdefault((event.user, code, day_of(event), number % 2), [0, 0])
                sums[0] += 1
                sums[1] += event.amount or 0
    daily = [(*key[:3], *sums) for key, sums in totals.items()]
    Random(seed).shuffle(daily)
    types = [code.event_type for code in wanted.codes if code.where is None]
    single = [
        (event.user, types.index(event.type), day_of(event), event.time, 1, event.amount, event.category)
        for event in log
        if event.type in wanted.event_types
    ]
    Random(seed).shuffle(single)
    ints = {"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32}
    numbers = {"events": pl.Int64, "amount_minor": pl.Int64}
    schema = {**ints, "time": pl.Int64, "n": pl.Int64, "amount": pl.Int64, "category": pl.String}
    events = pl.DataFrame(single, schema=schema, orient="row")
    users = pl.DataFrame({"user_key": range(5), "user_id": [f"u{number}" for number in range(5)]})
    return Bucket(
        users,
        pl.DataFrame(daily, schema={**ints, **numbers}, orient="row"),
        events.select("user", "type", "day", "time", "n", *wanted.event_columns) if wanted.event_types else None,
    )


def found_in(measures: Sequence[Measure], log: Sequence[Happened], as_of: date = AS_OF) -> dict[int, dict[str, object]]:
    wanted = wanted_of(SPEC, (), measures)
    frame = measure_columns(measures, bucket_of(log, wanted), day_number(as_of), SPEC, wanted.codes)
    assert frame.schema == pl.Schema({"user": pl.UInt32(), **{one.name: one.dtype for one in measures}})
    return {int(row.pop("user")): row for row in frame.to_dicts()}


def value_of(measure: Measure, log: Sequence[Happened], as_of: date = AS_OF) -> object:
    """A measure of user 0, who has an event that no measure looks at."""
    return found_in([measure], [*log, Happened(0, "view", 0, category="none")], as_of)[0][measure.name]


# ------------------------------------------------------------------------------------------------- against plain Python

HALF_DAYS = st.integers(-24, 2).map(lambda halves: END + halves * DAY_US // 2)
TIMES = HALF_DAYS | st.sampled_from([END - 1, END - DAY_US - 1, END - 7 * DAY_US - 1, END + 1])
EVENTS = st.builds(
    Happened,
    st.integers(0, 3),
    st.sampled_from(["buy", "view"]),
    TIMES,
    st.sampled_from([None, 0, 56, 57, 4_999, 5_000, -100]),
    st.sampled_from([None, "x", "y"]),
)
REFS = st.builds(EventRef, st.sampled_from(["buy", "view", "dear"]), st.sampled_from(list(CONDITIONS)))
DAYS = st.none() | st.integers(1, 14)


@st.composite
def measured(draw: st.DrawFn) -> Measure:
    function = draw(st.sampled_from(sorted(set(FUNCTIONS))))
    first = draw(REFS)
    days = draw(st.integers(0, 8)) if function == "held_for" else draw(DAYS)
    refs: tuple[EventRef, ...] = (first,)
    if function in {"followed_by", "not_followed_by"}:
        refs = (first, draw(REFS | st.just(first)))
    if function == "held_for":
        refs = (replace(first, where=None), first)
    return Measure(
        function,  # type: ignore[arg-type]
        refs,
        days,
        until=draw(st.integers(0, 5)) if function in WINDOWED else 0,
        recent=draw(st.integers(1, 5)) if function in {"stopped", "restarted"} else 0,
        within=draw(st.integers(0, 3)) if function == "followed_by" else 0,
        k=draw(st.integers(0, 3)) if function == "regularly" else 0,
        periods=draw(st.integers(1, 4)) if function == "regularly" else 0,
        period_days=draw(st.integers(1, 4)) if function == "regularly" else 0,
        half_life=draw(st.integers(1, 5)) if function == "event_decayed" else 0,
    )


FUNCTIONS = (
    *("event_count", "event_amount", "event_days", "event_decayed", "days_since_event", "days_since_first_event"),
    *("first_time", "stopped", "restarted", "regularly", "followed_by", "not_followed_by", "held_for"),
)
WINDOWED = {"event_count", "event_amount", "event_days", "event_decayed", "first_time", "followed_by"}


@given(log=st.lists(EVENTS, max_size=24), measures=st.lists(measured(), min_size=1, max_size=6, unique=True))
def test_every_function_equals_a_look_at_every_event(log: list[Happened], measures: list[Measure]) -> None:
    assert found_in(measures, log) == expected(measures, log, AS_OF)


@given(log=st.lists(EVENTS, min_size=8, max_size=24), refs=st.tuples(REFS, REFS), data=st.data())
def test_what_follows_equals_a_look_at_every_pair(
    log: list[Happened], refs: tuple[EventRef, EventRef], data: st.DataObject
) -> None:
    days, until, within = data.draw(DAYS), data.draw(st.integers(0, 3)), data.draw(st.integers(0, 5))
    of_one_kind = (refs[0], refs[0])
    measures = [Measure("followed_by", kinds, days, until, within=within) for kinds in (refs, of_one_kind)]
    measures += [Measure("not_followed_by", kinds, days, until) for kinds in (refs, of_one_kind)]
    assert found_in(list(dict.fromkeys(measures)), log) == expected(measures, log, AS_OF)


# ------------------------------------------------------------------------------------------------------------ scenarios


def on(days: float, kind: str = "buy", category: str | None = None, amount: int | None = None) -> Happened:
    """An event of user 0, so many days before as_of."""
    return Happened(0, kind, END - round(days * DAY_US), amount, category)


WEEK = Measure("event_count", (BUY,), 7)
FILTERED = Measure("event_count", (EventRef("buy", CATEGORY),), 7)


@pytest.mark.parametrize(
    ("as_of", "expected_count"),
    # Bought on 20 February: in the week until the 27th, gone by time alone on the 28th.
    [("2024-02-20", 0), ("2024-02-21", 1), ("2024-02-27", 1), ("2024-02-28", 0), ("2024-03-31", 0)],
)
def test_an_event_enters_a_window_and_leaves_it_by_time_passing(as_of: str, expected_count: int) -> None:
    bought = Happened(0, "buy", midnight_us(date(2024, 2, 20), "UTC"))
    assert value_of(WEEK, [bought], date.fromisoformat(as_of)) == expected_count


@pytest.mark.parametrize(("times", "count"), [((), 0), ((3,), 1), ((3, 3), 2), ((3, 7, 7.001, 0, -1), 2)])
def test_none_one_and_two_events_in_a_window(times: tuple[float, ...], count: int) -> None:
    assert value_of(WEEK, [on(days) for days in times]) == count
    assert value_of(FILTERED, [on(days, category="x") for days in times] + [on(2), on(2, category="y")]) == count


def test_the_instant_of_as_of_belongs_to_the_future() -> None:
    log = [on(0), on(0, "view"), on(1, "view")]
    assert value_of(Measure("days_since_event", (BUY,)), log) is None
    assert value_of(Measure("followed_by", (VIEW, BUY), within=1), log) is False
    assert value_of(Measure("not_followed_by", (VIEW, BUY)), log) is True
    assert value_of(Measure("followed_by", (VIEW, BUY), within=1), [on(1 / DAY_US), on(1, "view")]) is True


@pytest.mark.parametrize(
    ("days", "log", "expected_held"),
    [
        (7, [on(7, category="x")], True),
        (7, [on(6, category="x")], False),
        # Told again and again, or of an event of another type, a state stays what it was.
        (7, [on(9, category="x"), on(5, category="x"), on(1, category="x"), on(0.5, "view", "y")], True),
        (7, [on(9, category="x"), on(5, category="y"), on(1, category="x")], False),
        (0, [on(9, category="x"), on(5, category="y"), on(1, category="x")], True),
        (0, [on(9, category="x"), on(5, category="y")], False),
        (7, [on(12, category="y"), on(9, category="x"), on(3, category="x")], True),
        (7, [on(9, category="x"), on(5)], False),
        (0, [], False),
        # As of the day it ends, it has not ended.
        (7, [on(9, category="x"), on(0, category="y")], True),
        (0, [on(3, category="x"), on(3, category="y")], False),
        (0, [on(3, category="x"), on(3, category="x")], True),
        (2, [on(4, category="y"), on(3, category="x"), on(3, category="y"), on(2, category="x")], True),
        (3, [on(4, category="x"), on(3, category="x"), on(3, category="y"), on(2, category="x")], False),
    ],
)
def test_a_state_that_is_held(days: int, log: list[Happened], expected_held: bool) -> None:
    assert value_of(Measure("held_for", (BUY, EventRef("buy", CATEGORY)), days), log) is expected_held


@pytest.mark.parametrize(
    ("log", "expected_left"),
    [
        ([on(3)], True),
        ([on(3), on(2, "view")], False),
        ([on(3), on(2, "view"), on(1)], True),
        # At one instant the second follows the first.
        ([on(3), on(3, "view")], False),
        ([on(8)], False),
        ([on(8), on(6), on(7, "view")], True),
        ([on(2, "view"), on(3, "view")], False),
    ],
)
def test_something_begun_and_not_followed_up(log: list[Happened], expected_left: bool) -> None:
    assert value_of(Measure("not_followed_by", (BUY, VIEW), 7), log) is expected_left


@pytest.mark.parametrize(
    ("kinds", "log", "expected_followed"),
    [
        ((BUY, VIEW), [on(3), on(2, "view")], True),
        ((BUY, VIEW), [on(3), on(2 - 1 / DAY_US, "view")], False),
        ((BUY, BUY), [on(3)], False),
        ((BUY, BUY), [on(3), on(3)], False),
        ((BUY, BUY), [on(3), on(2.5)], True),
        # One event of both kinds does not follow itself, another one at its instant does.
        ((BUY, DEAR), [on(3, amount=9_000)], False),
        ((BUY, DEAR), [on(3, amount=9_000), on(3, amount=1)], True),
        ((BUY, DEAR), [on(3, amount=9_000), on(3, amount=9_000)], True),
        ((DEAR, EventRef("buy", AMOUNT)), [on(3, amount=9_000), on(3, amount=9_000)], False),
        ((VIEW, DEAR), [on(3, "view"), on(2.5, amount=4_999)], False),
    ],
)
def test_one_thing_after_the_other(
    kinds: tuple[EventRef, EventRef], log: list[Happened], expected_followed: bool
) -> None:
    assert value_of(Measure("followed_by", kinds, within=1), log) is expected_followed


@pytest.mark.parametrize(
    ("measure", "times", "expected_value"),
    [
        (Measure("stopped", (BUY,), 60, recent=30), [31, 60], True),
        (Measure("stopped", (BUY,), 60, recent=30), [61], False),
        (Measure("stopped", (BUY,), 60, recent=30), [40, 30], False),
        (Measure("stopped", (BUY,), 60, recent=30), [], False),
        (Measure("stopped", (BUY,), recent=30), [500], True),
        (Measure("restarted", (BUY,), 60, recent=30), [61, 30], True),
        (Measure("restarted", (BUY,), 60, recent=30), [61, 60, 30], False),
        (Measure("restarted", (BUY,), 60, recent=30), [5], False),
        (Measure("restarted", (BUY,), recent=30), [61, 5], False),
        (Measure("first_time", (BUY,), 7), [7], True),
        (Measure("first_time", (BUY,), 7), [8, 1], False),
        (Measure("first_time", (BUY,)), [900], True),
        (Measure("regularly", (BUY,), k=2, periods=3, period_days=7), [7, 8], True),
        (Measure("regularly", (BUY,), k=2, periods=3, period_days=7), [8, 14], False),
        (Measure("regularly", (BUY,), k=2, periods=3, period_days=7), [1, 21, 22], True),
        (Measure("regularly", (BUY,), k=2, periods=3, period_days=7), [1, 22], False),
        (Measure("regularly", (BUY,), k=0, periods=3, period_days=7), [], True),
        (Measure("event_decayed", (BUY,), half_life=10), [1, 11, 21], 1.75),
        (Measure("event_decayed", (BUY,), 20, half_life=10), [1, 11, 21], 1.5),
        (Measure("event_decayed", (BUY,), half_life=1), [400], 0.0),
        (Measure("event_days", (BUY,), 7), [2, 1.5, 1.2, 7, 8], 2),
        (Measure("event_count", (BUY,), 90, until=30), [30, 31, 90, 91], 2),
        (Measure("days_since_event", (BUY,)), [3, 9], 3),
        (Measure("days_since_first_event", (BUY,)), [3, 9], 9),
        (Measure("days_since_event", (BUY,)), [], None),
        (Measure("days_since_first_event", (BUY,)), [], None),
        (Measure("event_amount", (BUY,)), [], 0.0),
    ],
)
def test_what_days_tell(measure: Measure, times: list[float], expected_value: object) -> None:
    found = value_of(measure, [on(days) for days in times])
    assert (found, type(found)) == (expected_value, type(expected_value))


def test_money_is_summed_in_minor_units_and_divided_once() -> None:
    log = [on(day, amount=57) for day in (1, 2, 2, 3)]
    assert value_of(Measure("event_amount", (BUY,), 2), log) == 1.71
    assert value_of(Measure("held_for", (BUY, EventRef("buy", "amount = 0.57")), 3), log) is True


def test_users_without_such_an_event_have_every_measure_and_users_to_come_have_none() -> None:
    measures = [
        Measure(function, (BUY, VIEW) if function in NEEDS_TIMES else (BUY,), 7, k=1, half_life=3)  # type: ignore[arg-type]
        for function in FUNCTIONS
    ]
    log = [Happened(2, "view", END - 1), Happened(3, "buy", END)]
    found = found_in(measures, log)
    counts = [0, 0.0, 0, 0.0, None, None]
    assert {user: list(row.values()) for user, row in found.items()} == {2: counts + [False] * 7}


# ------------------------------------------------------------------------------------------------------------ the store


def test_what_measures_need_of_the_log() -> None:
    filtered = EventRef("dear", CATEGORY)
    target = Target(name="t", event="view", where=CATEGORY)
    measures = (
        Measure("event_count", (filtered,), 7),
        Measure("event_days", (filtered,)),
        Measure("event_count", (EventRef("view", CATEGORY),)),
        Measure("event_count", (BUY,)),
    )
    own = (Code("buy"), Code("view"), Code("buy", AMOUNT), Code("view", CATEGORY))
    both = Code("buy", f"({AMOUNT}) AND ({CATEGORY})")
    assert event_code("dear", CATEGORY, SPEC) == both
    # Behind what targets have, so that these keep their positions.
    assert wanted_of(SPEC, [target], measures) == Wanted((*own, both))
    assert target_positions(SPEC, [target]) == (3,)
    timed = (Measure("followed_by", (VIEW, filtered), within=1), Measure("held_for", (VIEW, EventRef("view")), 1))
    assert measure_wants(timed, SPEC) == Wanted((), ("buy", "view"), ("amount", "category"))
    with_ids = replace(SPEC, columns=(*SPEC.columns, "event_id"))
    assert measure_wants(timed, with_ids).event_columns == ("amount", "category", "order")
    assert measure_wants(timed[1:], with_ids) == Wanted((), ("view",), ())
    assert (needs_rows(measures), needs_rows(())) == (True, False)


def test_a_condition_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match="no column 'prize'"):
        measure_wants([Measure("held_for", (BUY, EventRef("buy", "prize > 3")), 7)], SPEC)


ALL = [
    Measure("event_count", (EventRef("buy", CATEGORY),), 7),
    Measure("event_amount", (DEAR,), 10, until=2),
    Measure("event_days", (EventRef("view", "category <> 'x' AND amount < 0.57"),)),
    Measure("event_decayed", (EventRef("dear", CATEGORY),), half_life=3),
    Measure("days_since_event", (EventRef("buy", AMOUNT),)),
    Measure("days_since_first_event", (VIEW,)),
    Measure("first_time", (DEAR,), 5),
    Measure("stopped", (BUY,), 9, recent=4),
    Measure("restarted", (VIEW,), 6, recent=3),
    Measure("regularly", (VIEW,), k=2, periods=4, period_days=3),
    Measure("followed_by", (VIEW, DEAR), 9, within=1),
    Measure("followed_by", (BUY, EventRef("buy", CATEGORY)), within=2),
    Measure("not_followed_by", (EventRef("view", CATEGORY), BUY)),
    Measure("held_for", (BUY, EventRef("buy", CATEGORY)), 2),
]


def stored(
    frame: pl.DataFrame, spec: FeatureSpec, folder: Path, measures: Sequence[Measure], **source: object
) -> Shelf:
    """The rollups of a log."""
    file = folder / "events.parquet"
    frame.write_parquet(file)
    named = {"amount": "amount", "category": "category", **({"event_id": "id"} if "id" in frame.columns else {})}
    columns = Columns.model_validate({"user_id": "user", "event_type": "type", "event_time": "time", **named})
    config = Config(
        sources=(Source.model_validate({"name": "log", "path": str(file), "columns": columns, **source}),),
        timezone=spec.timezone,
    )
    return rolled(config, wanted_of(spec, (), measures), folder / "store")


@pytest.mark.parametrize(
    ("timezone", "as_of"),
    # The clock goes on at 2, goes back at 3, and goes back at midnight: one hour of the day before comes again.
    [("Europe/Paris", "2024-04-02"), ("Europe/Paris", "2024-10-30"), ("America/Havana", "2024-11-05")],
)
def test_a_small_log_through_the_store(timezone: str, as_of: str, tmp_path: Path) -> None:
    spec, day = spec_with(timezone), date.fromisoformat(as_of)
    end = midnight_us(day, timezone)
    rng = Random(f"{timezone} {as_of}")
    log = [
        Happened(
            rng.randrange(12),
            rng.choice(["buy", "view"]),
            end - rng.choice([0, 1, 3_600 * 10**6, rng.randrange(-10, 300) * DAY_US // 24]),
            rng.choice([None, 10, 57, 5_000, 12_345]),
            rng.choice([None, "x", "y"]),
        )
        for _ in range(300)
    ]
    shelf = replace(stored(frame_of(log), spec, tmp_path, ALL), end_day=day_number(day))
    wants = wanted_of(spec, (), ALL)
    assert shelf.kinds == wants.codes
    told = expected(ALL, log, day, timezone)
    rows: dict[int, dict[str, object]] = {}
    for number, keys in enumerate(key_ranges(2)):
        found = load_features(shelf, keys, number, spec, ALL)
        frame = found.features
        assert frame.columns[-len(ALL) - 1 :] == [MONETARY_MINOR, *(measure.name for measure in ALL)]
        plain = load_features(shelf, keys, number, spec)
        assert frame.select(plain.features.columns).equals(plain.features)
        assert found.kept == plain.kept
        # Totals that could be brought forward are not used.
        terms = terms_of(spec, shelf.codes, 2)
        again = load_features(replace(shelf, forward=Forward(terms)), keys, number, spec, ALL)
        assert again.features.equals(frame)
        ids = found.users["user_id"].gather(frame["user"])
        for name, row in zip(ids, frame.select(measure.name for measure in ALL).to_dicts(), strict=True):
            rows[int(name[1:])] = row
    assert rows == told


def test_a_condition_looks_at_an_order_as_a_whole(tmp_path: Path) -> None:
    spec = replace(SPEC, columns=(*SPEC.columns, "event_id"))
    dear = EventRef("buy", AMOUNT)
    counted = Measure("event_count", (dear,))
    followed = Measure("followed_by", (VIEW, dear), within=1)
    held = Measure("held_for", (BUY, dear), 0)
    again = Measure("followed_by", (BUY, BUY), within=1)
    measures = [counted, followed, held, again]
    start = datetime(2024, 2, 1, tzinfo=UTC)
    lines = [
        # Three lines make one order of 60, that comes after the view; two orders of 30 at one instant do not.
        ("a", "view", 0, None, None),
        *(("a", "buy", hour, 20.0, "o1") for hour in (3, 1, 2)),
        ("b", "view", 0, None, None),
        *(("b", "buy", 1, 30.0, order) for order in ("o2", "o3")),
        ("c", "view", 0, None, None),
        *(("c", "buy", 1, 30.0, None) for _ in range(2)),
    ]
    frame = pl.DataFrame(lines, schema=["user", "type", "hour", "amount", "id"], orient="row").with_columns(
        pl.lit(start).dt.cast_time_unit("us").alias("time") + pl.duration(hours="hour"),
        category=pl.lit(None, pl.String),
    )
    shelf = replace(stored(frame, spec, tmp_path, measures, same_id="lines", dedup_days=0), end_day=day_number(AS_OF))
    found = load_features(shelf, key_ranges(1)[0], 0, spec, measures)
    assert found.features.select(measure.name for measure in measures).rows() == [
        (1, True, True, False),
        (0, False, False, False),
        (0, False, False, False),
    ]


def test_later_lines_of_an_order_that_alone_meet_a_condition_are_no_event() -> None:
    dear = EventRef("buy", AMOUNT)
    measures = [
        Measure("event_amount", (dear,)),
        *(Measure(function, (dear,)) for function in ("event_count", "event_days", "days_since_event", "first_time")),
        Measure("followed_by", (VIEW, dear), within=1),
    ]
    wanted = wanted_of(SPEC, (), measures)
    bucket = bucket_of([on(2, "view"), on(1.5, amount=7_000)], wanted)
    assert bucket.events is not None
    later = replace(
        bucket,
        daily=bucket.daily.with_columns(events=pl.when(pl.col("type") == 1).then("events").otherwise(0)),
        events=bucket.events.with_columns(n=pl.when(pl.col("type") == 1).then("n").otherwise(0)),
    )
    frame = measure_columns(measures, later, day_number(AS_OF), SPEC, wanted.codes)
    assert frame.rows() == [(0, 70.0, 0, 0, None, False, False)]


def test_a_bucket_without_rows() -> None:
    wanted = wanted_of(SPEC, (), ALL)
    empty = bucket_of([], wanted)
    for bucket in (empty, replace(empty, events=None)):
        frame = measure_columns(ALL, bucket, day_number(AS_OF), SPEC, wanted.codes)
        assert frame.height == 0
        assert frame.schema == pl.Schema({"user": pl.UInt32(), **{measure.name: measure.dtype for measure in ALL}})
