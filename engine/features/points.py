"""Forms of engagement beside the plain weighted count: points that decay, a logarithmic and a linear form.

- decayed: every event's weight × 2^(−age ÷ half-life) over the whole history; the last day before as_of has age 0. The
  factors are whole millionths, so that the sum is exact; after some twenty half-lives they are 0.
- logarithmic: 5 × log₂(1 + rate ÷ full rate), at most 5, which the full rate gives: the first opens count most.
- linear: 10 × purchases ÷ full number, and 10 × spend ÷ full spend, at most 10 each, in the last 182 days.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Final

import numpy as np
import polars as pl

from engine.features.columns import integer, real
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.features.totals import Totals, window_totals
from engine.features.windows import Ints
from engine.stable_math import Floats, log1p

HALF_YEAR_DAYS: Final = 182
RATE_POINTS: Final = 5
PURCHASE_POINTS: Final = 10
DECAY_SCALE: Final = 1_000_000

_DECAYED = "engagement_points_decayed"


def features(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The columns that roles and the settings of `[engagement]` allow."""
    return tuple(_features(spec))


def _features(spec: FeatureSpec) -> Iterator[Feature]:
    if spec.half_life_days is not None:
        meaning = f"Weighted count of events in the whole history, halved every {spec.half_life_days} days."
        yield real(spec, _DECAYED, "points", meaning, _weighted(spec), absent=0)
    for column, over, full in _rates(spec):
        meaning = f"{RATE_POINTS} × log₂(1 + rate ÷ {full:g}), at most {RATE_POINTS}, of the {over} per {spec.send}."
        days = spec.engagement_days
        yield real(spec, column, "points", meaning, (over, spec.send), window=days, absent=0)
    if spec.purchase is None:
        return
    types, days = (spec.purchase,), HALF_YEAR_DAYS
    if days not in spec.windows:
        name, meaning = f"{spec.slug(spec.purchase)}_count_{days}d", f"Events of type {spec.purchase}."
        yield integer(spec, name, "count", meaning, types, window=days, absent=0)
    meaning = f"{PURCHASE_POINTS} × {spec.purchase} in {days} days ÷ {spec.full_purchases}, at most {PURCHASE_POINTS}."
    yield real(spec, "engagement_purchase_points", "points", meaning, types, window=days, absent=0)
    if _spend(spec):
        full = (spec.full_amount_minor or 0) / 10**spec.currency_digits
        meaning = f"{PURCHASE_POINTS} × spend in {days} days ÷ {full:g}, from 0 to {PURCHASE_POINTS}."
        yield real(spec, "engagement_amount_points", "points", meaning, types, window=days, absent=0)


def _rates(spec: FeatureSpec) -> Iterator[tuple[str, str, float]]:
    """Column, type above the sends, and the rate that gives all points."""
    if spec.send is not None and spec.open is not None:
        yield "engagement_open_points", spec.open, spec.full_open_rate
    if spec.send is not None and spec.click is not None and spec.full_click_rate is not None:
        yield "engagement_click_points", spec.click, spec.full_click_rate


def _weighted(spec: FeatureSpec) -> tuple[str, ...]:
    return tuple(name for name, weight in zip(spec.type_names, spec.weights, strict=True) if weight)


def _spend(spec: FeatureSpec) -> bool:
    code = spec.code(spec.purchase)
    return code is not None and spec.types[code].priced and spec.full_amount_minor is not None


def reads(spec: FeatureSpec) -> Reads:
    """The types that some column is made of."""
    return Reads(frozenset(name for feature in features(spec) for name in feature.types))


def build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """The points of every user with an event that gives some; `user` and the columns of `features`."""
    codes = [spec.code(name) for name in reads(spec).types]
    totals = window_totals(rows, as_of_day, {spec.engagement_days, HALF_YEAR_DAYS}, codes)
    columns: dict[str, Ints | Floats | pl.Series] = {"user": totals.users}
    if spec.half_life_days is not None:
        columns[_DECAYED] = _decayed(rows, totals.users, as_of_day, spec, spec.half_life_days)
    for column, over, full in _rates(spec):
        columns[column] = _log_points(totals, spec.code(over), spec.code(spec.send), full, spec.engagement_days)
    code = spec.code(spec.purchase)
    if spec.purchase is not None:
        half_year = totals.within(HALF_YEAR_DAYS)
        bought, spent = totals.events(code)[:, half_year], totals.amounts(code)[:, half_year]
        columns[f"{spec.slug(spec.purchase)}_count_{HALF_YEAR_DAYS}d"] = bought
        columns["engagement_purchase_points"] = _linear(bought, spec.full_purchases)
        columns["engagement_amount_points"] = _linear(spent, spec.full_amount_minor or 1)
    return pl.DataFrame(columns).select("user", *(feature.name for feature in features(spec)))


def _decayed(rows: pl.DataFrame, users: pl.Series, as_of_day: int, spec: FeatureSpec, half_life: int) -> Floats:
    factors = decay_factors(half_life)
    weights = np.array(spec.weights, dtype=np.int64)
    aged = rows.filter(pl.col("day") >= as_of_day - len(factors)).filter(
        pl.col("type").is_in([code for code, weight in enumerate(spec.weights) if weight])
    )
    ages = as_of_day - 1 - aged["day"].cast(pl.Int64).to_numpy()
    points = aged["events"].to_numpy() * weights[aged["type"].to_numpy()] * factors[ages]
    summed = (
        pl.DataFrame({"user": aged["user"], "points": points}).group_by("user").agg(pl.col("points").sum()).sort("user")
    )
    total = np.zeros(users.len(), dtype=np.int64)
    total[users.search_sorted(summed["user"]).to_numpy()] = summed["points"].to_numpy()
    return total / DECAY_SCALE


def decay_factors(half_life: int) -> Ints:
    """10⁶ × 2^(−age ÷ half-life) as whole numbers, by age in days, down to the last that is not 0."""
    with localcontext(prec=40):
        # Decimal powers are rounded alike on every machine; those of floats are not.
        within = [Decimal(2) ** (Decimal(-age) / half_life) for age in range(half_life)]
        halvings = range(DECAY_SCALE.bit_length() + 1)
        factors = [round(DECAY_SCALE * part / 2**times) for times in halvings for part in within]
    return np.trim_zeros(np.array(factors, dtype=np.int64), "b")


def _log_points(totals: Totals, over: int | None, sent: int | None, full: float, days: int) -> Floats:
    place = totals.within(days)
    above, below = totals.events(over)[:, place], totals.events(sent)[:, place]
    rate = above / np.maximum(below, 1)
    points = RATE_POINTS * log1p(rate / full) / log1p(1.0)
    return np.where(below == 0, 0.0, np.minimum(points, RATE_POINTS))


def _linear(value: Ints, full: int) -> Floats:
    return np.clip(value, 0, full) * PURCHASE_POINTS / full


FAMILY = Family("engagement_forms", "daily", features, reads, build)
