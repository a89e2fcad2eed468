"""Writes that are either whole and on stable storage under their name, or not there at all.

Each one goes to a temporary name in the same folder, is synced, and is then renamed.
Polars' own writers do not sync, and they truncate a good file before a write that fails (pola-rs/polars#17358).
Published files have the form of `engine.tables.parquet_file`; what the engine keeps for itself is written by Polars.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from engine.errors import TamisError
from engine.tables import disk
from engine.tables.manifest import FileRecord
from engine.tables.parquet_file import row_group_rows, write_row_groups
from engine.tables.published_types import as_published

if TYPE_CHECKING:
    import polars as pl

Compression = Literal["zstd", "lz4", "uncompressed"]
ROW_GROUP_ROWS = 250_000
_ZSTD_LEVEL = 3
_STEM = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
_NAMED_DIGITS = 12


class _HashingWriter:
    """A binary file that counts and hashes what passes, and keeps the error that Polars would wrap into its own."""

    closed = False

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._hash = hashlib.sha256()
        self.bytes = 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            self._handle.write(data)
        except OSError as error:
            self.error = error
            raise
        self._hash.update(data)
        self.bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self._handle.flush()

    def sha256(self) -> str:
        return self._hash.hexdigest()


def durable_parquet(frame: pl.DataFrame, folder: Path, stem: str, *, root: Path) -> FileRecord:
    """Writes `frame` as `<folder>/<stem>-<first 12 digits of its SHA-256>.parquet` and says what was written.

    Columns get the types of `engine.tables.published_types`.

    The name follows from the content: the same frame gives the same name and bytes, and a reader that holds an old
    listing finds the bytes it listed or nothing. The file is synced, its folder is not: call `disk.sync_folder` once
    when a folder is complete (`publish` does it for staged tables).

    Args:
        frame: Rows in the order in which they shall stand.
        folder: Made when it is not there.
        stem: Start of the name, unique in the folder. For a partitioned table it should hold a mark of the whole run,
            such as `part-00003-<8 digits of the run's fingerprint>`: then no file of one run is also a file of another,
            and a listing that was cut in two by a publish always names a file that is gone.
        root: What the path in the record is relative to; an ancestor of `folder`.

    Raises:
        ConfigError: The folder cannot be written to.
        DataError: Numbers that cannot be published.
        ResourceError: The disk is full or failing. Nothing is left behind.
    """
    frame = as_published(frame)
    # The whole frame decides, so that groups are as large in its last slice as in the first.
    groups = frame.iter_slices(row_group_rows(frame))
    return durable_row_groups(groups, frame.schema, folder, stem, root=root)


def durable_row_groups(
    groups: Iterable[pl.DataFrame], schema: pl.Schema, folder: Path, stem: str, *, root: Path
) -> FileRecord:
    """As `durable_parquet`, of frames that are made one after the other: each is a row group, and is then forgotten.

    Args:
        groups: Frames of the columns and types of `schema`.
        schema: Of the file; types of `engine.tables.published_types`.
        folder, stem, root: As for `durable_parquet`.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing. Nothing is left behind.
    """
    if _STEM.fullmatch(stem) is None:
        message = f"stem must be letters, digits, '_', '-' and '.', got {stem!r}"
        raise ValueError(message)

    def name(sha256: str) -> Path:
        return folder / f"{stem}-{sha256[:_NAMED_DIGITS]}.parquet"

    rows = 0

    def write(writer: _HashingWriter) -> None:
        nonlocal rows
        rows = write_row_groups(groups, schema, writer)

    disk.make_folder(folder)
    path, sha256, size = _write_and_rename(folder / f"{stem}.parquet", write, name)
    return FileRecord(path=path.relative_to(root).as_posix(), rows=rows, bytes=size, sha256=sha256)


def durable_parquet_at(
    frame: pl.DataFrame,
    path: Path,
    *,
    root: Path | None = None,
    row_group_rows: int = ROW_GROUP_ROWS,
    compression: Compression = "zstd",
) -> FileRecord:
    """Writes `frame` to `path` in place of what is there; for files whose name others know; the folder is synced.

    Args:
        frame: Rows in the order in which they shall stand.
        path: The file.
        root: What the path in the record is relative to; the file's folder when None.
        row_group_rows: Rows that a reader decodes at the least.
        compression: How columns are compressed.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing. What was at `path` is untouched.
    """
    disk.make_folder(path.parent)
    _, sha256, size = _write_and_rename(path, _parquet_writer(frame, row_group_rows, compression), lambda _: path)
    disk.sync_folder(path.parent)
    relative = path.relative_to(root or path.parent).as_posix()
    return FileRecord(path=relative, rows=frame.height, bytes=size, sha256=sha256)


def _parquet_writer(
    frame: pl.DataFrame, row_group_rows: int = ROW_GROUP_ROWS, compression: Compression = "zstd"
) -> Callable[[_HashingWriter], None]:
    def write(writer: _HashingWriter) -> None:
        # Chunks and their borders would show in the file.
        frame.rechunk().write_parquet(
            writer,  # type: ignore[arg-type]
            compression=compression,
            compression_level=_ZSTD_LEVEL if compression == "zstd" else None,
            statistics=True,
            row_group_size=row_group_rows,
        )

    return write


def durable_bytes(content: bytes, path: Path) -> str:
    """Writes `content` to `path`, in place of what is there, and returns its SHA-256 (hex). The folder is synced too.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing. What was at `path` is untouched.
    """

    def write(writer: _HashingWriter) -> None:
        writer.write(content)

    disk.make_folder(path.parent)
    _, sha256, _ = _write_and_rename(path, write, lambda _: path)
    disk.sync_folder(path.parent)
    return sha256


def durable_text(text: str, path: Path) -> str:
    """Writes `text` as UTF-8, as `durable_bytes`."""
    return durable_bytes(text.encode(), path)


def durable_json(value: Mapping[str, object], path: Path) -> str:
    """Writes `value` as canonical JSON (sorted keys, two spaces, one newline at the end), as `durable_bytes`.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    return durable_text(canonical_json(value), path)


def canonical_json(value: Mapping[str, object]) -> str:
    """The one text that Tamis writes for `value`: sorted keys, two spaces, one newline at the end."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _write_and_rename(
    near: Path, write: Callable[[_HashingWriter], None], name: Callable[[str], Path]
) -> tuple[Path, str, int]:
    temporary, handle = disk.create_temporary(near)
    try:
        writer = _HashingWriter(handle)
        with disk.storage_errors(near.parent), handle:
            try:
                write(writer)
            except Exception:
                if writer.error is not None:
                    raise writer.error from None
                raise
            disk.sync_file(handle, temporary)
        path = name(writer.sha256())
        disk.rename(temporary, path)
    except BaseException:
        # The first failure is the one to tell; a file that stays behind is swept by the next run.
        with suppress(TamisError, OSError):
            disk.remove_file(temporary)
        raise
    return path, writer.sha256(), writer.bytes
