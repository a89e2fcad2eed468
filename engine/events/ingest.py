"""Read pieces of source files into one part: canonical rows as integers, sorted by user key.

In: row ranges of source files. Out: one Parquet file per task with the good rows, one with the rejected ones, and a
record of what became of every row that was read. Parts are readable by any range of user keys.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Source
from engine.errors import DataError
from engine.events.files import hive_values
from engine.events.mapping import KEEP, REJECT, SourceMapping, map_source, stable_hash
from engine.events.schema import FIELDS, REJECT_RULES
from engine.tables.durable import durable_parquet
from engine.tables.manifest import FileRecord

ROW = "__row"
REJECT_SCHEMA: Final = pl.Schema(
    {"source": pl.String, "file": pl.String, "row": pl.Int64, "rule": pl.String, "reason": pl.String}
)
"""The `rejects` table: where a rejected row is, counted from 0 in its file, and why; never what is in it."""
ROW_GROUP_ROWS = 64_000
EXAMPLES = 3
"""Rejected rows of each source that are kept as examples."""
_VALUES = re.compile(r': \[|"')


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of one source file."""

    source: int
    """Position of the source in the configuration."""
    file: str
    start: int
    rows: int


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
        priced: Rows with an amount.
        after_as_of: Rows left out because they are at or after `as_of`.
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
    """Rows outside a source's `where`, or of an event type that is not used."""
    after_as_of: int = 0
    passed: int = 0
    rejected: dict[tuple[str, str], int] = field(default_factory=dict)
    """Rejected rows per source and rule."""
    examples: tuple[RejectExample, ...] = ()
    types: tuple[TypeCount, ...] = ()
    part: str | None = None
    reject_files: tuple[FileRecord, ...] = ()
    first_day: int | None = None
    """Smallest day (days since 1970-01-01 in the configured zone) of the rows that passed."""


def ingest(task: IngestTask) -> IngestRecord:
    """Read, map, check, encode, sort and write the rows of one task.

    Raises:
        DataError: A file that cannot be read, or whose schema does not fit the mapping.
    """
    read: dict[str, int] = {}
    left_out = 0
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
        # The lines of one order can straddle as_of; whether the order counts is decided once they are together.
        future = pl.lit(value=False) if source.same_id == "lines" else pl.col("event_time") >= task.as_of_us
        inside = inside.with_columns(type=codes)
        used = pl.col("type").is_not_null()
        types.append(_type_counts(inside, task, source, future))
        wanted = inside.filter(used)
        left_out += inside.height - wanted.height
        good.append(_encode(wanted.filter(~future), task, piece.source))
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
    counts = pl.concat(types).group_by("source", "event_type").sum().sort("source", "event_type")
    part = pl.concat(good)
    written = task.part if part.height else None
    if written is not None:
        part.sort("user_key").write_parquet(written, compression="lz4", row_group_size=ROW_GROUP_ROWS)
    return IngestRecord(
        read=read,
        left_out=left_out,
        after_as_of=int(counts["after_as_of"].sum()),
        passed=part.height,
        rejected=rejected,
        examples=examples,
        types=tuple(
            TypeCount(*row)
            for row in counts.select("source", "event_type", "rows", "priced", "after_as_of").iter_rows()
        ),
        part=written,
        reject_files=reject_files,
        first_day=part["day"].min() if part.height else None,  # type: ignore[arg-type]
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


@contextmanager
def reading(owner: str, file: str) -> Iterator[None]:
    """What goes wrong inside is told as an error that names the file, and no value of its rows.

    Args:
        owner: Whose file it is: `source 'shop'` or `contacts`.
        file: Its path.

    Raises:
        DataError: A file that cannot be read, or whose columns or values do not fit the mapping.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"{file}: {error.message}", code=error.code, hint=error.hint) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        if _is_conversion(error):
            raise DataError(
                f"{owner}: {file}: {_without_values(error)}",
                code="events-values",
                hint="TRY_CAST(… AS …) gives null for values that do not fit; rows without user or time are rejected.",
            ) from error
        raise DataError(
            f"{owner}: cannot read {file}: {_without_values(error)}",
            code="input-unreadable",
            hint="The file is damaged or was replaced while it was read; restore it or take it out of the path.",
        ) from error


def _is_conversion(error: BaseException) -> bool:
    kinds = (pl.exceptions.InvalidOperationError, pl.exceptions.ComputeError)
    return isinstance(error, kinds) and not str(error).startswith("parquet:")


def _without_values(error: BaseException) -> str:
    # The first line up to where readers list the values they tripped over.
    if isinstance(error, pl.exceptions.PanicException):
        return "its data is malformed"
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {_VALUES.split(lines[0])[0][:200]}".rstrip(": ")


def _type_counts(rows: pl.DataFrame, task: IngestTask, source: Source, future: pl.Expr) -> pl.DataFrame:
    """Rows per event type; the types in use are counted by code, which takes a tenth of the time."""
    aggregates = {
        "rows": pl.len().cast(pl.Int64),
        "priced": pl.col("amount").count().cast(pl.Int64),
        "after_as_of": future.sum().cast(pl.Int64),
    }
    names = (
        pl.DataFrame({"event_type": task.types}, schema={"event_type": pl.String})
        .with_row_index("type")
        .cast({"type": pl.UInt16})
    )
    by_code = rows.lazy().filter(pl.col("type").is_not_null()).group_by("type").agg(**aggregates).collect()
    others = rows.lazy().filter(pl.col("type").is_null()).group_by("event_type").agg(**aggregates).collect()
    columns = ["event_type", "rows", "priced", "after_as_of"]
    counted = by_code.join(names, on="type").select(columns)
    # Events of a type that is not used are left out, whenever they happened.
    unused = others.with_columns(after_as_of=pl.lit(0, pl.Int64)).select(columns)
    return pl.concat([counted, unused]).with_columns(source=pl.lit(source.name))


def scan(file: str) -> pl.LazyFrame:
    """The file's columns, plus the keys of its hive folders that the file itself does not have."""
    frame = pl.scan_parquet(file, glob=False, hive_partitioning=False, row_index_name=ROW)
    own = frame.collect_schema().names()
    keys = {key: value for key, value in hive_values(Path(file)).items() if key not in own}
    return frame.with_columns(pl.lit(value, pl.String).alias(key) for key, value in keys.items())


def source_mapping(source: Source, frame: pl.LazyFrame, currency_digits: int) -> SourceMapping:
    """The mapping of a source for one scanned file."""
    schema = {name: dtype for name, dtype in frame.collect_schema().items() if name != ROW}
    return map_source(source, schema, currency_digits)


def _read_piece(task: IngestTask, piece: Piece, source: Source) -> pl.DataFrame:
    with reading(f"source {source.name!r}", piece.file):
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
        return selected.with_columns(
            day=local_day,
            event_time=pl.col("event_time").dt.epoch("us"),
        ).collect()


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
