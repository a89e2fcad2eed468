"""Totals that are kept from one day to the next, and brought forward by the days that changed.

Integer sums are invertible: what a day gave to one window is taken out of it and put into the next, and what a new day
gives is added. First and last days only ever widen. So bringing totals forward reads the days that enter, that leave a
window, or that got more events; everything else stands. Events that were taken away cannot be brought forward.

In: the totals of one bucket as of a day, and the partials of the changed days. Out: the totals as of a later day, equal
to the integer to those that `BandTotals` makes of all partials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.features.bands import NEVER, Bands, BandTotals, BuyingDays, distinct_days, summed
from engine.features.spec import FeatureSpec
from engine.features.windows import Ints


@dataclass(frozen=True)
class Standing:
    """Totals of one bucket of users; of the amounts those of the types that have some.

    Attributes:
        bands: The windows and the day they end at.
        counts: Events: shape (types, users, bands); per band, not summed up.
        money: Amounts in minor units: shape (priced types, users, bands).
        last: Last day: shape (types, users); `-NEVER` without one.
        first: First day per user; `NEVER` without one.
        active: Days with an event: shape (users, bands).
        buying: The days of purchases; None without a purchase type.
        priced: Positions of the priced types.
    """

    bands: Bands
    counts: Ints
    money: Ints
    last: Ints
    first: Ints
    active: Ints
    buying: BuyingDays | None
    priced: tuple[int, ...]

    def events(self, code: int) -> Ints:
        """See `BandTotals`."""
        return summed(self.counts[code])

    def amounts(self, code: int) -> Ints:
        """See `BandTotals`; zero for types without amounts."""
        if code not in self.priced:
            return np.zeros((self.bands.users, self.bands.width), dtype=np.int64)
        return summed(self.money[self.priced.index(code)])

    def last_days(self) -> Ints:
        """See `BandTotals`."""
        return self.last

    def first_days(self) -> Ints:
        """See `BandTotals`."""
        return self.first

    def active_days(self) -> Ints:
        """See `BandTotals`."""
        return summed(self.active)

    def buying_days(self, code: int) -> BuyingDays:  # noqa: ARG002 - there is one purchase type
        """See `BandTotals`."""
        if self.buying is None:
            message = "there is no purchase type"
            raise ValueError(message)
        return self.buying


def priced_types(spec: FeatureSpec) -> tuple[int, ...]:
    """Positions of the event types whose amounts are summed."""
    purchase = spec.code(spec.purchase)
    return tuple(code for code, kind in enumerate(spec.types) if kind.priced or code == purchase)


def standing_of(totals: BandTotals, bands: Bands, spec: FeatureSpec) -> Standing:
    """Totals in the form in which they are kept."""
    priced, code = priced_types(spec), spec.code(spec.purchase)
    nobody = np.zeros((0, bands.users, bands.width), dtype=np.int64)
    return Standing(
        bands=bands,
        counts=np.stack([totals.per_band("events", position) for position in range(len(spec.types))]),
        money=np.stack([totals.per_band("amount_minor", position) for position in priced]) if priced else nobody,
        last=totals.last_days(),
        first=totals.first_days(),
        active=np.diff(totals.active_days(), axis=1, prepend=0),
        buying=None if code is None else totals.buying_days(code),
        priced=priced,
    )


def bring_forward(then: Standing, day: int, was: pl.DataFrame, now: pl.DataFrame, purchase: int | None) -> Standing:
    """The totals as of a later day.

    Args:
        then: The totals as of an earlier day, with room for the users that are new; it is changed.
        day: The later day (days since 1970-01-01).
        was: `user`, `type`, `day`, `events`, `amount_minor` of the changed days as they are in `then`: all their rows,
            and only of days before its own.
        now: The same as they are now, before `day`.
        purchase: Position of the purchase type.
    """
    bands = Bands(day, then.bands.windows, then.bands.users)
    for rows, sign, at in ((was, -1, then.bands), (now, 1, bands)):
        _add(then, rows, sign, at)
    user, days = _arrays(now, "user", "day")
    codes = now["type"].cast(pl.Int64).to_numpy()
    np.maximum.at(then.last, (codes, user), days)
    np.minimum.at(then.first, user, days)
    buying = then.buying
    if buying is not None and purchase is not None:
        buying = _buying(buying, was.filter(pl.col("type") == purchase), now.filter(pl.col("type") == purchase))
    return Standing(bands, then.counts, then.money, then.last, then.first, then.active, buying, then.priced)


def _add(then: Standing, rows: pl.DataFrame, sign: int, bands: Bands) -> None:
    user, days, events, amounts = _arrays(rows, "user", "day", "events", "amount_minor")
    codes = rows["type"].cast(pl.Int64).to_numpy()
    at = bands.of(days)
    np.add.at(then.counts, (codes, user, at), sign * events)
    for position, code in enumerate(then.priced):
        chosen = np.flatnonzero((codes == code) & (amounts != 0))
        np.add.at(then.money[position], (user[chosen], at[chosen]), sign * amounts[chosen])
    users, different = distinct_days(user, days, bands.users)
    np.add.at(then.active, (users, bands.of(different)), sign)


def _buying(then: BuyingDays, was: pl.DataFrame, now: pl.DataFrame) -> BuyingDays:
    before, after = (rows.group_by("user", "day").agg(pl.col("amount_minor").sum()) for rows in (was, now))
    users, _ = _arrays(before, "user", "day")
    np.subtract.at(then.days, users, 1)
    user, day, amount = _arrays(after, "user", "day", "amount_minor")
    np.add.at(then.days, user, 1)
    np.minimum.at(then.first, user, day)
    # A changed day holds all its purchases again; a first day that did not change keeps its amount.
    is_first = day == then.first[user]
    then.first_amount[user[is_first]] = amount[is_first]
    return then


def _arrays(rows: pl.DataFrame, *names: str) -> list[Ints]:
    return [rows[name].cast(pl.Int64).to_numpy() for name in names]


# ----------------------------------------------------------------------------------------------------- as a table


def to_frame(standing: Standing, keys: pl.Series) -> pl.DataFrame:
    """One row per user with an event: `user_key` and the totals, sorted by key.

    Args:
        standing: The totals.
        keys: Key of each user.
    """
    columns: dict[str, pl.Series | Ints] = {"user_key": keys, "first": standing.first}
    for band in range(standing.bands.width):
        columns[f"active_{band}"] = standing.active[:, band]
    for code in range(standing.counts.shape[0]):
        columns[f"last_{code}"] = standing.last[code]
        columns |= {f"events_{code}_{band}": standing.counts[code, :, band] for band in range(standing.bands.width)}
    for position, code in enumerate(standing.priced):
        columns |= {f"amount_{code}_{band}": standing.money[position, :, band] for band in range(standing.bands.width)}
    if standing.buying is not None:
        columns["buying_days"] = standing.buying.days
        columns["buying_first"] = standing.buying.first
        columns["buying_first_amount"] = standing.buying.first_amount
    return pl.DataFrame(columns).filter(pl.col("first") < NEVER).sort("user_key")


def from_frame(frame: pl.DataFrame, keys: pl.Series, bands: Bands, types: int, priced: Sequence[int]) -> Standing:
    """The totals in a table of `to_frame`, for users in another order; users that it does not have begin with nothing.

    Args:
        frame: The table.
        keys: Key of each user now; every key of the table is among them.
        bands: The windows and day of the table, and the users of now.
        types: Number of event types.
        priced: Positions of the priced types.
    """
    places = keys.arg_sort().gather(keys.sort().search_sorted(frame["user_key"])).to_numpy()
    users = bands.users

    def spread(name: str, absent: int = 0) -> Ints:
        values = np.full(users, absent, dtype=np.int64)
        values[places] = frame[name].to_numpy()
        return values

    def table(prefix: str) -> Ints:
        return np.stack([spread(f"{prefix}_{band}") for band in range(bands.width)], axis=1)

    has_buying = "buying_days" in frame.columns
    nobody = np.zeros((0, users, bands.width), dtype=np.int64)
    return Standing(
        bands=bands,
        counts=np.stack([table(f"events_{code}") for code in range(types)]),
        money=np.stack([table(f"amount_{code}") for code in priced]) if priced else nobody,
        last=np.stack([spread(f"last_{code}", -NEVER) for code in range(types)]),
        first=spread("first", NEVER),
        active=table("active"),
        buying=BuyingDays(spread("buying_days"), spread("buying_first", NEVER), spread("buying_first_amount"))
        if has_buying
        else None,
        priced=tuple(priced),
    )
