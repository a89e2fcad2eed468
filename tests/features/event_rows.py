from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl

from engine.features.feature import Family
from engine.features.spec import EventType, FeatureSpec
from engine.features.windows import day_number

SCHEMA = {
    "user": pl.UInt32,
    "type": pl.UInt16,
    "day": pl.Int32,
    "time": pl.Int64,
    "n": pl.Int64,
    "amount": pl.Int64,
    "quantity": pl.Int64,
    "duration_ms": pl.Int64,
    "order": pl.UInt64,
    "item_id": pl.String,
    "category": pl.String,
    "page": pl.String,
    "promotion": pl.String,
}
COLUMNS = ("event_id", "amount", "quantity", "duration_ms", "item_id", "category", "page", "promotion")
Values = dict[str, object]


@dataclass(frozen=True)
class Row:
    """One source row as the families on events are given it; the day comes from the time."""

    user: int
    type: str
    time: int
    n: int = 1
    amount: int | None = None
    quantity: int | None = None
    duration_ms: int | None = None
    order: int | None = None
    item_id: str | None = None
    category: str | None = None
    page: str | None = None
    promotion: str | None = None


def spec_of(*types: str, priced: Iterable[str] = (), **changes: object) -> FeatureSpec:
    """A specification with windows of 2 and 7 days and every canonical column, without roles."""
    names = set(priced)
    values: Values = {
        "types": tuple(EventType(name, name, name in names) for name in types),
        **dict.fromkeys(("purchase", "send", "open", "click")),
        "windows": (2, 7),
        "weights": (1,) * len(types),
        "engagement_days": 7,
        "frequency_unit": "orders",
        "timezone": "UTC",
        "currency_digits": 2,
        "columns": COLUMNS,
    }
    return FeatureSpec(**{**values, **changes})  # type: ignore[arg-type]


def instant(text: str) -> int:
    """µs since 1970 of a UTC time written as `2024-03-31 12:00`."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


def local(time: int, spec: FeatureSpec) -> datetime:
    return datetime.fromtimestamp(time // 1_000_000, UTC).astimezone(ZoneInfo(spec.timezone))


def day_of(row: Row, spec: FeatureSpec) -> int:
    return day_number(local(row.time, spec).date())


def frame_of(rows: Sequence[Row], spec: FeatureSpec) -> pl.DataFrame:
    columns: dict[str, list[object]] = {field.name: [getattr(row, field.name) for row in rows] for field in fields(Row)}
    columns["type"] = [spec.code(row.type) for row in rows]
    columns["day"] = [day_of(row, spec) for row in rows]
    return pl.DataFrame(columns, schema=SCHEMA)


def built(family: Family, rows: Sequence[Row], as_of: str | int, spec: FeatureSpec) -> dict[int, Values]:
    """The family's features by user, from the rows of its types and the columns that it asks for."""
    as_of_day = day_number(date.fromisoformat(as_of)) if isinstance(as_of, str) else as_of
    reads = family.reads(spec)
    asked = frame_of([row for row in rows if row.type in reads.types], spec)
    asked = asked.select("user", "type", "day", "time", "n", *sorted(reads.columns))
    frame = family.build(asked, as_of_day, spec)
    features = family.features(spec)
    expected = pl.Schema({"user": pl.UInt32(), **{feature.name: feature.dtype for feature in features}})
    assert frame.schema == expected
    assert frame["user"].to_list() == sorted(set(frame["user"].to_list()))
    backwards = family.build(asked.reverse(), as_of_day, spec)
    assert backwards.equals(frame)
    return {int(row.pop("user")): row for row in frame.to_dicts()}


def with_absent(found: dict[int, Values], users: Iterable[int], family: Family, spec: FeatureSpec) -> dict[int, Values]:
    """`found`, with what users without rows get."""
    absent: Values = {feature.name: feature.absent for feature in family.features(spec)}
    return {user: found.get(user, absent) for user in users}


def in_window(day: int, as_of_day: int, window: int) -> bool:
    return as_of_day - window <= day < as_of_day


def over(above: int, below: int) -> float | None:
    return above / below if below > 0 else None
