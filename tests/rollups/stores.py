"""A log of small files and a store over it, updated without the process that reads footers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from engine.config import Checks, Columns, Config, Execution, Source
from engine.events.ingest import Piece
from engine.events.record import IngestRecord
from engine.execution.local import LocalExecutor
from engine.features.build import build_features
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from engine.rollups.bucket import Bucket, Shelf, load_bucket
from engine.rollups.index import Code, Index
from engine.rollups.ranges import key_ranges
from engine.rollups.rolling import Found
from engine.rollups.totals import ingested
from engine.rollups.units import source_file, units_of
from engine.rollups.update import Updated, Wanted, find_units, update
from engine.stages import preparation
from tests.features.specs import spec_of

HERE = LocalExecutor("local", 1)
ZERO = datetime(2026, 3, 1, tzinfo=UTC)
DAY_ZERO = day_number(ZERO.date())
AS_OF = date(2026, 4, 1)
SCHEMA = {
    "user": pl.String,
    "type": pl.String,
    "time": pl.Datetime("us", "UTC"),
    "id": pl.String,
    "amount": pl.Float64,
    "category": pl.String,
}
COLUMNS: Mapping[str, Any] = {
    "user_id": "user",
    "event_type": "type",
    "event_time": "time",
    "event_id": "id",
    "amount": "amount",
    "category": "category",
}
BUYS = Wanted((Code("buy"),))


def at(day: float, minute: float = 0) -> datetime:
    """A time on a day counted from `ZERO`."""
    return ZERO + timedelta(days=day, minutes=minute)


def label(day: int) -> str:
    """The folder of a day."""
    return at(day).date().isoformat()


def rows(*given: tuple[object, ...]) -> pl.DataFrame:
    """Rows of user, type, time, id, amount and category; what is left off is null."""
    return pl.DataFrame([(*row, *[None] * (len(SCHEMA) - len(row))) for row in given], SCHEMA, orient="row")


def put(log: Path, name: str, *given: tuple[object, ...]) -> Path:
    """A file of the log; its name without the suffix, such as `2026-03-01/a`."""
    file = log / f"{name}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows(*given).write_parquet(file)
    return file


def source_of(log: Path, name: str = "log", columns: Mapping[str, Any] | None = None, **fields: Any) -> Source:
    return Source(name=name, path=str(log), columns=Columns(**{**COLUMNS, **(columns or {})}), **fields)


def config_of(*sources: Source, rows_per_task: int = 1000, **fields: Any) -> Config:
    return Config(
        sources=sources,
        **{"checks": Checks(max_reject_share=1), "execution": Execution(rows_per_task=rows_per_task), **fields},
    )


def found_in(config: Config) -> tuple[Found, ...]:
    """The units of the log."""
    units = []
    for position, source in enumerate(config.sources):
        files = [source_file(file) for file in sorted(Path(str(source.path)).rglob("*.parquet"))]
        units += units_of(position, files, apart=source.columns.event_id is None)
    return find_units(config, units)


def opened(found: Found) -> Found:
    """The unit with its rows."""
    pieces = []
    for file in found.unit.files:
        height = pl.scan_parquet(file.path, glob=False, hive_partitioning=False).select(pl.len()).collect().item()
        pieces.append(Piece(found.unit.source, file.path, 0, height, (file.size, file.modified_ns)))
    return replace(found, pieces=tuple(pieces), user_dtype="String")


def bring(
    config: Config,
    store: Path,
    wanted: Wanted = BUYS,
    *,
    links: pl.DataFrame | None = None,
    found: Sequence[Found] | None = None,
    executor: LocalExecutor = HERE,
    check: Callable[[Index], None] = lambda _: None,
) -> Updated:
    """Update a store."""
    work = store.with_name(f"{store.name}-work")
    work.mkdir(parents=True, exist_ok=True)
    return update(
        config,
        found_in(config) if found is None else found,
        wanted,
        store=store,
        work=work,
        executor=executor,
        open_unit=opened,
        progress=None,
        links=links,
        check=check,
    )


def shelf_of(updated: Updated, store: Path, wanted: Wanted = BUYS, as_of: date = AS_OF) -> Shelf:
    """Where the rows of a store are."""
    return preparation._shelf(updated.index, wanted, store, day_number(as_of))


def bucket_of(updated: Updated, store: Path, wanted: Wanted = BUYS, as_of: date = AS_OF) -> Bucket:
    """All users of a store with their rows."""
    return load_bucket(shelf_of(updated, store, wanted, as_of), key_ranges(1)[0])


def partials(bucket: Bucket, wanted: Wanted = BUYS) -> dict[tuple[str, str, int], tuple[int, int]]:
    """Events and amount by user, name of the code and day, counted from `ZERO`."""
    names = [code.event_type + ("" if code.where is None else f" {code.where}") for code in wanted.codes]
    found: dict[tuple[str, str, int], tuple[int, int]] = {}
    users = bucket.users["user_id"].to_list()
    for user, kind, day, events, amount in bucket.daily.iter_rows():
        key = (users[user], names[kind], day - DAY_ZERO)
        before = found.get(key, (0, 0))
        found[key] = (before[0] + events, before[1] + amount)
    return found


def singles(bucket: Bucket, wanted: Wanted) -> list[tuple[object, ...]]:
    """User, type, time, n and the columns of the single events, in a fixed order."""
    if bucket.events is None:
        return []
    names = [code.event_type for code in wanted.codes]
    users = bucket.users["user_id"].to_list()
    columns = bucket.events.select("user", "type", "time", "n", *wanted.event_columns)
    return sorted(
        ((users[user], names[kind], ZERO + timedelta(microseconds=time - DAY_ZERO * 86_400_000_000), *others)
         for user, kind, time, *others in columns.iter_rows()),
        key=repr,
    )  # fmt: skip


def spec_for(wanted: Wanted) -> FeatureSpec:
    """Features of what is wanted, all of it with amounts, and RFM of the first."""
    names = [f"t{position}" for position in range(len(wanted.codes))]
    return spec_of(names, names, purchase=names[0])


def features(bucket: Bucket, wanted: Wanted = BUYS, as_of: date = AS_OF) -> pl.DataFrame:
    """The features of all users, by user."""
    built = build_features(bucket.daily, bucket.users.height, day_number(as_of), spec_for(wanted))
    users = bucket.users.with_row_index("user").select("user", "user_id")
    return users.join(built, on="user", how="inner").drop("user").sort("user_id")


def totals(updated: Updated, wanted: Wanted = BUYS, as_of: date = AS_OF) -> IngestRecord:
    """What became of the rows."""
    return ingested(updated.index.entries, day_number(as_of), {code.event_type for code in wanted.codes})


def stored(store: Path) -> dict[str, bytes]:
    """Every file of a store and its bytes."""
    files = sorted(file for file in store.rglob("*") if file.is_file())
    return {file.relative_to(store).as_posix(): file.read_bytes() for file in files}
