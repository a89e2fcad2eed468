"""Rows on their way to a published file: kept in a run's work folder, read once, then gone.

They lie uncompressed and without a sync, as nobody needs them after a crash. Reading maps a file into memory, and looks
at the batches with the rows that are asked for alone: all columns of a batch lie together, so little else is mapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.errors import IntegrityError, TamisError
from engine.tables import disk

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


def keep_rows(frame: pl.DataFrame, path: Path) -> tuple[Piece, ...]:
    """Write rows to a work file; no piece for a frame without rows.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing. Nothing is left behind.
    """
    if frame.is_empty():
        return ()
    import pyarrow as pa

    rows = frame.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
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
    return pl.DataFrame(table)


def read_portions(piece: Piece, sizes: Sequence[int]) -> Iterator[list[pa.RecordBatch]]:
    """The rows of a piece, portion after portion; each batch of the file is read once, when its first row is needed.

    Args:
        piece: The rows.
        sizes: Rows of each portion; together those of the piece.

    Raises:
        IntegrityError: The file is gone or was changed.
    """
    at, skipped = divmod(piece.first, BATCH_ROWS)
    ahead: list[pa.RecordBatch] = []
    for rows in sizes:
        missing = rows - sum(batch.num_rows for batch in ahead)
        if missing > 0:
            end = at - (-(skipped + missing) // BATCH_ROWS)
            first, *others = _batches(piece, at, end).to_batches()
            ahead += [first.slice(skipped), *others]
            at, skipped = end, 0
        portion, ahead = _cut(ahead, rows)
        yield portion


def join_portions(portions: Iterable[list[pa.RecordBatch]]) -> pl.DataFrame:
    """Portions of pieces with equal columns, one after the other, copied once."""
    import pyarrow as pa

    return pl.DataFrame(pa.Table.from_batches([batch for portion in portions for batch in portion]).combine_chunks())


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
        with pa.memory_map(piece.path) as source:
            file = pa.ipc.open_file(source)
            if columns is not None:
                fields = [file.schema.get_field_index(name) for name in columns]
                file = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=fields))
            batches = [file.get_batch(number) for number in range(first, min(end, file.num_record_batches))]
            table = pa.Table.from_batches(batches, file.schema)
    except (OSError, pa.ArrowException) as error:
        raise _changed(piece) from error
    if first * BATCH_ROWS + table.num_rows < min(end * BATCH_ROWS, piece.first + piece.rows):
        raise _changed(piece)
    return table


def _changed(piece: Piece) -> IntegrityError:
    return IntegrityError(
        f"{piece.path} is gone or was changed during the run",
        code="work-file-changed",
        hint="Nothing was published; run the command again.",
    )
