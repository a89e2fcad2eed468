"""The table `quality`: one row per measurement of a run, of its sources, contacts, enrichments and of the whole.

Grain and key: scope, name, metric, column, day. Values of other dates are not in it: a back-fill would change them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

SCHEMA: Final = pl.Schema(
    {
        "scope": pl.String,
        "name": pl.String,
        "metric": pl.String,
        "column": pl.String,
        "day": pl.Date,
        "value": pl.Float64,
        "numerator": pl.Int64,
        "denominator": pl.Int64,
        "status": pl.String,
    }
)
KEY: Final = ("scope", "name", "metric", "column", "day")
SCOPES: Final = ("source", "contacts", "enrichment", "run")
STATUSES: Final = ("none", "ok", "warn", "stop")
"""No limit, a limit that is kept, and one that is broken; the last of them that holds."""

Key = tuple[str, str, str, str | None]


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Attributes:
        scope: `source`, `contacts`, `enrichment` or `run`.
        name: The source, `contacts`, the enrichment, or `run`.
        metric: What is measured; docs/quality.md defines each.
        column: The column or rule; None for the whole.
        value: The share `numerator` / `denominator`, or `numerator` where there is no denominator; None of nothing.
        numerator, denominator: What the value is made of.
        day: The day that it is about (days since 1970-01-01); None for the whole.
        previous: The value of the published date before, for limits on changes; None without. Not in the table.
        status: Of `STATUSES`.
    """

    scope: str
    name: str
    metric: str
    column: str | None
    numerator: int
    denominator: int | None = None
    day: int | None = None
    previous: float | None = None
    status: str = "none"

    @property
    def key(self) -> Key:
        """What it measures, on whatever date."""
        return self.scope, self.name, self.metric, self.column

    @property
    def value(self) -> float | None:
        """The share or the number."""
        if self.denominator is None:
            return float(self.numerator)
        return self.numerator / self.denominator if self.denominator else None

    @property
    def change(self) -> float | None:
        """The change against the value before, as a share of it; None without one, and of 0."""
        if self.value is None or not self.previous:
            return 0.0 if self.value == 0 and self.previous == 0 else None
        return (self.value - self.previous) / abs(self.previous)


def with_previous(measured: Iterable[Measured], before: dict[Key, float]) -> list[Measured]:
    """Measurements beside the values of an earlier date; those of single days have none."""
    return [one if one.day is not None else replace(one, previous=value_of(one.key, before)) for one in measured]


def value_of(key: Key, values: Mapping[Key, float]) -> float | None:
    """One of the values of a date; a rule that rejected nothing then is not among them, and has 0."""
    scope, name, metric, _ = key
    is_rejecting = metric == "reject_share" and (scope, name, "invalid_share", None) in values
    return values.get(key, 0.0 if is_rejecting else None)


def frame(measured: Iterable[Measured]) -> pl.DataFrame:
    """The table, sorted by scope, name, metric, column and day; what is about no day comes first."""
    rows = [
        (
            one.scope,
            one.name,
            one.metric,
            one.column,
            one.day,
            one.value,
            one.numerator,
            one.denominator,
            one.status,
        )
        for one in sorted(measured, key=_order)
    ]
    return pl.DataFrame(rows, {**SCHEMA, "day": pl.Int32}, orient="row").with_columns(pl.col("day").cast(pl.Date))


def values(table: pl.DataFrame) -> dict[Key, float]:
    """The values of a published table by what they measure, those of single days apart."""
    whole = table.filter(pl.col("day").is_null() & pl.col("value").is_not_null())
    return {
        (scope, name, metric, column): value
        for scope, name, metric, column, value in whole.select(*KEY[:-1], "value").iter_rows()
    }


def _order(one: Measured) -> tuple[int, str, str, str, bool, int]:
    return SCOPES.index(one.scope), one.name, one.metric, one.column or "", one.day is not None, one.day or 0
