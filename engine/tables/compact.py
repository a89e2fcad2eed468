"""The files of a table are made from the rows of all buckets: a few large ones, each sorted by user.

Every bucket has a few rows of every segment, and as many files as buckets times segments would cost readers, warehouses
and the disk more than their rows. So tasks keep their rows in work files (`engine.tables.rows`), and when all are there
each partition is cut into files of about 128 MiB: what Snowflake, BigQuery, Redshift and Spark ask for.

A file is merged range by range of user ids: every work file is sorted, so the rows of a range are one slice of each.
In memory are the ids of a file, one row group, and of each work file the batch that comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from io import BytesIO
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final

import polars as pl

from engine.execution.journal import note_gone
from engine.execution.protocol import Executor
from engine.execution.sizes import merging_size
from engine.tables import disk
from engine.tables.durable import durable_row_groups
from engine.tables.layout import table_folder
from engine.tables.manifest import FileRecord, TableRecord, dtypes_of, table_record
from engine.tables.parquet_file import row_group_rows, write_row_groups
from engine.tables.rows import Piece, form_of, keep_rows, merge_portions, read_portions, read_rows, split_by

FILE_BYTES: Final = 128 * 2**20
"""What a file should have, compressed; one that a partition is cut into has two thirds to four thirds of it."""

ROWS_FOLDER: Final = "_rows"
"""Folder of a run's work folder."""

_SAMPLE_ROWS: Final = 50_000


@dataclass(frozen=True)
class Unpublished:
    """The rows of one table, sorted by user within each piece.

    Attributes:
        name: The table.
        pieces: The rows of all buckets, in the order of the buckets.
        mark: Part of every file name of the run.
    """

    name: str
    pieces: tuple[Piece, ...]
    mark: str


@dataclass(frozen=True)
class CompactTask:
    """One file to write: pieces of one partition that become `<folder>/<stem>-….parquet` below `staging`."""

    pieces: tuple[Piece, ...]
    folder: str
    stem: str
    group_rows: int
    staging: str


@dataclass(frozen=True)
class SampleTask:
    """The largest piece of a table, to be measured."""

    piece: Piece


@dataclass(frozen=True)
class Sample:
    """What some rows of a table say of the files it needs.

    Attributes:
        schema: Its columns and their types.
        bytes_per_row: Of a file.
        group_rows: Rows of a row group.
    """

    schema: pl.Schema
    bytes_per_row: float
    group_rows: int


def keep_for(
    table: str, bucket: int, frame: pl.DataFrame, staging: Path, *, order: pl.Series | None = None
) -> tuple[Piece, ...]:
    """The rows of one bucket, to be published by `compact`.

    Args:
        table: The table.
        bucket: Number of the bucket.
        frame: Rows sorted by `user_id`, with types of `engine.tables.published_types`.
        staging: Work folder of the run.
        order: Positions of the rows in the order in which they are kept, when it is not their own.
    """
    return keep_rows(frame, staging / ROWS_FOLDER / table / f"{bucket:05d}.arrow", order)


def keep_partitions(
    table: str, bucket: int, frame: pl.DataFrame, key: str, folder_of: Callable[[str], str], staging: Path
) -> tuple[Piece, ...]:
    """As `keep_for`, of a table with a folder per value of the column `key`, which is left out of the files.

    Args:
        table, bucket, frame, staging: As for `keep_for`.
        key: Column that tells the partition.
        folder_of: Name of a value's folder.
    """
    # Numbers of the few values are sorted in a third of the time of their texts.
    ranks = pl.Enum(frame[key].drop_nulls().unique().sort())
    order = frame.select(pl.arg_sort_by(pl.col(key).cast(ranks).to_physical(), maintain_order=True)).to_series()
    sizes = frame[key][order].rle().struct.unnest()
    pieces = keep_for(table, bucket, frame.drop(key), staging, order=order)
    return split_by(pieces, [(folder_of(str(value)), rows) for rows, value in sizes.iter_rows()])


def compact(
    tables: Sequence[Unpublished],
    as_of: date,
    *,
    staging: Path,
    executor: Executor,
    file_bytes: int = FILE_BYTES,
    on_done: Callable[[FileRecord], None] | None = None,
) -> tuple[TableRecord, ...]:
    """Write the files of tables from their rows, and remove the rows; a table without rows is left out.

    The same pieces give the same files on any executor. A bucket is never cut: its rows of a partition are in one file.

    Args:
        tables: The tables, each once.
        as_of: Day of the run.
        staging: Work folder of the run.
        executor: Where the files are written, a task each.
        file_bytes: About how large a file should be.
        on_done: Called with each file as it is written.

    Raises:
        IntegrityError: A work file was changed.
        ResourceError: The disk is full or failing.
    """
    filled = [table for table in tables if table.pieces]
    samples = [
        SampleTask(max(table.pieces, key=lambda piece: (piece.rows, piece.path, piece.first))) for table in filled
    ]
    found = executor.map(measure_sample, samples, small=True)
    planned = [
        (sample.schema, _plan(table, sample, as_of, staging, file_bytes))
        for table, sample in zip(filled, found, strict=True)
    ]
    tasks = [task for _, own in planned for task in own]
    sizes = [merging_size(sum(piece.rows for piece in task.pieces)) for task in tasks]
    files = iter(executor.map(compact_file, tasks, on_done=on_done, small=True, sizes=sizes))
    records = tuple(
        table_record(table.name, as_of, dtypes_of(schema), [next(files) for _ in own])
        for table, (schema, own) in zip(filled, planned, strict=True)
    )
    gone = sorted({Path(piece.path) for table in filled for piece in table.pieces})
    note_gone(executor, gone, [staging / file.path for table in records for file in table.records])
    for path in gone:
        disk.remove_file(path)
    return records


def measure_sample(task: SampleTask) -> Sample:
    """What the files of a table can be planned with, from its largest piece.

    Raises:
        IntegrityError: A work file was changed.
    """
    rows = read_rows(task.piece).head(_SAMPLE_ROWS)
    return Sample(rows.schema, _bytes_per_row(rows), row_group_rows(rows))


def compact_file(task: CompactTask) -> FileRecord:
    """Write one file.

    Raises:
        IntegrityError: A work file was changed.
        ResourceError: The disk is full or failing.
    """
    schema = read_rows(replace(task.pieces[0], rows=0)).schema
    return durable_row_groups(
        _merged(task.pieces, task.group_rows), schema, Path(task.folder), task.stem, root=Path(task.staging)
    )


def _plan(table: Unpublished, sample: Sample, as_of: date, staging: Path, file_bytes: int) -> list[CompactTask]:
    rows_per_file = max(1, int(file_bytes // sample.bytes_per_row))
    root = table_folder(staging, table.name, as_of)
    by_partition = sorted(table.pieces, key=lambda piece: piece.partition)
    return [
        CompactTask(
            pieces=pieces,
            folder=str(root / partition) if partition else str(root),
            stem=f"part-{number:05d}-{table.mark}",
            group_rows=sample.group_rows,
            staging=str(staging),
        )
        for partition, own in groupby(by_partition, key=lambda piece: piece.partition)
        for number, pieces in enumerate(_cut(list(own), rows_per_file))
    ]


def _bytes_per_row(rows: pl.DataFrame) -> float:
    written = BytesIO()
    write_row_groups([rows], rows.schema, written)
    return written.tell() / rows.height


def _cut(pieces: Sequence[Piece], rows_per_file: int) -> Iterator[tuple[Piece, ...]]:
    """Consecutive pieces in portions as equal as whole pieces allow."""
    total = sum(piece.rows for piece in pieces)
    files = min(max(1, round(total / rows_per_file)), len(pieces))
    ends, before = [], 0
    for piece in pieces:
        # A piece belongs to the file in which its middle lies.
        ends.append(min(files - 1, files * (2 * before + piece.rows) // (2 * total)))
        before += piece.rows
    for _, own in groupby(zip(ends, pieces, strict=True), key=lambda each: each[0]):
        yield tuple(piece for _, piece in own)


def _merged(pieces: Sequence[Piece], group_rows: int) -> Iterator[pl.DataFrame]:
    ranges = _ranges([read_rows(piece, ["user_id"])["user_id"] for piece in pieces], group_rows)
    form = form_of(pieces)
    streams = [read_portions(piece, sizes, form) for piece, sizes in zip(pieces, ranges, strict=True)]
    for portions in zip(*streams, strict=True):
        yield merge_portions(portions, form)


def _ranges(ids: Sequence[pl.Series], group_rows: int) -> list[list[int]]:
    """How many rows of each sorted column of ids each row group takes."""
    everyone = pl.concat(ids).sort()
    # A user's rows stay together: groups end where a user ends.
    starts = everyone.gather_every(group_rows).unique().sort()
    places = [[*column.search_sorted(starts, side="left").to_list(), column.len()] for column in ids]
    return [[end - start for start, end in pairwise(own)] for own in places]
