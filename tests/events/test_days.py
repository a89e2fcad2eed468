from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events.days import local_days
from engine.events.schema import TIME_LIMITS_US

QUARTER_US = 900_000_000
ZONES = [
    "UTC",
    "Europe/Paris",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    # 44.5 minutes behind until 1972.
    "Africa/Monrovia",
]
EPOCH = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))


def by_hand(time: int, zone: str) -> int:
    local = (EPOCH + timedelta(microseconds=time)).astimezone(ZoneInfo(zone))
    return (local.date() - date(1970, 1, 1)).days


def days_of(times: list[int], zone: str) -> list[int]:
    days = local_days(pl.Series(times, dtype=pl.Int64), zone)
    assert days.dtype == pl.Int32
    return days.to_list()


@pytest.mark.parametrize("zone", ZONES)
@given(
    start=st.integers(-(10**15), 4 * 10**15),
    offsets=st.lists(st.integers(0, 40 * QUARTER_US), min_size=1, max_size=60),
)
def test_days_equal_the_calendar(zone: str, start: int, offsets: list[int]) -> None:
    # Many times in a few hours go through the table of quarters, a few over years do not.
    times = [start + offset for offset in offsets]
    assert days_of(times, zone) == [by_hand(time, zone) for time in times]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("day", ["1911-12-31", "1936-07-01", "1960-01-01", "2011-12-29", "2026-03-29", "2026-10-25"])
def test_every_quarter_of_a_few_days(zone: str, day: str) -> None:
    start = round(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("UTC")).timestamp()) * 1_000_000
    times = [start + quarter * QUARTER_US + offset for quarter in range(200) for offset in (0, 1, QUARTER_US - 1)]
    assert days_of(times, zone) == [by_hand(time, zone) for time in times]


@pytest.mark.parametrize("zone", ZONES)
def test_the_ends_of_the_believable_times(zone: str) -> None:
    times = [TIME_LIMITS_US[0], TIME_LIMITS_US[1] - 1, 0, -1]
    assert days_of(times, zone) == [by_hand(time, zone) for time in times]
    assert days_of([times[1]] * 3, zone) == [by_hand(times[1], zone)] * 3


@pytest.mark.parametrize("zone", ZONES)
def test_no_time_has_no_day(zone: str) -> None:
    assert days_of([], zone) == []
