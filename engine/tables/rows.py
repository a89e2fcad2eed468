"""Rows on their way to a published file: kept in a run's work folder, read once, then gone.

They lie uncompressed and without a sync, as nobody needs them after a crash. Reading maps them into memory: of a file
only the rows that are looked at are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from engine.errors import IntegrityError, TamisError
from engine.tables import disk

if TYPE_CHECKING:
    import pyarrow as pa


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
    disk.make_folder(path.parent)
    temporary, handle = disk.create_temporary(path)
    try:
        with disk.storage_errors(path.parent), handle:
            frame.rechunk().write_ipc(handle, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
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
    table = _mapped(piece)
    return pl.DataFrame(table if columns is None else table.select(list(columns)))


def read_slices(pieces: Sequence[Piece]) -> pl.DataFrame:
    """The rows of several pieces of equal columns, one after the other, copied once.

    Raises:
        IntegrityError: A file is gone or was changed.
    """
    import pyarrow as pa

    return pl.DataFrame(pa.concat_tables([_mapped(piece) for piece in pieces]).combine_chunks())


def _mapped(piece: Piece) -> pa.Table:
    import pyarrow as pa

    try:
        with pa.memory_map(piece.path) as mapped:
            table = pa.ipc.open_file(mapped).read_all()
    except (OSError, pa.ArrowException) as error:
        raise _changed(piece) from error
    if table.num_rows < piece.first + piece.rows:
        raise _changed(piece)
    return table.slice(piece.first, piece.rows)


def _changed(piece: Piece) -> IntegrityError:
    return IntegrityError(
        f"{piece.path} is gone or was changed during the run",
        code="work-file-changed",
        hint="Nothing was published; run the command again.",
    )
