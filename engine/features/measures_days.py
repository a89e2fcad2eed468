"""Measures that ask on which days something happened, from daily partials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.features.bands import distinct_days
from engine.features.measure import Measure
from engine.features.points import DECAY_SCALE, decay_factors
from engine.features.tally import Mask, days_since, latest
from engine.features.windows import Ints

_EVER = -(1 << 40)
"""A day before all others."""


@dataclass(frozen=True, eq=False)
class Partials:
    """Daily partials as arrays, by day ascending: a window is a slice.

    Attributes:
        users: Number of users; they are numbered from 0.
        as_of_day: First day that does not count (days since 1970-01-01).
        user, type, day, events, amount: One entry per row.
    """

    users: int
    as_of_day: int
    user: Ints
    type: Ints
    day: Ints
    events: Ints
    amount: Ints

    @classmethod
    def of(cls, daily: pl.DataFrame, users: int, as_of_day: int) -> Partials:
        """The rows of a bucket before `as_of_day`; a user, type and day may have several."""
        past = daily.filter(pl.col("day") < as_of_day)
        order = _by_day(past["day"].to_numpy().astype(np.int64))
        columns = [past[name].to_numpy()[order] for name in ("user", "type", "day", "events", "amount_minor")]
        user, kind, day, events, amount = columns
        return cls(users, as_of_day, user.astype(np.int64), kind, day.astype(np.int64), events, amount)

    def of_type(self, position: int) -> Partials:
        """The rows of one type."""
        return self.only(np.flatnonzero(self.type == position))

    def only(self, rows: Ints) -> Partials:
        """Some of the rows, given by their positions, ascending."""
        columns = (self.user, self.type, self.day, self.events, self.amount)
        return Partials(self.users, self.as_of_day, *(column[rows] for column in columns))

    def between(self, start: int | None, end: int) -> Partials:
        """The rows of the days in `[as_of − start, as_of − end)`; all before the end for None."""
        first = _EVER if start is None else self.as_of_day - start
        low, high = np.searchsorted(self.day, [first, self.as_of_day - end])
        columns = (self.user, self.type, self.day, self.events, self.amount)
        return Partials(self.users, self.as_of_day, *(column[low:high] for column in columns))

    def happened(self) -> Mask:
        """Which users have a row."""
        found = np.zeros(self.users, dtype=np.bool_)
        found[self.user] = True
        return found

    def total(self, values: Ints) -> Ints:
        """Sum of a value per row for each user."""
        sums = np.zeros(self.users, dtype=np.int64)
        np.add.at(sums, self.user, values)
        return sums


def _by_day(day: Ints) -> Ints:
    shifted = day - (day.min() if day.size else 0)
    if shifted.size and shifted.max() < 1 << 16:
        # Numpy sorts 16 bits by radix, ten times as fast.
        return np.argsort(shifted.astype(np.uint16), kind="stable")
    return np.argsort(shifted, kind="stable")


def day_columns(measures: Sequence[Measure], rows: Partials, digits: int) -> list[pl.Series]:
    """Measures of one kind of events, for every user of the bucket.

    Args:
        measures: Measures that are not in `NEEDS_TIMES`.
        rows: The partials of their events.
        digits: Decimals of the minor unit.
    """
    # Later lines of an order add to its amount and are no event.
    counted = rows if (rows.events > 0).all() else rows.only(np.flatnonzero(rows.events > 0))
    return [
        _amount(measure, rows, digits) if measure.function == "event_amount" else pl.Series(_value(measure, counted))
        for measure in measures
    ]


def _amount(measure: Measure, rows: Partials, digits: int) -> pl.Series:
    inside = rows.between(measure.days, measure.until)
    return pl.Series(inside.total(inside.amount) / 10**digits)


def _value(measure: Measure, rows: Partials) -> Ints | Mask | pl.Series:  # noqa: PLR0911 - one line per function
    inside = rows.between(measure.days, measure.until)
    match measure.function:
        case "event_count":
            return inside.total(inside.events)
        case "event_days":
            days, _ = distinct_days(inside.user, inside.day, rows.users)
            return np.bincount(days, minlength=rows.users).astype(np.int64, copy=False)
        case "event_decayed":
            return _decayed(inside, measure.half_life)
        case "days_since_event":
            return days_since(latest(inside.user, inside.day, rows.users), rows.as_of_day)
        case "days_since_first_event":
            earliest = latest(inside.user, -inside.day, rows.users)
            return pl.Series(rows.as_of_day + earliest).set(pl.Series(~inside.happened()), None)
        case "first_time":
            return inside.happened() & ~_before(rows, measure.days).happened()
        case "stopped":
            return _earlier(rows, measure).happened() & ~rows.between(measure.recent, 0).happened()
        case "restarted":
            paused = rows.between(measure.recent, 0).happened() & ~_earlier(rows, measure).happened()
            return paused & _before(rows, measure.days).happened()
        case _:
            return _periods(rows, measure.periods, measure.period_days) >= measure.k


def _earlier(rows: Partials, measure: Measure) -> Partials:
    return rows.between(measure.days, measure.recent)


def _before(rows: Partials, days: int | None) -> Partials:
    """The rows before a window of so many days."""
    return rows.only(np.zeros(0, dtype=np.int64)) if days is None else rows.between(None, days)


def _decayed(rows: Partials, half_life: int) -> pl.Series:
    factors = decay_factors(half_life)
    young = rows.only(np.flatnonzero(rows.day >= rows.as_of_day - len(factors)))
    points = young.events * factors[rows.as_of_day - 1 - young.day]
    return pl.Series(young.total(points) / DECAY_SCALE)


def _periods(rows: Partials, periods: int, length: int) -> Ints:
    """In how many of the last periods of so many days something happened."""
    inside = rows.between(periods * length, 0)
    users, _ = distinct_days(inside.user, (rows.as_of_day - 1 - inside.day) // max(length, 1), rows.users)
    return np.bincount(users, minlength=rows.users).astype(np.int64, copy=False)
