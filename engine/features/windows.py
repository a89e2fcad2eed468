"""Days and half-open windows `[as_of − w, as_of)`, cut at midnight of a zone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

EPOCH = date(1970, 1, 1)
Ints = NDArray[np.int64]


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def midnight_us(day: date, timezone: str) -> int:
    """The instant at which `day` begins in `timezone`, in µs since 1970 UTC."""
    start = datetime.combine(day, time(), tzinfo=ZoneInfo(timezone))
    return round(start.timestamp()) * 1_000_000


def merge_windows(windows: Sequence[int], *more: int) -> tuple[int, ...]:
    """The union of window lengths, ascending."""
    return tuple(sorted({*windows, *more}))
