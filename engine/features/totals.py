"""Events and amounts per user, event type and window, as dense integer arrays: what most families are made of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.features.bands import Bands
from engine.features.windows import Ints
from engine.rollups.packed import pack_band, unpack_band, unpack_type, unpack_user


@dataclass(frozen=True, eq=False)
class Totals:
    """Totals of some event types over nested windows that end at one day.

    Attributes:
        users: Numbers of the users with a row of these types (UInt32), ascending; arrays have one row per user.
        windows: Lengths in days, ascending; arrays have one column per window and a last one for all days.
        bands: The windows, with users numbered by their position in `users`.
        grouped: `user` (position), `type`, `band`, `events`, `amount_minor`, `last`; grain user × type × band.
    """

    users: pl.Series
    windows: tuple[int, ...]
    bands: Bands
    grouped: pl.DataFrame

    def events(self, *codes: int | None) -> Ints:
        """Number of events of these types together; None stands for a type that is not there."""
        return self._sum("events", codes)

    def amounts(self, *codes: int | None) -> Ints:
        """Sum of the amounts of these types in minor units."""
        return self._sum("amount_minor", codes)

    def within(self, window: int) -> int:
        """The column of a window."""
        return self.windows.index(window)

    def last_day(self, *codes: int | None) -> Ints:
        """Day of the last event of any of these types; `NEVER` for users without one."""
        rows = self.grouped.filter(pl.col("type").is_in(_present(codes)))
        last = np.full(self.bands.users, NEVER, dtype=np.int64)
        np.maximum.at(last, rows["user"].to_numpy(), rows["last"].cast(pl.Int64).to_numpy())
        return last

    def _sum(self, value: str, codes: Collection[int | None]) -> Ints:
        total = np.zeros((self.bands.users, len(self.windows) + 1), dtype=np.int64)
        for code in _present(codes):
            rows = self.grouped.filter(pl.col("type") == code)
            sums = np.zeros((self.bands.users, self.bands.width), dtype=np.int64)
            sums[rows["user"].to_numpy(), rows["band"].to_numpy()] = rows[value].to_numpy()
            total += np.cumsum(sums, axis=1)
        return total


NEVER = -(1 << 40)
"""A day before all others."""


def window_totals(
    rows: pl.DataFrame, as_of_day: int, windows: Collection[int], codes: Collection[int | None]
) -> Totals:
    """Totals of daily partials.

    Args:
        rows: `user`, `type`, `day`, `events`, `amount_minor`, in any order.
        as_of_day: First day that does not count (days since 1970-01-01).
        windows: Lengths in days, in any order.
        codes: Event types to read; None stands for a type that is not there.
    """
    lengths = tuple(sorted(set(windows)))
    bands = Bands(as_of_day, lengths, 0)
    grouped = (
        rows.lazy()
        .filter((pl.col("day") < as_of_day) & pl.col("type").is_in(_present(codes)))
        .with_columns(band=_band(bands))
        .select("events", "amount_minor", "day", key=pack_band())
        .group_by("key")
        .agg(pl.col("events").sum(), pl.col("amount_minor").sum(), last=pl.col("day").max())
        .with_columns(unpack_user("key"), unpack_type("key"), unpack_band("key"))
        .drop("key")
        .collect()
    )
    users = grouped["user"].unique().sort()
    positions = users.search_sorted(grouped["user"])
    return Totals(users, lengths, Bands(as_of_day, lengths, users.len()), grouped.with_columns(user=positions))


def _band(bands: Bands) -> pl.Expr:
    edges = [pl.col("day") < bands.as_of_day - window for window in bands.windows]
    return pl.sum_horizontal(edge.cast(pl.UInt8) for edge in edges).cast(pl.UInt8)


def ratio(over: Ints, under: Ints) -> pl.Series:
    """The quotient of two integers (Float64), rounded once; null where `under` is 0."""
    below = pl.Series(under)
    return (pl.Series(over) / below).set(below == 0, None)


def days_since(last: Ints, as_of_day: int) -> pl.Series:
    """Days from `last` to `as_of_day` (Int64); null for `NEVER`."""
    return pl.Series(as_of_day - last).set(pl.Series(last == NEVER), None)


def _present(codes: Collection[int | None]) -> list[int]:
    return sorted({code for code in codes if code is not None})
