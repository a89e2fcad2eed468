"""What is kept of a unit's events: sums by user, type and day, the events that are wanted one by one, and counts.

In: rows of which every user is complete, without repeats. Out: frames of integers, sorted by user key, and the numbers
of rows by type and day.
"""

from __future__ import annotations

import polars as pl

from engine.events.duplicates import Merged
from engine.features.money import major_units
from engine.rollups.index import DayCount
from engine.rollups.work import RollSettings


def daily_partials(events: pl.DataFrame, settings: RollSettings) -> pl.DataFrame:
    """`user_key`, `check`, `type`, `day`, `events`, `amount_minor`: one row per user, type and day, sorted by these."""
    frames = [events.lazy().select("user_key", "check", "type", "day", "n", "amount")]
    for code, parent, expression, names in _conditions(settings):
        chosen = events.lazy().filter(pl.col("type") == parent)
        if "amount" in names:
            chosen = chosen.with_columns(
                __minor="amount", amount=major_units(pl.col("amount"), settings.currency_digits)
            )
            chosen = chosen.filter(expression).drop("amount").rename({"__minor": "amount"})
        else:
            chosen = chosen.filter(expression)
        frames.append(
            chosen.select("user_key", "check", "day", "n", "amount", type=pl.lit(code, pl.UInt16)).select(
                "user_key", "check", "type", "day", "n", "amount"
            )
        )
    days = events["day"] if events.height else pl.Series([0])
    first, last = int(days.min()), int(days.max())  # type: ignore[arg-type]
    if last - first >= 1 << 20 or max(settings.coded, default=0) >= 1 << 12:
        sums = (pl.col("n").sum().alias("events"), pl.col("amount").sum().alias("amount_minor"))
        wide = pl.concat(frames).group_by("user_key", "check", "type", "day").agg(*sums).collect()
        return wide.sort("user_key", "check", "type", "day")
    # Two integers group twice as fast as four columns.
    offset = (pl.col("day") - pl.lit(first, pl.Int32)).cast(pl.UInt64)
    packed = pl.col("check").cast(pl.UInt64) * (1 << 32) + pl.col("type").cast(pl.UInt64) * (1 << 20) + offset
    grouped = (
        pl.concat(frames)
        .select("user_key", "n", "amount", packed=packed)
        .group_by("user_key", "packed")
        .agg(events=pl.col("n").sum(), amount_minor=pl.col("amount").sum())
        .collect()
    )
    # Sorted here and not in the query: the streaming engine takes four times as long for it.
    return grouped.sort("user_key", "packed").select(
        "user_key",
        "events",
        "amount_minor",
        check=(pl.col("packed") // (1 << 32)).cast(pl.UInt32),
        type=(pl.col("packed") // (1 << 20) % (1 << 12)).cast(pl.UInt16),
        day=(pl.col("packed") % (1 << 20)).cast(pl.Int32) + pl.lit(first, pl.Int32),
    )


def single_events(merged: Merged, settings: RollSettings) -> pl.DataFrame | None:
    """`user_key`, `type`, `day`, `time`, `n` and the columns that are wanted, sorted by key and time; or None."""
    if not settings.event_types:
        return None
    codes = [code for name, code in settings.plain().items() if name in settings.event_types]
    columns = [name for name in settings.event_columns if name != "order"]
    single = merged.lines.filter(pl.col("type").is_in(codes)).select(
        "user_key", "type", "day", "time", "n", *(["event_id"] if "order" in settings.event_columns else []), *columns
    )
    if "order" in settings.event_columns:
        single = single.rename({"event_id": "order"})
    return single.sort("user_key", "time", *(name for name in single.columns if name not in {"user_key", "time"}))


def day_counts(partials: pl.DataFrame, merged: Merged, settings: RollSettings) -> tuple[DayCount, ...]:
    """Good rows by event type and day, and what became of them.

    Args:
        partials: As `daily_partials` gives them.
        merged: The rows that they were made of.
        settings: Of the source.
    """
    plain = list(settings.plain().values())
    by = ("type", "day")
    kept = partials.filter(pl.col("type").is_in(plain)).group_by(by).agg(kept=pl.col("events").sum())
    priced = (
        merged.events.filter(pl.col("amount").is_not_null() & (pl.col("n") > 0))
        .group_by(by)
        .agg(priced=pl.len().cast(pl.Int64), zero=(pl.col("amount") == 0).sum().cast(pl.Int64))
    )
    counts = (
        kept.join(merged.dropped, on=by, how="full", coalesce=True)
        .join(priced, on=by, how="full", coalesce=True)
        .with_columns(pl.exclude(by).fill_null(0))
        .sort(by)
    )
    return tuple(
        DayCount(settings.codes[code].event_type, day, kept + duplicates + lines, kept, duplicates, lines, priced, zero)
        for code, day, kept, duplicates, lines, priced, zero in counts.select(
            *by, "kept", "duplicates", "lines", "priced", "zero"
        ).iter_rows()
    )


def _conditions(settings: RollSettings) -> list[tuple[int, int, pl.Expr, tuple[str, ...]]]:
    """The derived codes with the code of the event type that they are taken from."""
    plain = settings.plain()
    return [
        (code, plain[settings.codes[code].event_type], expression, names)
        for code, expression, names in settings.derived()
    ]
