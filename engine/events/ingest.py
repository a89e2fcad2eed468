"""Read pieces of source files into one part: canonical rows as integers, sorted by user key.

In: row ranges of source files. Out: one Parquet file per task with the good rows, one with the rejected ones, and a
record of what became of every row that was read. Parts are readable by any range of user keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Source
from engine.events.mapping import KEEP, REJECT, stable_hash
from engine.events.read import ROW, Stamp, input_changed, reading, scan, source_mapping, unchanged
from engine.events.schema import FIELDS, REJECT_RULES
from engine.rollups.parts import write_part
from engine.tables.durable import durable_parquet
from engine.tables.manifest import FileRecord

REJECT_SCHEMA: Final = pl.Schema(
    {"source": pl.String, "file": pl.String, "row": pl.Int64, "rule": pl.String, "reason": pl.String}
)
"""The `rejects` table: where a rejected row is, counted from 0 in its file, and why; never what is in it."""
EXAMPLES = 3
"""Rejected rows of each source that are kept as examples."""
LISTED_TYPES = 1_000
"""Event types not in use that a task counts by name; the most frequent ones."""


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of one source file."""

    source: int
    """Position of the source in the configuration."""
    file: str
    start: int
    rows: int
    stamp: Stamp | None = None
    """Of the file when its footer was read; None when that is not to be checked."""


@dataclass(frozen=True)
class IngestTask:
    """What one ingest task reads and where it writes.

    Attributes:
        index: Position of the task; names its files.
        types: The event types to keep; the position is the code in the part.
        extras: Canonical columns to carry beside time, type and amount.
        as_of_us: Events at or after this instant (µs since 1970 UTC) belong to the future.
        rejects: Folder for rejected rows, below `staging`; None to only count them.
        part: The part to write; None to only count.
        mark: Part of the name of every published file.
    """

    index: int
    sources: tuple[Source, ...]
    pieces: tuple[Piece, ...]
    types: tuple[str, ...]
    extras: tuple[str, ...]
    timezone: str
    currency_digits: int
    as_of_us: int
    part: str | None
    rejects: str | None
    staging: str | None
    mark: str


@dataclass(frozen=True)
class TypeCount:
    """Good rows of one event type in one source, whether or not they are used later.

    Attributes:
        rows: All of them.
        priced: Rows before `as_of` with an amount.
        after_as_of: Rows at or after `as_of`, by their own time even where they are lines of an order.
    """

    source: str
    event_type: str
    rows: int
    priced: int
    after_as_of: int


@dataclass(frozen=True)
class RejectExample:
    """Where a rejected row is; never what is in it."""

    source: str
    file: str
    row: int
    rule: str


@dataclass(frozen=True)
class IngestRecord:
    """What became of the rows of one task: read = left_out + rejected + after_as_of + passed."""

    read: dict[str, int] = field(default_factory=dict)
    """Rows read, per source."""
    left_out: int = 0
    """Rows outside a source's `where`, or before `as_of` and of an event type that is not used."""
    after_as_of: int = 0
    passed: int = 0
    rejected: dict[tuple[str, str], int] = field(default_factory=dict)
    """Rejected rows per source and rule."""
    examples: tuple[RejectExample, ...] = ()
    types: tuple[TypeCount, ...] = ()
    """Every type in use, and of the others the `LISTED_TYPES` most frequent ones of a task."""
    unlisted: int = 0
    """Good rows of the remaining types."""
    missing_types: tuple[str, ...] = ()
    """Types in use that no row before `as_of` has; known of a whole run only."""
    part: str | None = None
    reject_files: tuple[FileRecord, ...] = ()
    first_day: int | None = None
    """Smallest day (days since 1970-01-01 in the configured zone) of the rows that passed."""
    last_day: int | None = None
    """Largest day of those of them before `as_of`."""


def ingest(task: IngestTask) -> IngestRecord:
    """Read, map, check, encode, sort and write the rows of one task.

    Raises:
        DataError: A file that cannot be read, or whose schema does not fit the mapping.
        IntegrityError: A file that changed since its footer was read.
        TransientError: Storage that does not answer.
    """
    read: dict[str, int] = {}
    left_out = after_as_of = 0
    rejected: dict[tuple[str, str], int] = {}
    rejects: list[pl.DataFrame] = []
    types: list[pl.DataFrame] = []
    good: list[pl.DataFrame] = []
    codes = pl.col("event_type").replace_strict(
        list(task.types), list(range(len(task.types))), default=None, return_dtype=pl.UInt16
    )
    for piece in task.pieces:
        source = task.sources[piece.source]
        rows = _read_piece(task, piece, source)
        read[source.name] = read.get(source.name, 0) + rows.height
        inside = rows.filter(KEEP)
        left_out += rows.height - inside.height
        bad = inside.filter(pl.col(REJECT) != 0)
        if bad.height:
            rejects.append(_rejects(bad, source, piece))
            for rule, count in rejects[-1].group_by("rule").len().iter_rows():
                rejected[source.name, rule] = rejected.get((source.name, rule), 0) + count
            inside = inside.filter(pl.col(REJECT) == 0)
        inside = inside.with_columns(type=codes)
        is_future = pl.col("event_time") >= task.as_of_us
        types.append(_type_counts(inside, task, source, is_future))
        used = pl.col("type").is_not_null()
        # The lines of one order can straddle as_of; whether the order counts is decided once they are together.
        past = inside.filter(~is_future | used if source.same_id == "lines" else ~is_future)
        after_as_of += inside.height - past.height
        wanted = past.filter(used)
        left_out += past.height - wanted.height
        good.append(_encode(wanted, task, piece.source))
    examples = first_examples(
        RejectExample(*row)
        for frame in rejects
        for row in frame.select("source", "file", "row", "rule").head(EXAMPLES).iter_rows()
    )
    reject_files: tuple[FileRecord, ...] = ()
    if rejects and task.rejects is not None and task.staging is not None:
        frame = pl.concat(rejects).sort("source", "file", "row")
        stem = f"part-{task.index:05d}-{task.mark}"
        reject_files = (durable_parquet(frame, Path(task.rejects), stem, root=Path(task.staging)),)
    listed, unlisted = _listed(pl.concat(types))
    part = pl.concat(good)
    written = task.part if part.height else None
    if written is not None:
        write_part(part.sort("user_key"), written)
    return IngestRecord(
        read=read,
        left_out=left_out,
        after_as_of=after_as_of,
        passed=part.height,
        rejected=rejected,
        examples=examples,
        types=listed,
        unlisted=unlisted,
        part=written,
        reject_files=reject_files,
        first_day=part["day"].min() if part.height else None,  # type: ignore[arg-type]
        last_day=part.filter(pl.col("time") < task.as_of_us)["day"].max(),  # type: ignore[arg-type]
    )


def first_examples(examples: Iterable[RejectExample]) -> tuple[RejectExample, ...]:
    """The first examples of each source."""
    taken: Counter[str] = Counter()
    first = []
    for example in examples:
        taken[example.source] += 1
        if taken[example.source] <= EXAMPLES:
            first.append(example)
    return tuple(first)


def _type_counts(rows: pl.DataFrame, task: IngestTask, source: Source, is_future: pl.Expr) -> pl.DataFrame:
    """Rows per event type; the types in use are counted by code, which takes a tenth of the time."""
    aggregates = {
        "rows": pl.len().cast(pl.Int64),
        "priced": (pl.col("amount").is_not_null() & ~is_future).sum().cast(pl.Int64),
        "after_as_of": is_future.sum().cast(pl.Int64),
    }
    names = (
        pl.DataFrame({"event_type": task.types}, schema={"event_type": pl.String})
        .with_row_index("type")
        .cast({"type": pl.UInt16})
    )
    by_code = rows.lazy().filter(pl.col("type").is_not_null()).group_by("type").agg(**aggregates).collect()
    others = rows.lazy().filter(pl.col("type").is_null()).group_by("event_type").agg(**aggregates).collect()
    columns = ["event_type", *aggregates]
    counted = by_code.join(names, on="type").select(*columns, used=pl.lit(value=True))
    unused = others.select(*columns, used=pl.lit(value=False))
    return pl.concat([counted, unused]).with_columns(source=pl.lit(source.name))


def _listed(types: pl.DataFrame) -> tuple[tuple[TypeCount, ...], int]:
    """The types to name, and the rows of those that are too many to name."""
    counts = types.group_by("source", "event_type", "used").sum()
    unused = counts.filter(~pl.col("used")).sort(
        "rows", "source", "event_type", descending=[True, False, False], nulls_last=True
    )
    named = pl.concat([counts.filter("used"), unused.head(LISTED_TYPES)]).sort("source", "event_type")
    rows = named.select("source", "event_type", "rows", "priced", "after_as_of").iter_rows()
    return tuple(TypeCount(*row) for row in rows), int(unused["rows"].slice(LISTED_TYPES).sum())


def _read_piece(task: IngestTask, piece: Piece, source: Source) -> pl.DataFrame:
    owner = f"source {source.name!r}"
    with unchanged(owner, piece.file, piece.stamp), reading(owner, piece.file):
        frame = scan(piece.file)
        mapping = source_mapping(source, frame, task.currency_digits)
        columns = ["user_id", "event_type", "event_time", "event_id", "amount", *task.extras]
        selected = frame.slice(piece.start, piece.rows).select(
            pl.col(ROW),
            mapping.keep.alias(KEEP),
            mapping.reject.alias(REJECT),
            *(
                (mapping.canonical[name] if name in mapping.canonical else pl.lit(None, _dtype(name))).alias(name)
                for name in dict.fromkeys(columns)
            ),
        )
        local_day = pl.col("event_time").dt.convert_time_zone(task.timezone).dt.date().cast(pl.Int32)
        rows = selected.with_columns(
            day=local_day,
            event_time=pl.col("event_time").dt.epoch("us"),
        ).collect()
    if rows.height != piece.rows:
        raise input_changed(
            f"{owner}: {piece.file} has {rows.height} rows from row {piece.start} on; its footer promised {piece.rows}"
        )
    return rows


def _dtype(name: str) -> pl.DataType | None:
    return next(field.dtype for field in FIELDS if field.name == name)


def _rejects(bad: pl.DataFrame, source: Source, piece: Piece) -> pl.DataFrame:
    codes = list(range(1, len(REJECT_RULES) + 1))
    return bad.select(
        source=pl.lit(source.name),
        file=pl.lit(piece.file),
        row=pl.col(ROW).cast(pl.Int64),
        rule=pl.col(REJECT).replace_strict(codes, [rule.name for rule in REJECT_RULES], return_dtype=pl.String),
        reason=pl.col(REJECT).replace_strict(codes, [rule.reason for rule in REJECT_RULES], return_dtype=pl.String),
    )


def _encode(rows: pl.DataFrame, task: IngestTask, source: int) -> pl.DataFrame:
    return rows.select(
        user_key=stable_hash(pl.col("user_id")),
        user_id=pl.col("user_id"),
        source=pl.lit(source, pl.UInt16),
        type=pl.col("type"),
        day=pl.col("day"),
        time=pl.col("event_time"),
        event_id=pl.col("event_id"),
        amount=pl.col("amount"),
        **{name: pl.col(name) for name in task.extras if name != "amount"},
    )
