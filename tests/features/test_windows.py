from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.windows import Bands, day_number, merge_windows, midnight_us

MIDNIGHTS = [
    ("2024-03-31", "UTC", "2024-03-31 00:00"),
    ("2024-03-31", "Europe/Paris", "2024-03-30 23:00"),
    ("2024-04-01", "Europe/Paris", "2024-03-31 22:00"),
    ("2024-10-28", "Europe/Paris", "2024-10-27 23:00"),
    ("2024-01-01", "Asia/Kolkata", "2023-12-31 18:30"),
    ("1969-12-31", "UTC", "1969-12-31 00:00"),
    # The day begins at 01:00, midnight was skipped.
    ("2018-11-04", "America/Sao_Paulo", "2018-11-04 03:00"),
    # Midnight comes twice; the day begins with the first.
    ("2024-11-03", "America/Havana", "2024-11-03 04:00"),
]


@pytest.mark.parametrize(("day", "timezone", "expected"), MIDNIGHTS)
def test_a_day_begins_at_its_first_instant(day: str, timezone: str, expected: str) -> None:
    instant = datetime.fromtimestamp(midnight_us(date.fromisoformat(day), timezone) // 1_000_000, UTC)
    assert instant == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    zone = ZoneInfo(timezone)
    assert instant.astimezone(zone).date() == date.fromisoformat(day)
    assert (instant - timedelta(seconds=1)).astimezone(zone).date() < date.fromisoformat(day)


@pytest.mark.parametrize(("day", "number"), [("1970-01-01", 0), ("1969-12-31", -1), ("2024-02-29", 19_782)])
def test_day_number_is_that_of_polars(day: str, number: int) -> None:
    assert day_number(date.fromisoformat(day)) == number
    assert pl.Series([date.fromisoformat(day)]).cast(pl.Int32).item() == number


@pytest.mark.parametrize(
    ("windows", "more", "expected"),
    [((7, 30), (90,), (7, 30, 90)), ((7, 30), (30,), (7, 30)), ((7, 30), (14,), (7, 14, 30)), ((365,), (1,), (1, 365))],
)
def test_merged_windows_are_ascending_and_different(
    windows: tuple[int, ...], more: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert merge_windows(windows, *more) == expected


@given(
    windows=st.sets(st.integers(1, 50), min_size=1, max_size=5).map(lambda found: tuple(sorted(found))),
    days=st.lists(st.tuples(st.integers(0, 3), st.integers(40, 99), st.integers(-(2**40), 2**40)), max_size=30),
)
def test_a_windows_total_is_the_sum_over_its_days(windows: tuple[int, ...], days: list[tuple[int, int, int]]) -> None:
    bands = Bands(100, windows, 4)
    frame = pl.DataFrame(days, schema={"user": pl.UInt32, "day": pl.Int32, "value": pl.Int64}, orient="row")
    grouped = frame.with_columns(band=bands.band()).group_by("user", "band").agg(pl.col("value").sum())
    totals = bands.totals(grouped, "value")
    starts = [*(100 - window for window in windows), 0]
    expected = [
        [sum(value for owner, day, value in days if owner == user and day >= start) for start in starts]
        for user in range(4)
    ]
    assert totals.tolist() == expected
    assert totals.dtype == np.int64


def test_the_most_windows_there_can_be_have_a_band_each() -> None:
    windows = merge_windows(range(1, 101), 365)
    bands = Bands(1000, windows, 1)
    days = pl.DataFrame({"user": 0, "day": range(1000), "value": 1}, schema_overrides={"value": pl.Int64})
    grouped = days.with_columns(band=bands.band()).group_by("user", "band").agg(pl.col("value").sum())
    assert bands.totals(grouped, "value").tolist() == [[*range(1, 101), 365, 1000]]


def test_a_window_holds_its_first_day_and_not_the_day_before() -> None:
    bands = Bands(100, (1, 7), 1)
    days = pl.DataFrame({"day": [99, 98, 93, 92, -500]})
    found = days.select(bands.band()).to_series()
    assert found.to_list() == [0, 1, 1, 2, 2]
    assert found.dtype == pl.UInt8
