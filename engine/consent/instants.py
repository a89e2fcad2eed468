"""Instants of any form as µs since 1970 UTC: timestamps with a zone or without one, dates, and their texts."""

from __future__ import annotations

from typing import Final

import polars as pl

from engine.events.schema import TIME, TIME_LIMITS_US
from engine.events.text_types import LOCAL_TIME, as_type

_UNIT_US: Final = {"ms": 1_000, "us": 1}
_DAY_US: Final = 86_400_000_000
_MOMENT: Final = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"
_ZONED: Final = _MOMENT + r" ?(?:Z|UTC|[+-]\d{2}:?\d{2})$"
_LOCAL: Final = r"(?:^\d{4}-\d{2}-\d{2}$|" + _MOMENT + "$)"


def instant_problem(dtype: pl.DataType) -> str:
    """What is wrong with a column of instants of this type; empty when nothing is."""
    if dtype in (pl.Null, pl.Date, pl.String) or isinstance(dtype, pl.Datetime):
        return ""
    return f"expected a timestamp, a date or the text of one, got {dtype}"


def instant(column: pl.Expr, dtype: pl.DataType, timezone: str) -> pl.Expr:
    """µs since 1970 UTC (Int64); null where there is none or text is none.

    Args:
        column: The column.
        dtype: Its type, one that `instant_problem` passes.
        timezone: Zone of what carries none. A date is its midnight; of an hour that occurs twice the first one counts,
            and what falls into an hour that never was is an hour later.
    """
    if dtype == pl.String:
        text = column.str.strip_chars()
        zoned = pl.when(text.str.contains(_ZONED)).then(as_type(text, TIME))
        local = pl.when(text.str.contains(_LOCAL)).then(as_type(text, LOCAL_TIME))
        return pl.coalesce(zoned.to_physical(), _utc(local, timezone))
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return _micro(column, dtype)
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        return _utc(_micro(column, dtype).cast(LOCAL_TIME), timezone)
    return pl.lit(None, pl.Int64)


def _micro(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    number = column.to_physical().cast(pl.Int64)
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        return number // 1_000
    unit = _UNIT_US[dtype.time_unit] if isinstance(dtype, pl.Datetime) else _DAY_US
    # Times beyond the calendar would wrap around.
    start, end = (limit // unit for limit in TIME_LIMITS_US)
    return number.clip(start, end - 1) * unit


def _utc(local: pl.Expr, timezone: str) -> pl.Expr:
    if timezone == "UTC":
        return local.to_physical()
    zoned, later = (
        moment.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
        for moment in (local, local + pl.duration(hours=1, time_unit="us"))
    )
    return pl.coalesce(zoned, later).dt.convert_time_zone("UTC").to_physical()
