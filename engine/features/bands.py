"""Windows as bands, so that one pass over the partials serves all of them.

The windows of one run are nested. A day belongs to the band of the smallest window that holds it; the total of a window
is the sum of its band and of all smaller ones. Everything is added up in Int64 in dense tables of users by bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import polars as pl

from engine.features.windows import Ints

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEVER: Final = 1 << 40
"""A day after all others; its negative comes before all others."""
_CELLS: Final = 1 << 23
"""Cells of a dense table: as many event types as fit are added up in one pass."""
_BITS: Final = 1 << 26


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

    @property
    def width(self) -> int:
        """Number of bands: one per window, and one for older days."""
        return len(self.windows) + 1

    def of(self, days: NDArray[Any]) -> NDArray[np.int64]:
        """Position of the smallest window that holds each day; `len(windows)` for older days."""
        bands = np.zeros(days.size, dtype=np.int64)
        for window in self.windows:
            bands += days < self.as_of_day - window
        return bands


def summed(per_band: Ints) -> Ints:
    """Totals per window from sums per band: shape (users, bands); the last column is over all days."""
    totals: Ints = np.cumsum(per_band, axis=1, dtype=np.int64)
    return totals


@dataclass(frozen=True)
class BuyingDays:
    """On which days each user bought, all arrays of one entry per user.

    Attributes:
        days: Different days with a purchase; 0 for who never bought.
        first: The first of them; `NEVER` without one.
        first_amount: What was spent on it, in minor units.
    """

    days: Ints
    first: Ints
    first_amount: Ints


class Totals(Protocol):
    """What the core features are made of; see `BandTotals` for the meaning of each."""

    def events(self, code: int) -> Ints: ...
    def amounts(self, code: int) -> Ints: ...
    def last_days(self) -> Ints: ...
    def first_days(self) -> Ints: ...
    def active_days(self) -> Ints: ...
    def buying_days(self, code: int) -> BuyingDays: ...


class BandTotals:
    """The totals of daily partials per user, event type and window.

    Args:
        daily: `user`, `type`, `day`, `events`, `amount_minor` of days before `as_of_day`; a user, type and day may have
            several rows, in any order.
        bands: The windows.
        types: Number of event types.
    """

    def __init__(self, daily: pl.DataFrame, bands: Bands, types: int) -> None:
        self._bands = bands
        self._types = types
        self._user = daily["user"].cast(pl.Int64).to_numpy()
        self._day = daily["day"].to_numpy()
        self._type = daily["type"].to_numpy()
        self._cell = self._user * bands.width + bands.of(self._day)
        self._values = {"events": daily["events"].to_numpy(), "amount_minor": daily["amount_minor"].to_numpy()}
        self._tables: dict[tuple[str, int], Ints] = {}
        self._last: Ints | None = None

    def events(self, code: int) -> Ints:
        """Events of a type: shape (users, windows + 1), the last column over all days."""
        return summed(self.per_band("events", code))

    def amounts(self, code: int) -> Ints:
        """Sum of the amounts of a type in minor units, as `events`."""
        return summed(self.per_band("amount_minor", code))

    def per_band(self, value: str, code: int) -> Ints:
        """Sum of `events` or `amount_minor` of a type: shape (users, bands), not summed up to windows."""
        cells = self._bands.users * self._bands.width
        portion = max(1, _CELLS // max(1, cells))
        first = code // portion * portion
        if (value, first) not in self._tables:
            several = min(portion, self._types - first)
            sums = np.zeros(several * cells, dtype=np.int64)
            values = self._values[value]
            # Most events have no amount.
            chosen = np.flatnonzero((self._type >= first) & (self._type < first + several) & (values != 0))
            np.add.at(sums, (self._type[chosen].astype(np.int64) - first) * cells + self._cell[chosen], values[chosen])
            # One portion at a time: with many event types the tables of all would not fit.
            self._tables = {key: table for key, table in self._tables.items() if key[0] != value}
            self._tables[value, first] = sums.reshape(several, self._bands.users, self._bands.width)
        per_band: Ints = self._tables[value, first][code - first]
        return per_band

    def last_days(self) -> Ints:
        """Day of the last event: shape (types, users); `-NEVER` without one."""
        if self._last is None:
            last: Ints = np.full(self._types * self._bands.users, -NEVER, dtype=np.int64)
            place = self._type.astype(np.int64) * self._bands.users + self._user
            np.maximum.at(last, place, self._day.astype(np.int64))
            self._last = last.reshape(self._types, self._bands.users)
        return self._last

    def first_days(self) -> Ints:
        """Day of the first event of each user; `NEVER` without one."""
        first = np.full(self._bands.users, NEVER, dtype=np.int64)
        np.minimum.at(first, self._user, self._day.astype(np.int64))
        return first

    def active_days(self) -> Ints:
        """Days with an event, whatever its type: shape (users, windows + 1)."""
        users, width = self._bands.users, self._bands.width
        user, day = distinct_days(self._user, self._day, users)
        cells = user * width + self._bands.of(day)
        return summed(np.bincount(cells, minlength=users * width).reshape(users, width))

    def buying_days(self, code: int) -> BuyingDays:
        """The days with an event of a type, and what was spent on the first."""
        users = self._bands.users
        chosen = np.flatnonzero(self._type == code)
        rows = pl.DataFrame(
            {"user": self._user[chosen], "day": self._day[chosen], "amount": self._values["amount_minor"][chosen]}
        )
        by_day = rows.group_by("user", "day").agg(pl.col("amount").sum())
        user, day = by_day["user"].to_numpy(), by_day["day"].cast(pl.Int64).to_numpy()
        first = np.full(users, NEVER, dtype=np.int64)
        np.minimum.at(first, user, day)
        is_first = day == first[user]
        first_amount = np.zeros(users, dtype=np.int64)
        first_amount[user[is_first]] = by_day["amount"].to_numpy()[is_first]
        return BuyingDays(np.bincount(user, minlength=users).astype(np.int64), first, first_amount)


def distinct_days(user: Ints, day: NDArray[Any], users: int) -> tuple[Ints, Ints]:
    """The different pairs of user and day, sorted."""
    if not day.size:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    start = int(day.min())
    span = int(day.max()) - start + 1
    place = user * span + (day - start)
    if users * span <= _BITS:
        seen = np.zeros(users * span, dtype=bool)
        seen[place] = True
        distinct = np.flatnonzero(seen)
    else:
        distinct = np.unique(place)
    return distinct // span, distinct % span + start
