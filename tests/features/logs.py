from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from engine.config import Columns, Source
from engine.events.ingest import IngestTask, Piece, ingest
from engine.features.build import build_features
from engine.features.spec import EventType, FeatureSpec
from engine.features.windows import day_number, midnight_us
from engine.rollups.bucket import Bucket, KeyRange, key_ranges, load_bucket
from engine.rollups.daily import daily_partials

COLUMNS = Columns(user_id="user", event_type="type", event_time="time", amount="amount")


class Event(NamedTuple):
    user: int | str
    type: str
    time: datetime
    """UTC."""
    amount: int | None = None
    """Minor units."""


def spec_of(
    names: Sequence[str] = ("purchase",), priced: Collection[str] = ("purchase",), **changes: object
) -> FeatureSpec:
    """A specification without roles but `purchase`."""
    values: dict[str, object] = {
        "types": tuple(EventType(name, name, name in priced) for name in names),
        "purchase": "purchase" if "purchase" in names else None,
        "send": None,
        "open": None,
        "click": None,
        "windows": (7, 30),
        "weights": (1,) * len(names),
        "engagement_days": 30,
        "frequency_unit": "orders",
        "timezone": "UTC",
        "currency_digits": 2,
    }
    return FeatureSpec(**{**values, **changes})  # type: ignore[arg-type]


def write_source(events: Sequence[Event], file: Path, digits: int = 2) -> None:
    users = [event.user for event in events]
    pl.DataFrame(
        {
            "user": pl.Series(users, dtype=pl.String if any(isinstance(user, str) for user in users) else pl.Int64),
            "type": pl.Series([event.type for event in events], dtype=pl.String),
            "time": pl.Series([event.time for event in events], dtype=pl.Datetime("us", "UTC")),
            "amount": pl.Series(
                [None if event.amount is None else event.amount / 10**digits for event in events], dtype=pl.Float64
            ),
        }
    ).write_parquet(file)


def ingested(events: Sequence[Event], spec: FeatureSpec, folder: Path) -> str:
    """The part that reading the events gives."""
    source, part = folder / "events.parquet", folder / "part.parquet"
    write_source(events, source, spec.currency_digits)
    ingest(
        IngestTask(
            index=0,
            sources=(Source(name="log", path=str(source), columns=COLUMNS),),
            pieces=(Piece(0, str(source), 0, len(events)),),
            types=spec.type_names,
            extras=(),
            timezone=spec.timezone,
            currency_digits=spec.currency_digits,
            as_of_us=2**62,
            mark="",
            part=str(part),
            rejects=None,
            staging=None,
        )
    )
    return str(part)


def bucket_of(part: str, as_of: date, spec: FeatureSpec, keys: KeyRange | None = None) -> Bucket:
    return load_bucket([part], keys or key_ranges(1)[0], frozenset(), midnight_us(as_of, spec.timezone))


def features_at(bucket: Bucket, as_of: date, spec: FeatureSpec) -> pl.DataFrame:
    """`user_id` and the features of a bucket."""
    daily = daily_partials(bucket.events.lazy()).collect()
    built = build_features(daily, bucket.users.height, day_number(as_of), spec)
    users = bucket.users.with_row_index("user").select("user", "user_id")
    return users.join(built, on="user", how="inner", maintain_order="right").drop("user")


def features_of(
    events: Sequence[Event], as_of: date, spec: FeatureSpec, folder: Path, *, buckets: int = 1
) -> pl.DataFrame:
    """Features of all users, one bucket after the other, sorted by user."""
    part = ingested(events, spec, folder)
    frames = [features_at(bucket_of(part, as_of, spec, keys), as_of, spec) for keys in key_ranges(buckets)]
    return pl.concat(frames).sort("user_id")


def at(day: str, user: int | str = 1, kind: str = "purchase", amount: int | None = None) -> Event:
    """An event at a time that is written as `2024-03-31` or `2024-03-31 12:00:00`, in UTC."""
    return Event(user, kind, datetime.fromisoformat(day).replace(tzinfo=UTC), amount)
