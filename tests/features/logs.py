from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from engine.config import Columns, Config, Source, Target
from engine.events.ingest import Piece
from engine.execution.local import LocalExecutor
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from engine.rollups.bucket import Bucket, Shelf, load_bucket
from engine.rollups.ranges import KeyRange, key_ranges
from engine.rollups.rolling import Found
from engine.rollups.units import source_file, units_of
from engine.rollups.update import Wanted, find_units, update
from engine.stages import features
from engine.stages.features import bucket_rows, wanted_of
from engine.stages.preparation import _shelf
from tests.features.specs import spec_of

__all__ = ["Event", "at", "bucket_of", "features_at", "features_of", "ingested", "rolled", "spec_of", "write_source"]

COLUMNS = Columns(user_id="user", event_type="type", event_time="time", amount="amount")


class Event(NamedTuple):
    user: int | str
    type: str
    time: datetime
    """UTC."""
    amount: int | None = None
    """Minor units."""


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


def rolled(config: Config, wanted: Wanted, store: Path) -> Shelf:
    """The rollups of a log of one file, without the process that reads footers."""
    file = source_file(Path(str(config.sources[0].path)))
    rows = pl.scan_parquet(file.path, glob=False).select(pl.len()).collect().item()
    pieces = (Piece(0, file.path, 0, rows, (file.size, file.modified_ns)),)

    def opened(found: Found) -> Found:
        return replace(found, pieces=pieces, user_dtype="String")

    updated = update(
        config,
        find_units(config, units_of(0, [file], apart=True)),
        wanted,
        store=store,
        work=store.parent,
        executor=LocalExecutor("local", 1),
        open_unit=opened,
        progress=None,
    )
    return _shelf(updated.index, wanted, store, 2**31 - 1)


def ingested(events: Sequence[Event], spec: FeatureSpec, folder: Path, targets: Sequence[Target] = ()) -> Shelf:
    """The rollups of the events."""
    file = folder / "events.parquet"
    write_source(events, file, spec.currency_digits)
    config = Config(
        sources=(Source(name="log", path=str(file), columns=COLUMNS),),
        timezone=spec.timezone,
        currency_digits=spec.currency_digits,
    )
    return rolled(config, wanted_of(spec, targets), folder / "store")


def bucket_of(shelf: Shelf, as_of: date, keys: KeyRange | None = None) -> Bucket:
    return load_bucket(replace(shelf, end_day=day_number(as_of)), keys or key_ranges(1)[0])


def features_at(bucket: Bucket, as_of: date, spec: FeatureSpec) -> pl.DataFrame:
    """`user_id` and the features of a bucket."""
    built = features.features_at(bucket_rows(bucket, spec), day_number(as_of), spec)
    users = bucket.users.with_row_index("user").select("user", "user_id")
    return users.join(built, on="user", how="inner", maintain_order="right").drop("user")


def features_of(
    events: Sequence[Event], as_of: date, spec: FeatureSpec, folder: Path, *, buckets: int = 1
) -> pl.DataFrame:
    """Features of all users, one bucket after the other, sorted by user."""
    shelf = ingested(events, spec, folder)
    frames = [features_at(bucket_of(shelf, as_of, keys), as_of, spec) for keys in key_ranges(buckets)]
    return pl.concat(frames).sort("user_id")


def at(day: str, user: int | str = 1, kind: str = "purchase", amount: int | None = None) -> Event:
    """An event at a time that is written as `2024-03-31` or `2024-03-31 12:00:00`, in UTC."""
    return Event(user, kind, datetime.fromisoformat(day).replace(tzinfo=UTC), amount)
