"""Half-open windows `[as_of − w, as_of)` as bands, so that one grouping serves all of them.

The windows of one run are nested. A day belongs to the band of the smallest window that holds it; the total of a window
is the sum of its band and of all smaller ones. Sums are grouped once per band by Polars and added up in Int64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
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


@dataclass(frozen=True)
class Bands:
    """Nested windows that end at one day.

    Attributes:
        as_of_day: First day that is not in any window (days since 1970-01-01).
        windows: Lengths in days, ascending.
        users: Number of users; they are numbered from 0.
    """

    as_of_day: int
    windows: tuple[int, ...]
    users: int

    def band(self, day: str = "day") -> pl.Expr:
        """UInt8: position of the smallest window that holds the day; `len(windows)` for older days."""
        edges = [pl.col(day) < self.as_of_day - window for window in self.windows]
        return pl.sum_horizontal(edge.cast(pl.UInt8) for edge in edges).cast(pl.UInt8)

    def totals(self, grouped: pl.DataFrame, value: str) -> Ints:
        """Totals per user and window, the last column over all days: shape (users, windows + 1).

        Args:
            grouped: `user`, `band` and the value; each (user, band) at most once.
            value: The Int64 column to add up.
        """
        dense = np.zeros((self.users, len(self.windows) + 1), dtype=np.int64)
        dense[grouped["user"].to_numpy(), grouped["band"].to_numpy()] = grouped[value].to_numpy()
        return np.cumsum(dense, axis=1)


def merge_windows(windows: Sequence[int], *more: int) -> tuple[int, ...]:
    """The union of window lengths, ascending."""
    return tuple(sorted({*windows, *more}))
