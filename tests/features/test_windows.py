from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from engine.features.windows import day_number, merge_windows, midnight_us

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
