"""What a mapped source holds: its event types with their counts, the days it covers, and the rows it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from engine.config import Source
from engine.errors import DataError
from engine.events.files import find_files
from engine.events.mapping import SourceMapping
from engine.events.read import ROW, reading, scan, source_mapping
from engine.events.sample import different_files


@dataclass(frozen=True)
class Survey:
    """Rows of a source, over all files.

    Attributes:
        types: Rows that are kept per event type, the most frequent first.
        users: Distinct users per event type.
        first_day: Day (UTC) of the first event.
        last_day: Day (UTC) of the last event.
        rows: All rows of the files.
        left_out: Rows that the source's `where` leaves out.
        failing: Rows that do not satisfy each of the given conditions; a row can be in several.
        rejected: Rows inside `where` that have no user, type or time, or one that cannot be used.
        all_users: Distinct users of all rows.
        lost_users: Distinct users without any row that is kept.
    """

    types: dict[str, int]
    users: dict[str, int]
    first_day: date
    last_day: date
    rows: int = 0
    left_out: int = 0
    failing: tuple[int, ...] = ()
    rejected: int = 0
    all_users: int = 0
    lost_users: int = 0


def survey_source(source: Source, conditions: Sequence[str] = ()) -> Survey:
    """Read a source once and count.

    Args:
        source: The source.
        conditions: The parts of its `where`, to count the rows that fail each.

    Raises:
        ConfigError: No file matches, or the files have different columns.
        DataError: A mapping that does not fit, a file that cannot be read, or no usable row.
    """
    files = find_files(source.name, source.path)
    rows = pl.concat([_flagged(frame, mapping, conditions) for frame, mapping in _mapped(source, files)])
    good = pl.col("keep") & ~pl.col("reject")
    by_type = (
        rows.filter(good)
        .group_by("event_type")
        .agg(
            rows=pl.len(),
            users=pl.col("user_id").n_unique(),
            first=pl.col("event_time").min(),
            last=pl.col("event_time").max(),
        )
        .sort(["rows", "event_type"], descending=[True, False])
    )
    totals = rows.select(
        rows=pl.len(),
        left_out=(~pl.col("keep")).sum(),
        rejected=(pl.col("keep") & pl.col("reject")).sum(),
        all_users=pl.col("user_id").drop_nulls().n_unique(),
        kept_users=pl.col("user_id").filter(good).n_unique(),
        **{name: (~pl.col(name)).sum() for name in _names(conditions)},
    )
    with reading(f"source {source.name!r}", "one of its files"):
        counted, total = pl.collect_all([by_type, totals])
    if counted.is_empty():
        message = f"source {source.name!r}: no row has a user, an event type and a time"
        raise DataError(message, code="events-empty", hint="Name other columns: --user, --type, --time.")
    [sums] = total.to_dicts()
    return Survey(
        types=dict(counted.select("event_type", "rows").iter_rows()),
        users=dict(counted.select("event_type", "users").iter_rows()),
        first_day=counted["first"].dt.date().min(),  # type: ignore[arg-type]
        last_day=counted["last"].dt.date().max(),  # type: ignore[arg-type]
        rows=sums["rows"],
        left_out=sums["left_out"],
        failing=tuple(sums[name] for name in _names(conditions)),
        rejected=sums["rejected"],
        all_users=sums["all_users"],
        lost_users=sums["all_users"] - sums["kept_users"],
    )


def _mapped(source: Source, files: Sequence[Path]) -> list[tuple[pl.LazyFrame, SourceMapping]]:
    """Each file with its mapping; files that need mappings of their own are refused."""
    found: list[tuple[pl.LazyFrame, SourceMapping]] = []
    first: dict[str, pl.DataType] = {}
    for file in files:
        with reading(f"source {source.name!r}", str(file)):
            frame = scan(str(file))
            schema = {name: dtype for name, dtype in frame.collect_schema().items() if name != ROW}
        different = different_files([(files[0], first), (file, schema)]) if found and schema != first else None
        try:
            with reading(f"source {source.name!r}", str(file)):
                mapping = source_mapping(source, frame, currency_digits=2)
        except DataError as error:
            if different is None or error.code != "events-columns":
                raise
            raise different from error
        if different is not None and mapping.user_dtype != found[0][1].user_dtype:
            raise different
        first = first or schema
        found.append((frame, mapping))
    return found


def _flagged(frame: pl.LazyFrame, mapping: SourceMapping, conditions: Sequence[str]) -> pl.LazyFrame:
    return frame.select(
        *(mapping.canonical[name].alias(name) for name in ("user_id", "event_type", "event_time")),
        keep=mapping.keep,
        reject=mapping.reject != 0,
        **{
            name: pl.sql_expr(condition).fill_null(value=False)
            for name, condition in zip(_names(conditions), conditions, strict=True)
        },
    )


def _names(conditions: Sequence[str]) -> list[str]:
    return [f"condition {index}" for index in range(len(conditions))]
