"""The quality of the data over published dates, for people: one line per measurement, and the rows of each day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from engine.errors import ConfigError
from engine.quality.published import over_dates
from engine.quality.reconcile import OUTCOMES, READ
from engine.quality.table import Key, value_of, values
from engine.suggest import did_you_mean, some_of

MOST_DATES = 30
"""Dates of a trend: the last so many."""


@dataclass(frozen=True)
class Line:
    """One measurement of a date, and what it was on the dates before.

    Attributes:
        scope, name, metric, column: What is measured.
        value: Of the date; None where there was nothing to measure.
        previous: Of the published date before; None without.
        change: Against `previous`, as a share of it; None without, and of 0.
        status: Of the limits, as it was when the run was made.
        trend: Value by published date, the date itself last; None where a date has none.
    """

    scope: str
    name: str
    metric: str
    column: str | None
    value: float | None
    previous: float | None
    change: float | None
    status: str
    trend: tuple[tuple[date, float | None], ...]


@dataclass(frozen=True)
class Trends:
    """The quality of the data as of a published date.

    Attributes:
        as_of: The date.
        lines: By scope, name, metric and column.
        days: `source`, `day`, `read` and a column per outcome: where the rows of each day went.
    """

    as_of: date
    lines: tuple[Line, ...]
    days: pl.DataFrame


def trends(out: Path, as_of: date, source: str | None = None, metric: str | None = None) -> Trends:
    """What was measured of the data of a published date, and of the dates before it.

    Args:
        out: The output root.
        as_of: A published date.
        source: The source, `contacts`, the enrichment or `run`; all when None.
        metric: The metric; all when None.

    Raises:
        ConfigError: The date has no table of quality, or nothing of the source or metric.
        IntegrityError: A manifest is damaged.
    """
    tables = dict(over_dates(out, as_of, MOST_DATES))
    there = [day.isoformat() for day in reversed(tables)]
    if as_of not in tables:
        raise ConfigError(
            f"the quality of the data of {as_of} was not published",
            code="quality-none",
            hint=f"Dates that it was published of, the last first: {some_of(there)}."
            if there
            else "Run the date again.",
        )
    table = tables[as_of]
    whole = table.filter(pl.col("day").is_null())
    _check("--source", source, whole["name"].unique().sort())
    _check("--metric", metric, whole["metric"].unique().sort())
    wanted = [
        row for row in whole.iter_rows(named=True) if source in (None, row["name"]) and metric in (None, row["metric"])
    ]
    if not wanted:
        raise ConfigError(
            f"{metric} of {source} is not measured",
            code="quality-unknown",
            hint=f"Measured of {source}: {', '.join(_metrics(whole, source))}.",
        )
    by_date = [(day, values(found)) for day, found in tables.items()]
    return Trends(as_of, tuple(_line(row, by_date) for row in wanted), _days(table, source))


def _metrics(whole: pl.DataFrame, source: str | None) -> Iterable[str]:
    return whole.filter(pl.col("name") == source)["metric"].unique().sort().to_list()


def _check(option: str, name: str | None, known: pl.Series) -> None:
    names = known.to_list()
    if name is not None and name not in names:
        raise ConfigError(
            f"{option}: nothing is measured of {name!r}{did_you_mean(name, names)}",
            code="quality-unknown",
            hint=f"There are: {', '.join(names)}.",
        )


def _line(row: dict[str, object], by_date: Sequence[tuple[date, dict[Key, float]]]) -> Line:
    key = (
        str(row["scope"]),
        str(row["name"]),
        str(row["metric"]),
        None if row["column"] is None else str(row["column"]),
    )
    trend = tuple((day, value_of(key, found)) for day, found in by_date)
    value, previous = trend[-1][1], trend[-2][1] if len(trend) > 1 else None
    change = None
    if value is not None and previous is not None and (previous or value == 0):
        change = (value - previous) / abs(previous) if previous else 0.0
    return Line(*key, value, previous, change, str(row["status"]), trend)


def _days(table: pl.DataFrame, source: str | None) -> pl.DataFrame:
    rows = table.filter(pl.col("day").is_not_null())
    rows = rows if source is None else rows.filter(pl.col("name") == source)
    names = {READ: "read", **{f"rows_{outcome}": outcome for outcome in OUTCOMES}}
    wide = rows.group_by(source="name", day="day").agg(
        **{
            short: pl.col("numerator").filter(pl.col("metric") == name).sum().alias(short)
            for name, short in names.items()
        }
    )
    return wide.sort("source", "day")
