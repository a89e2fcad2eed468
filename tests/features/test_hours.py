from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.feature import Reads
from engine.features.hours import FAMILY, PARTS, own_types
from engine.features.spec import EventType, FeatureSpec
from tests.features.event_rows import Row, Values, built, day_of, in_window, instant, local, over, spec_of, with_absent

HOUR = 3_600_000_000
SPEC = spec_of(
    "visit", "buy", "send", "open", "click", send="send", open="open", click="click", timezone="Europe/Paris"
)
ZONES = ["UTC", "Europe/Paris", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe"]


def visit(time: str, kind: str = "visit") -> Row:
    return Row(0, kind, instant(time))


def expected(rows: list[Row], as_of_day: int, spec: FeatureSpec) -> dict[int, Values]:
    read = [row for row in rows if row.type in {"visit", "buy", "open"}]
    return {user: _row([row for row in read if row.user == user], as_of_day, spec) for user in {r.user for r in read}}


def _row(rows: list[Row], as_of_day: int, spec: FeatureSpec) -> Values:
    window = spec.windows[-1]
    inside = [row for row in rows if row.n and in_window(day_of(row, spec), as_of_day, window)]
    hours = [local(row.time, spec).hour for row in inside if row.type != "open"]
    result: Values = {
        f"preferred_hour_{window}d": _preferred(hours),
        f"open_preferred_hour_{window}d": _preferred([local(r.time, spec).hour for r in inside if r.type == "open"]),
    }
    for part, start, end in PARTS:
        result[f"{part}_share_{window}d"] = over(sum(start <= hour < end for hour in hours), len(hours))
    return result


def _preferred(hours: list[int]) -> int | None:
    counts = Counter(hours)
    return min(counts, key=lambda hour: (-counts[hour], hour), default=None)


@given(
    rows=st.lists(
        st.builds(
            Row,
            user=st.integers(0, 2),
            type=st.sampled_from(["visit", "visit", "buy", "open", "send", "click"]),
            time=st.integers(-240 * 4, -1).map(lambda quarter: quarter * HOUR // 4),
            n=st.sampled_from([1, 1, 1, 0]),
        ),
        max_size=30,
    ),
    zone=st.sampled_from(ZONES),
    # The first of January, and days around the changes of the clock in Europe and on Lord Howe Island.
    end=st.sampled_from(["2026-01-01", "2026-03-30", "2026-04-06", "2026-10-26"]),
)
def test_every_feature_is_that_of_the_oracle(rows: list[Row], zone: str, end: str) -> None:
    spec = replace(SPEC, timezone=zone)
    as_of_day = instant(end) // (24 * HOUR)
    placed = [replace(row, time=row.time + instant(end)) for row in rows]
    before = [row for row in placed if day_of(row, spec) < as_of_day]
    assert built(FAMILY, before, as_of_day, spec) == expected(before, as_of_day, spec)


@pytest.mark.parametrize(
    ("zone", "time", "hour"),
    [
        ("Europe/Paris", "2026-03-29 00:59", 1),
        # The clock goes from 02:00 to 03:00.
        ("Europe/Paris", "2026-03-29 01:00", 3),
        ("Europe/Paris", "2026-10-24 22:00", 0),
        # It goes from 03:00 back to 02:00: the hour comes twice.
        ("Europe/Paris", "2026-10-25 00:30", 2),
        ("Europe/Paris", "2026-10-25 01:30", 2),
        ("Europe/Paris", "2026-10-25 02:00", 3),
        ("Asia/Kolkata", "2026-03-29 00:29", 5),
        ("Asia/Kolkata", "2026-03-29 00:30", 6),
        ("Asia/Kathmandu", "2026-03-29 00:14", 5),
        ("Asia/Kathmandu", "2026-03-29 00:15", 6),
        ("UTC", "1969-12-31 23:59", 23),
    ],
)
def test_the_hour_is_the_one_on_the_wall(zone: str, time: str, hour: int) -> None:
    spec = replace(SPEC, timezone=zone)
    found = built(FAMILY, [visit(time)], day_of(visit(time), spec) + 1, spec)[0]
    assert found["preferred_hour_7d"] == hour


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_has_as_many_hours_as_the_clock_showed(day: str, hours: int) -> None:
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    every = [visit((begin + timedelta(hours=step)).strftime("%Y-%m-%d %H:%M")) for step in range(-6, 30)]
    number = instant(day) // (24 * HOUR)
    of_day = [row for row in every if day_of(row, SPEC) == number]
    assert len(of_day) == hours
    found = built(FAMILY, of_day, number + 1, SPEC)[0]
    assert found["night_share_7d"] == (hours - 18) / hours
    assert found["preferred_hour_7d"] == (2 if hours == 25 else 0)


def test_of_equal_hours_the_earliest_is_preferred() -> None:
    rows = [visit("2026-01-05 20:00"), visit("2026-01-06 09:00"), visit("2026-01-06 09:30"), visit("2026-01-05 20:30")]
    assert built(FAMILY, rows, "2026-01-08", SPEC)[0]["preferred_hour_7d"] == 10


def test_opens_have_a_column_and_a_purpose_of_their_own() -> None:
    rows = [visit("2026-01-05 20:00"), visit("2026-01-05 09:00", "open"), visit("2026-01-05 03:00", "send")]
    found = built(FAMILY, rows, "2026-01-08", SPEC)[0]
    assert (found["preferred_hour_7d"], found["open_preferred_hour_7d"]) == (21, 10)
    purposes = {feature.name: feature.purposes for feature in FAMILY.features(SPEC)}
    assert purposes["open_preferred_hour_7d"] == ("profiling", "email_tracking")
    assert purposes["preferred_hour_7d"] == ("profiling",)


def test_only_what_users_do_by_themselves_counts() -> None:
    spec = spec_of(
        "visit",
        "send",
        "open",
        "open_machine",
        "bounce",
        "refund",
        send="send",
        open="open",
        bounce="bounce",
        refund="refund",
    )
    derived = EventType("product", "product", priced=False, of="visit", where="page = 'p'")
    spec = replace(spec, types=(*spec.types, derived))
    assert own_types(spec) == ("visit",)
    assert FAMILY.reads(spec) == Reads(frozenset({"visit", "open"}))


def test_a_log_of_messages_alone_has_the_hour_of_opens_alone() -> None:
    spec = spec_of("send", "open", send="send", open="open")
    rows = [visit("2026-01-05 09:00", "open")]
    assert built(FAMILY, rows, "2026-01-08", spec) == {0: {"open_preferred_hour_7d": 9}}
    assert FAMILY.features(spec_of("send", send="send")) == ()


def test_users_without_events_have_no_hour() -> None:
    assert set(with_absent(built(FAMILY, [], "2026-01-08", SPEC), [0], FAMILY, SPEC)[0].values()) == {None}
