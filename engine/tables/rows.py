"""Rows on their way to a published file: kept in a run's work folder, read once, then gone.

They lie narrow (`engine.tables.narrow`), uncompressed and without a sync, as nobody needs them after a crash. All
columns of a batch lie together, so that the rows that are asked for are read and little else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.errors import IntegrityError, TamisError
from engine.tables import disk
from engine.tables.narrow import Change, Form, common_form, narrowed, noted, widened

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS: Final = 2_048
"""Of a work file. Fewer cost more time than they spare memory."""

_WRITTEN_BYTES: Final = 2**20


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of one work file, sorted by `user_id`, that belong to one folder of a table.

    Attributes:
        path: The file.
        first: Position of the first row in the file.
        rows: How many rows.
        partition: Folder below the table's date, such as `segment=loyal`; empty for the date's folder itself.
    """

    path: str
    first: int
    rows: int
    partition: str = ""


def keep_rows(frame: pl.DataFrame, path: Path, order: pl.Series | None = None) -> tuple[Piece, ...]:
    """Write rows to a work file; no piece for a frame without rows.

    Args:
        frame: The rows.
        path: The file.
        order: Positions of the rows in the order in which they are written, when it is not their own.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing. Nothing is left behind.
    """
    if frame.is_empty():
        return ()
    import pyarrow as pa

    narrow = narrowed(frame) if order is None else narrowed(frame)[order]
    rows = noted(narrow.rechunk().to_arrow(compat_level=pl.CompatLevel.newest()), frame.schema, narrow.schema)
    disk.make_folder(path.parent)
    temporary, handle = disk.create_temporary(path)
    try:
        with disk.storage_errors(path.parent), handle:
            # Polars writes each column of each batch by itself, which takes twice the time.
            buffered = BufferedWriter(handle, _WRITTEN_BYTES)
            with pa.ipc.new_file(buffered, rows.schema) as file:
                file.write_table(rows, max_chunksize=BATCH_ROWS)
            buffered.flush()
        disk.rename(temporary, path)
    except BaseException:
        with suppress(TamisError, OSError):
            disk.remove_file(temporary)
        raise
    return (Piece(str(path), 0, frame.height),)


def split_by(pieces: Sequence[Piece], sizes: Sequence[tuple[str, int]]) -> tuple[Piece, ...]:
    """The pieces of one file whose rows are of several partitions, one after the other.

    Args:
        pieces: What `keep_rows` returned.
        sizes: Partition and rows, in the order of the file.
    """
    found, first = [], 0
    for partition, rows in sizes:
        found += [replace(piece, first=first, rows=rows, partition=partition) for piece in pieces]
        first += rows
    return tuple(found)


def read_rows(piece: Piece, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of a piece, all columns or some.

    Raises:
        IntegrityError: The file is gone or was changed.
    """
    first, end = piece.first // BATCH_ROWS, -(-(piece.first + piece.rows) // BATCH_ROWS)
    table = _batches(piece, first, end, columns).slice(piece.first - first * BATCH_ROWS, piece.rows)
    return widened(table)


def form_of(pieces: Sequence[Piece]) -> Form:
    """The form in which the rows of pieces, all with the same columns, are joined.

    Raises:
        IntegrityError: A file is gone or was changed.
    """
    return common_form([_batches(replace(piece, rows=0), 0, 0).schema for piece in pieces])


def read_portions(piece: Piece, sizes: Sequence[int], form: Form) -> Iterator[list[pa.RecordBatch]]:
    """The rows of a piece, portion after portion; each batch of the file is read once, when its first row is needed.

    Args:
        piece: The rows.
        sizes: Rows of each portion; together those of the piece.
        form: That of the pieces they are joined with.

    Raises:
        IntegrityError: The file is gone or was changed.
    """
    at, skipped = divmod(piece.first, BATCH_ROWS)
    ahead: list[pa.RecordBatch] = []
    changes: tuple[Change, ...] | None = None
    for rows in sizes:
        missing = rows - sum(batch.num_rows for batch in ahead)
        if missing > 0:
            end = at - (-(skipped + missing) // BATCH_ROWS)
            table = _batches(piece, at, end)
            changes = form.changes(table.schema) if changes is None else changes
            first, *others = (reduce(_changed, changes, batch) for batch in table.to_batches())
            ahead += [first.slice(skipped), *others]
            at, skipped = end, 0
        portion, ahead = _cut(ahead, rows)
        yield portion


def merge_portions(portions: Iterable[list[pa.RecordBatch]], form: Form) -> pl.DataFrame:
    """Portions of pieces, sorted by `user_id`, those of the first piece first; texts may be an Enum."""
    import pyarrow as pa

    rows = pa.Table.from_batches([batch for portion in portions for batch in portion]).combine_chunks()
    return form.widened(pl.DataFrame(rows).sort("user_id", maintain_order=True))


def _changed(batch: pa.RecordBatch, change: Change) -> pa.RecordBatch:
    return change.apply(batch)


def _cut(batches: Sequence[pa.RecordBatch], rows: int) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    first, rest = [], []
    for batch in batches:
        taken = min(rows, batch.num_rows)
        first += [batch.slice(0, taken)] if taken else []
        rest += [batch.slice(taken)] if taken < batch.num_rows else []
        rows -= taken
    return first, rest


def _batches(piece: Piece, first: int, end: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Some batches of the file of a piece, which has their rows as far as they belong to the piece."""
    import pyarrow as pa

    try:
        # Mapped, a batch would bring the pages around it into memory: as much again from each of hundreds of files.
        with pa.OSFile(piece.path) as source:
            file = pa.ipc.open_file(source)
            if columns is not None:
                fields = [file.schema.get_field_index(name) for name in columns]
                file = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=fields))
            batches = [file.get_batch(number) for number in range(first, min(end, file.num_record_batches))]
            table = pa.Table.from_batches(batches, file.schema)
    except (OSError, pa.ArrowException) as error:
        raise _gone(piece) from error
    if first * BATCH_ROWS + table.num_rows < min(end * BATCH_ROWS, piece.first + piece.rows):
        raise _gone(piece)
    return table


def _gone(piece: Piece) -> IntegrityError:
    return IntegrityError(
        f"{piece.path} is gone or was changed during the run",
        code="work-file-changed",
        hint="Nothing was published; run the command again.",
    )
