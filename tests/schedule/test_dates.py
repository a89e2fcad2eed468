from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.schedule.dates import Step, check_dates, dates_between, last_days, without_early

DAYS = st.dates(date(1970, 1, 1), date(2200, 1, 1))


@pytest.mark.parametrize(
    ("start", "end", "every", "expected"),
    [
        ("2026-02-27", "2026-03-02", "day", ["2026-02-27", "2026-02-28", "2026-03-01"]),
        ("2026-01-01", "2026-01-15", "week", ["2026-01-01", "2026-01-08"]),
        ("2026-01-01", "2026-01-16", "week", ["2026-01-01", "2026-01-08", "2026-01-15"]),
        ("2025-12-31", "2026-03-31", "month", ["2025-12-31", "2026-01-31", "2026-02-28"]),
        ("2024-01-30", "2024-03-31", "month", ["2024-01-30", "2024-02-29", "2024-03-30"]),
        ("2017-01-01", "2018-01-01", "month", [f"2017-{month:02}-01" for month in range(1, 13)]),
        ("9999-12-30", "9999-12-31", "day", ["9999-12-30"]),
        ("9999-11-30", "9999-12-31", "month", ["9999-11-30", "9999-12-30"]),
    ],
)
def test_dates_between(start: str, end: str, every: Step, expected: list[str]) -> None:
    found = dates_between(date.fromisoformat(start), date.fromisoformat(end), every)
    assert [day.isoformat() for day in found] == expected


@given(DAYS, st.integers(1, 800), st.sampled_from(["day", "week", "month"]))
def test_a_range_takes_its_start_in_and_leaves_its_end_out(start: date, length: int, every: Step) -> None:
    end = start + timedelta(days=length)
    found = dates_between(start, end, every)
    assert found[0] == start
    assert list(found) == sorted(set(found))
    assert all(start <= day < end for day in found)
    longest = {"day": 1, "week": 7, "month": 31}[every]
    assert all((after - day).days <= longest for day, after in zip(found, (*found[1:], end), strict=True))


@given(DAYS, st.integers(1, 400))
def test_the_last_days_end_before_the_end(end: date, count: int) -> None:
    assert last_days(count, end) == tuple(end - timedelta(days=ago) for ago in range(count, 0, -1))


@pytest.mark.parametrize("end", [date(2026, 1, 1), date(2025, 12, 31)])
def test_an_empty_range_is_refused(end: date) -> None:
    with pytest.raises(ConfigError, match="2026-01-01 to") as caught:
        dates_between(date(2026, 1, 1), end)
    assert caught.value.code == "backfill-range"


SPAN = (20_000, 20_010)
FIRST_EVENT, LAST_EVENT = date(2024, 10, 4), date(2024, 10, 14)


@pytest.mark.parametrize(
    ("day", "tolerance", "fine"),
    [
        (FIRST_EVENT, 1, False),
        (FIRST_EVENT + timedelta(days=1), 1, True),
        (LAST_EVENT + timedelta(days=1), 0, True),
        (LAST_EVENT + timedelta(days=2), 1, False),
        (LAST_EVENT + timedelta(days=7), 7, True),
        (LAST_EVENT + timedelta(days=8), 7, False),
    ],
)
def test_dates_without_events_are_refused(day: date, tolerance: int, fine: bool) -> None:
    if fine:
        check_dates([day], SPAN, tolerance)
        return
    with pytest.raises(ConfigError, match=str(day)) as caught:
        check_dates([LAST_EVENT, day], SPAN, tolerance)
    assert caught.value.code == "backfill-outside-log"
    assert "1 of 2 dates" in caught.value.message


def test_a_log_without_events_has_no_dates() -> None:
    with pytest.raises(ConfigError, match="no events"):
        check_dates([LAST_EVENT], None, 7)


def test_many_dates_are_not_all_listed() -> None:
    with pytest.raises(ConfigError, match="and 95 more"):
        check_dates([LAST_EVENT + timedelta(days=30 + more) for more in range(100)], SPAN, 7)


def test_dates_before_the_log_begins_can_be_left_out() -> None:
    dates = [FIRST_EVENT + timedelta(days=more) for more in range(-2, 3)]
    assert without_early(dates, SPAN) == tuple(dates[3:])
    # Of none of them there is anything to run: the refusal tells.
    assert without_early(dates[:3], SPAN) == tuple(dates[:3])
    assert without_early(dates, None) == tuple(dates)
