from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.contacts.history import VALID_DAY, VALID_FROM, latest_at, latest_of_days, valid_columns
from engine.features.windows import EPOCH, day_number, midnight_us

PARIS = "Europe/Paris"


def first_day(value: Any, dtype: pl.DataType, timezone: str = PARIS) -> date:
    frame = pl.DataFrame({"v": pl.Series([value], dtype=dtype)}).select(valid_columns("v", dtype, timezone))
    return date.fromordinal(EPOCH.toordinal() + frame[VALID_DAY][0])


@pytest.mark.parametrize(
    ("value", "dtype", "day"),
    [
        (date(2026, 3, 1), pl.Date(), date(2026, 3, 2)),
        (datetime(2026, 2, 28, 23, 59, 59, 999_999), pl.Datetime("us"), date(2026, 3, 1)),
        (datetime(2026, 3, 1), pl.Datetime("us"), date(2026, 3, 2)),
        (datetime(2026, 3, 1, 0, 0, 1), pl.Datetime("ms"), date(2026, 3, 2)),
        (datetime(2026, 2, 28, 22, 59, tzinfo=UTC), pl.Datetime("us", "UTC"), date(2026, 3, 1)),
        (datetime(2026, 2, 28, 23, 0, tzinfo=UTC), pl.Datetime("ns", "UTC"), date(2026, 3, 2)),
        (
            datetime(2026, 2, 28, 18, 0, tzinfo=ZoneInfo("America/New_York")),
            pl.Datetime("ms", "America/New_York"),
            date(2026, 3, 2),
        ),
    ],
)
def test_a_row_counts_for_days_whose_midnight_is_after_it(value: Any, dtype: pl.DataType, day: date) -> None:
    assert first_day(value, dtype) == day


@settings(max_examples=60, deadline=None)
@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)),
    st.sampled_from([PARIS, "UTC", "America/Sao_Paulo", "Asia/Kolkata"]),
)
def test_as_events_do(moment: datetime, timezone: str) -> None:
    day = first_day(moment, pl.Datetime("us", "UTC"), timezone)
    instant = pl.Series([moment], dtype=pl.Datetime("us", "UTC")).to_physical()[0]
    assert instant < midnight_us(day, timezone)
    assert instant >= midnight_us(date.fromordinal(day.toordinal() - 1), timezone)


def test_none_is_before_any_day_and_what_is_beyond_the_calendar_stays_in_order() -> None:
    values = pl.Series([None, -(2**62), 0, 2**62], dtype=pl.Int64).cast(pl.Datetime("us"))
    frame = pl.DataFrame({"v": values}).select(valid_columns("v", pl.Datetime("us"), PARIS))
    days = frame[VALID_DAY].to_list()
    assert days == sorted(days)
    assert frame[VALID_FROM].to_list()[0] is None
    assert len(set(days)) == 4


ROW = st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.integers(0, 5))


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW, unique_by=lambda row: row[:2]), st.integers(0, 12))
def test_the_last_row_before_a_day_counts(rows: list[tuple[str, int, int]], day: int) -> None:
    frame = pl.DataFrame(
        [(user, at, at // 4 + 1, value) for user, at, value in rows],
        schema={"user_id": pl.String, VALID_FROM: pl.Int64, VALID_DAY: pl.Int32, "value": pl.Int64},
        orient="row",
    )
    found = latest_at(latest_of_days(frame), "user_id", day)
    expected: dict[str, tuple[int, int]] = {}
    for user, at, value in rows:
        if at < day * 4:
            expected[user] = max(expected.get(user, (-1, -1)), (at, value))
    assert dict(found.iter_rows()) == {user: value for user, (_, value) in expected.items()}


def test_without_a_history_every_day_is_the_same() -> None:
    frame = pl.DataFrame({"user_id": ["b", "a"], "x": [1, 2]})
    assert latest_at(frame, "user_id", day_number(date(2026, 1, 1))).equals(frame)
