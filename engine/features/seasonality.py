"""When in the year and in the week: purchases a year ago and by month, events by weekday.

A year ago is the same calendar date one year earlier, 29 February becoming 28 February; a window of w days a year ago
is the w days before that date. Months and weekdays are those of the configured time zone.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import polars as pl

from engine.features.columns import integer, log_types, real
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.features.totals import ratio, window_totals
from engine.features.windows import EPOCH, Ints, day_number

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = range(1, 13)


def features(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The columns: of purchases by year and month, of all events by weekday."""
    return tuple(_features(spec))


def _features(spec: FeatureSpec) -> Iterator[Feature]:
    purchase = spec.purchase
    if purchase is not None:
        types, slug = (purchase,), spec.slug(purchase)
        for window in spec.windows:
            name, meaning = f"{slug}_count_year_ago_{window}d", f"Events of type {purchase} in the window a year ago."
            yield integer(spec, name, "count", meaning, types, window=window, absent=0)
        for window in spec.windows if _priced(spec) else ():
            name, meaning = f"{slug}_amount_year_ago_{window}d", f"Sum of the amounts of {purchase} a year ago."
            yield real(spec, name, "money", meaning, types, window=window, absent=0)
        for month in _MONTHS:
            name = f"{slug}_share_month_{month:02d}"
            meaning = f"Events of type {purchase} in {calendar.month_name[month]}, of all; null when there is none."
            yield real(spec, name, "ratio", meaning, types)
        meaning = f"Calendar month (1–12) with most {purchase}, the earliest of equals; null when there is none."
        yield integer(spec, f"{slug}_strongest_month", "month", meaning, types)
    log = log_types(spec)
    for weekday in _WEEKDAYS:
        yield real(spec, f"{weekday}_share", "ratio", f"Events on a {weekday.capitalize()}, of all.", log)
    meaning = "Weekday with most events (1 is Monday, 7 is Sunday), the earliest of equals."
    yield integer(spec, "preferred_weekday", "weekday", meaning, log)
    yield real(spec, "weekend_share", "ratio", "Events on a Saturday or Sunday, of all.", log)


def _priced(spec: FeatureSpec) -> bool:
    code = spec.code(spec.purchase)
    return code is not None and spec.types[code].priced


def reads(spec: FeatureSpec) -> Reads:
    """All types of the log, and purchases (which may be derived)."""
    return Reads(frozenset(log_types(spec)) | ({spec.purchase} if spec.purchase is not None else frozenset()))


def build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """The seasons of every user with a row; `user` and the columns of `features`."""
    users = rows["user"].unique().sort()
    columns: dict[str, Ints | pl.Series] = {"user": users}
    date = pl.col("day").cast(pl.Int32).cast(pl.Date)
    purchases = rows.filter(pl.col("type") == spec.code(spec.purchase)) if spec.purchase is not None else None
    if spec.purchase is not None and purchases is not None:
        slug = spec.slug(spec.purchase)
        columns |= _year_ago(purchases, users, as_of_day, spec, slug)
        months = _table(purchases, users, date.dt.month() - 1, 12)
        total = months.sum(axis=1)
        columns |= {f"{slug}_share_month_{month:02d}": ratio(months[:, month - 1], total) for month in _MONTHS}
        columns[f"{slug}_strongest_month"] = _strongest(months)
    codes = [spec.code(name) for name in log_types(spec)]
    weekdays = _table(rows.filter(pl.col("type").is_in(codes)), users, date.dt.weekday() - 1, 7)
    total = weekdays.sum(axis=1)
    columns |= {f"{name}_share": ratio(weekdays[:, place], total) for place, name in enumerate(_WEEKDAYS)}
    columns["preferred_weekday"] = _strongest(weekdays)
    columns["weekend_share"] = ratio(weekdays[:, 5] + weekdays[:, 6], total)
    return pl.DataFrame(columns)


def _year_ago(
    purchases: pl.DataFrame, users: pl.Series, as_of_day: int, spec: FeatureSpec, slug: str
) -> dict[str, Ints | pl.Series]:
    code = spec.code(spec.purchase)
    totals = window_totals(purchases, year_before(as_of_day), spec.windows, [code])
    place = users.search_sorted(totals.users).to_numpy()
    events, amounts = (np.zeros((users.len(), len(spec.windows) + 1), dtype=np.int64) for _ in range(2))
    events[place], amounts[place] = totals.events(code), totals.amounts(code)
    columns: dict[str, Ints | pl.Series] = {}
    for position, window in enumerate(spec.windows):
        columns[f"{slug}_count_year_ago_{window}d"] = events[:, position]
        if _priced(spec):
            columns[f"{slug}_amount_year_ago_{window}d"] = amounts[:, position] / 10**spec.currency_digits
    return columns


def year_before(day: int) -> int:
    """The same calendar date one year earlier (days since 1970-01-01); 28 February for 29 February."""
    date = EPOCH + timedelta(days=day)
    if date.month == 2 and date.day == 29:
        date = date.replace(day=28)
    # The calendar begins with year 1, and no event is older.
    return day_number(date.replace(year=date.year - 1)) if date.year > 1 else day - 365


def _table(rows: pl.DataFrame, users: pl.Series, place: pl.Expr, width: int) -> Ints:
    """Events per user (position in `users`) and place (0 to width − 1)."""
    key = pl.col("user").cast(pl.Int64) * width + place.cast(pl.Int64)
    grouped = rows.lazy().select("events", key=key).group_by("key").agg(pl.col("events").sum()).collect()
    keys = grouped["key"].to_numpy()
    table = np.zeros((users.len(), width), dtype=np.int64)
    table[users.search_sorted(pl.Series(keys // width, dtype=users.dtype)).to_numpy(), keys % width] = grouped["events"]
    return table


def _strongest(table: Ints) -> pl.Series:
    best = pl.Series(np.argmax(table, axis=1) + 1, dtype=pl.Int64)
    return best.set(pl.Series(table.sum(axis=1) == 0), None)


FAMILY = Family("seasonality", "daily", features, reads, build)
