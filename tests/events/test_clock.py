from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.errors import DataError
from engine.events.mapping import REJECT, map_source
from engine.events.schema import REJECT_RULES, TIME_LIMITS_US
from tests.events.logs import NOON, source

START, END = TIME_LIMITS_US
NAMES = ["good", *(rule.name for rule in REJECT_RULES)]
TIMES = {"received_time": "received", "sent_time": "sent"}
HOUR = timedelta(hours=1)
Times = tuple[Any, Any, Any]


def mapped(
    rows: Sequence[Times], dtype: Any = None, columns: Mapping[str, object] = TIMES, **fields: Any
) -> list[tuple[Any, str]]:
    """The canonical time of each row of event, received and sent time, and the rule it breaks."""
    schema = dict.fromkeys(("time", "received", "sent"), dtype or pl.Datetime("us", "UTC"))
    frame = pl.DataFrame(rows, schema, orient="row").with_columns(user=1, type=pl.lit("a"))
    mapping = map_source(source("x", columns=columns, **fields), dict(frame.schema), 2)
    done = frame.select(mapping.canonical["event_time"].alias("time"), mapping.reject.alias(REJECT))
    assert done.schema["time"] == pl.Datetime("us", "UTC")
    physical = dtype == pl.Int64
    times = done["time"].dt.epoch("us") if physical else done["time"]
    return [(time, NAMES[code]) for time, code in zip(times, done[REJECT], strict=True)]


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("event", [NOON, NOON, NOON, NOON, None]),
        ("received", [NOON + 5 * HOUR, NOON, NOON + 5 * HOUR, NOON, NOON + 5 * HOUR]),
        ("skew", [NOON + 2 * HOUR, NOON, NOON, NOON, None]),
    ],
)
def test_the_clock_of_a_source(clock: str, expected: list[datetime | None]) -> None:
    received, sent = NOON + 5 * HOUR, NOON + 3 * HOUR
    rows = [
        (NOON, received, sent),
        (NOON, None, sent),
        (NOON, received, None),
        (NOON, None, None),
        (None, received, sent),
    ]
    if clock == "received":
        assert mapped(rows, clock=clock) == [(time, "good") for time in expected]
    else:
        assert mapped(rows, clock=clock) == [(time, "good" if time else "event_time_missing") for time in expected]


INSTANT = st.one_of(st.none(), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))


@given(st.lists(st.tuples(INSTANT, INSTANT, INSTANT), min_size=1, max_size=10))
def test_skew_is_what_python_computes(rows: list[tuple[datetime | None, datetime | None, datetime | None]]) -> None:
    expected = [
        event + (received - sent) if event is not None and received is not None and sent is not None else event
        for event, received, sent in rows
    ]
    found = mapped(rows, pl.Datetime("us"), clock="skew")
    assert [time for time, _ in found] == [None if time is None else time.replace(tzinfo=UTC) for time in expected]


EDGES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(START - 2, START + 2),
    st.integers(END - 2, END + 2),
    st.integers(-5, 5),
)


@given(
    st.lists(st.tuples(EDGES, EDGES, EDGES), min_size=1, max_size=10), st.sampled_from(["event", "received", "skew"])
)
def test_no_time_of_64_bits_wraps_around(rows: list[tuple[int | None, int | None, int | None]], clock: str) -> None:
    def believable(time: int | None) -> int | None:
        return time if time is not None and START <= time < END else None

    expected: list[tuple[int | None, str]] = []
    for row in rows:
        event, received, sent = (believable(time) for time in row)
        time = event
        if clock == "received":
            time = event if received is None else received
        elif clock == "skew" and event is not None and received is not None and sent is not None:
            time = believable(event + received - sent)
        if time is not None:
            rule = "good"
            if received is not None and time - received > 3_600_000_000:
                rule = "event_time_after_receipt"
            elif received is not None and received - time > 2 * 86_400_000_000:
                rule = "event_time_too_late"
        else:
            rule = "event_time_missing" if row[0] is None else "event_time_out_of_range"
        expected.append((time, rule))
    assert mapped(rows, pl.Int64, clock=clock, time_unit="us", max_early_hours=1, max_late_days=2) == expected


@pytest.mark.parametrize(
    ("early", "rule"),
    [
        (2 * HOUR, "good"),
        (2 * HOUR + timedelta(microseconds=1), "event_time_after_receipt"),
        (-timedelta(days=3), "good"),
        (-timedelta(days=3, microseconds=1), "event_time_too_late"),
        (-timedelta(days=400), "event_time_too_late"),
    ],
)
def test_early_and_late_events(early: timedelta, rule: str) -> None:
    rows = [(NOON + early, NOON, None), (NOON + early, None, None)]
    columns = {"received_time": "received"}
    found = mapped(rows, columns=columns, max_early_hours=2, max_late_days=3)
    assert found == [(NOON + early, rule), (NOON + early, "good")]
    assert [name for _, name in mapped(rows, columns=columns)] == ["good", "good"]


def test_limits_hold_after_the_clock_rule() -> None:
    # A clock that is a year ahead: the event is sent an hour after it happened, and received at once.
    year = timedelta(days=365)
    row = (NOON + year, NOON + HOUR, NOON + year + HOUR)
    assert mapped([row], max_early_hours=0, max_late_days=1) == [(NOON + year, "event_time_after_receipt")]
    assert mapped([row], clock="skew", max_early_hours=0, max_late_days=1) == [(NOON, "good")]
    assert mapped([row], clock="received", max_early_hours=0, max_late_days=0) == [(NOON + HOUR, "good")]


def test_times_are_read_in_the_zone_and_unit_of_the_source() -> None:
    naive = datetime(2026, 1, 1, 13)
    assert mapped([(None, naive, None)], pl.Datetime("ms"), clock="received", timezone="Europe/Paris") == [
        (NOON, "good")
    ]
    seconds = int(NOON.timestamp())
    [(time, _)] = mapped([(seconds, seconds + 5, seconds + 2)], pl.Int64, clock="skew", time_unit="s")
    assert time == (seconds + 3) * 1_000_000


def test_times_of_other_types_are_refused() -> None:
    schema = {"user": pl.Int64(), "type": pl.String(), "time": pl.Date(), "received": pl.String(), "sent": pl.Int64()}
    with pytest.raises(DataError) as caught:
        map_source(source("x", columns=TIMES, clock="skew"), schema, 2)
    assert "  received_time: expected a timestamp, got String" in caught.value.message
    assert "  sent_time: expected a timestamp, got Int64; say its unit" in caught.value.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clock": "received"}, "clock = 'received' needs columns.received_time"),
        (
            {"clock": "skew", "max_early_hours": 1},
            "clock = 'skew' needs columns.received_time; clock = 'skew' needs columns.sent_time; max_early_hours needs",
        ),
        ({"max_late_days": 0}, "max_late_days needs columns.received_time"),
    ],
)
def test_rules_need_their_columns(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        source("x", **fields)
    assert message in str(caught.value)
