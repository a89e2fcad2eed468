"""Facts of a user's life with the brand: first and last day, pauses, returns, active weeks and months.

An active day has at least one event of any type, as in `active_days`. A pause is the number of days from one active day
to the next. An action is an event by which a user shows interest: of any type but sends, bounces, opt-outs, spam
complaints and refunds, and not of a machine.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from engine.features.columns import integer, log_types, purposes
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.rollups.packed import pack_user_day, unpack_day, unpack_user

_MONDAY = 3
"""1970-01-01 was a Thursday: 3 days after a Monday."""


def features(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The columns; every specification has them."""
    return tuple(_features(spec))


def _features(spec: FeatureSpec) -> Iterator[Feature]:
    short, long, pause = spec.windows[0], spec.windows[-1], spec.reactivated_after_days
    agreed = purposes((), spec)
    yield Feature("first_seen", pl.Date(), "date", "Day of the first event.", purposes=agreed)
    yield Feature("last_seen", pl.Date(), "date", "Day of the last event.", purposes=agreed)
    meaning = "Most days from one active day to the next; null with a single active day."
    yield integer(spec, "longest_pause_days", "days", meaning, ())
    meaning = f"1 when an active day of the window came {pause} days or more after the active day before it; else 0."
    yield integer(spec, f"reactivated_{short}d", "flag", meaning, (), window=short, absent=0)
    meaning = f"Days from the last active day that came {pause} days or more after the one before it, to as_of."
    yield integer(spec, "days_since_reactivation", "days", f"{meaning[:-1]}; null when there is none.", ())
    yield integer(spec, f"active_weeks_{long}d", "count", "ISO weeks with an active day.", (), window=long, absent=0)
    yield integer(
        spec, f"active_months_{long}d", "count", "Calendar months with an active day.", (), window=long, absent=0
    )
    meaning = "1 when the first event is in the window; else 0."
    yield integer(spec, f"new_user_{short}d", "flag", meaning, (), window=short, absent=0)
    actions = action_types(spec)
    meaning = "Days from the day of the last action (no send, bounce, opt-out, complaint, refund, nothing of a machine)"
    meaning = f"{meaning} to as_of; null when there is none."
    yield integer(spec, "days_since_last_action", "days", meaning, actions)
    meaning = "Days between the last two days with an action; null with fewer than two."
    yield integer(spec, "last_action_pause_days", "days", meaning, actions)


def action_types(spec: FeatureSpec) -> tuple[str, ...]:
    """The event types that are actions."""
    others = {spec.send, spec.bounce, spec.unsubscribe, spec.complaint, spec.refund}
    return tuple(name for name in log_types(spec) if name not in others)


def reads(spec: FeatureSpec) -> Reads:
    """All types."""
    return Reads(frozenset(spec.type_names))


def build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """The facts of every user with a row; `user` and the columns of `features`."""
    short, long = spec.windows[0], spec.windows[-1]
    day, date = pl.col("day"), pl.col("day").cast(pl.Date)
    days = _days(rows)
    same = (pl.col("user") == pl.col("user").shift(1)).fill_null(value=False)
    days = days.with_columns(
        week=(day + _MONDAY) // 7,
        month=date.dt.year() * 12 + date.dt.month().cast(pl.Int32),
        gap=pl.when(same).then(day - day.shift(1)),
    )
    inside = day >= as_of_day - long
    # Days come sorted: a week or month begins where the active day before it is another's or lies before the window.
    begins = ~(same & (day.shift(1) >= as_of_day - long)).fill_null(value=False)
    days = days.with_columns(
        new_week=inside & (begins | (pl.col("week") != pl.col("week").shift(1))),
        new_month=inside & (begins | (pl.col("month") != pl.col("month").shift(1))),
        returned=pl.when(pl.col("gap") >= spec.reactivated_after_days).then(day),
    )
    facts = days.group_by("user").agg(
        first=day.min(),
        last=day.max(),
        longest=pl.col("gap").max(),
        returned=pl.col("returned").max(),
        weeks=pl.col("new_week").sum(),
        months=pl.col("new_month").sum(),
    )
    actions = rows.filter(pl.col("type").is_in([spec.code(name) for name in action_types(spec)]))
    last = _days(actions).with_columns(pause=pl.when(same).then(day - day.shift(1)))
    last = last.filter((pl.col("user") != pl.col("user").shift(-1)).fill_null(value=True))
    facts = facts.join(last.select("user", "pause", acted="day"), on="user", how="left")
    return facts.sort("user").select(
        "user",
        pl.col("first").cast(pl.Date).alias("first_seen"),
        pl.col("last").cast(pl.Date).alias("last_seen"),
        pl.col("longest").cast(pl.Int64).alias("longest_pause_days"),
        (pl.col("returned") >= as_of_day - short).fill_null(value=False).cast(pl.Int64).alias(f"reactivated_{short}d"),
        (as_of_day - pl.col("returned").cast(pl.Int64)).alias("days_since_reactivation"),
        pl.col("weeks").cast(pl.Int64).alias(f"active_weeks_{long}d"),
        pl.col("months").cast(pl.Int64).alias(f"active_months_{long}d"),
        (pl.col("first") >= as_of_day - short).cast(pl.Int64).alias(f"new_user_{short}d"),
        (as_of_day - pl.col("acted").cast(pl.Int64)).alias("days_since_last_action"),
        pl.col("pause").cast(pl.Int64).alias("last_action_pause_days"),
    )


def _days(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(key=pack_user_day()).unique().sort("key").select(unpack_user("key"), unpack_day("key"))


FAMILY = Family("lifecycle", "daily", features, reads, build)
