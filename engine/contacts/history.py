"""Contacts with a history: from which day on a row counts.

A row that is valid from an instant counts for every day whose midnight is after that instant, as an event of that
instant does. So all that is ever asked of a row is one day; of the rows of one day the last one counts.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from engine.events.schema import TIME_LIMITS_US

VALID_FROM: Final = "__valid_from"
"""Column with the instant or local time from which a row holds, as a number; null is before any."""
VALID_DAY: Final = "__valid_day"
"""Column with the first day (since 1970-01-01) for which a row counts; only contacts with a history have it."""
_UNITS_PER_DAY: Final = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_UNIT_US: Final = {"ms": 1_000, "us": 1}
_ALWAYS: Final = -(2**31)


def is_moment(dtype: pl.DataType) -> bool:
    """Whether a column tells days or instants."""
    return dtype == pl.Date or isinstance(dtype, pl.Datetime)


def valid_columns(name: str, dtype: pl.DataType, timezone: str) -> list[pl.Expr]:
    """`VALID_FROM` and `VALID_DAY` of a column.

    Args:
        name: The column.
        dtype: Date; Datetime with a zone, or without one: then in `timezone`.
        timezone: The zone whose midnights part days.
    """
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_unit in _UNIT_US:
            # Times beyond the calendar would wrap around.
            limits = [limit // _UNIT_US[dtype.time_unit] for limit in TIME_LIMITS_US]
            column = column.to_physical().clip(limits[0], limits[1] - 1).cast(pl.Datetime(dtype.time_unit))
            if dtype.time_zone is not None:
                column = column.dt.replace_time_zone("UTC")
        if dtype.time_zone is not None:
            column = column.dt.convert_time_zone(timezone)
        day = column.dt.replace_time_zone(None).to_physical() // _UNITS_PER_DAY[dtype.time_unit]
        number = column.to_physical()
    else:
        first, last = (limit // _UNITS_PER_DAY["us"] for limit in TIME_LIMITS_US)
        number = column.to_physical().clip(first, last)
        day = number
    return [
        number.cast(pl.Int64).alias(VALID_FROM),
        # Of an instant at midnight of a day, that day is not after it yet.
        (day.cast(pl.Int32) + 1).fill_null(_ALWAYS).alias(VALID_DAY),
    ]


def latest_of_days(rows: pl.DataFrame) -> pl.DataFrame:
    """The last row of each user and day, sorted by `user_id` and `VALID_DAY`; without `VALID_FROM`."""
    ordered = rows.sort("user_id", VALID_FROM, nulls_last=False)
    return ordered.unique(["user_id", VALID_DAY], keep="last", maintain_order=True).drop(VALID_FROM)


def latest_at(rows: pl.DataFrame, user: str, day: int | None) -> pl.DataFrame:
    """The row of each user that counts for a day, without `VALID_DAY`; all rows where there is no history.

    Args:
        rows: Contacts with at most one row per user and day.
        user: The column of the user.
        day: Days since 1970-01-01; None for the last row of each.
    """
    if VALID_DAY not in rows.columns:
        return rows
    known = rows if day is None else rows.filter(pl.col(VALID_DAY) <= day)
    ordered = known.sort(user, VALID_DAY)
    return ordered.unique(user, keep="last", maintain_order=True).drop(VALID_DAY)
