"""Open a source file lazily, and tell what goes wrong while it is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from engine.config import Source
from engine.errors import DataError, IntegrityError, ResourceError, TransientError
from engine.events.files import hive_values
from engine.events.mapping import SourceMapping, map_source
from engine.system_errors import system_error
from engine.tables.disk import storage_error

ROW = "__row"
"""The column with a row's number in its file, counted from 0."""
Stamp = tuple[int, int]
"""Size in bytes and time of change (ns since 1970 UTC) of a file."""
# Readers list the values they tripped over, and how many there were in the chunk that one thread had.
_VALUES = re.compile(r': \[|"| for \d+ out of \d+ values')


def scan(file: str) -> pl.LazyFrame:
    """The file's columns, plus the keys of its hive folders that the file itself does not have."""
    # Damaged minima and maxima would hide rows without a word; and every query must decode a damaged page alike, with
    # a filter or without, which "auto" and "prefiltered" do not.
    frame = pl.scan_parquet(
        file, glob=False, hive_partitioning=False, row_index_name=ROW, use_statistics=False, parallel="row_groups"
    )
    own = frame.collect_schema().names()
    keys = {key: value for key, value in hive_values(Path(file)).items() if key not in own}
    return frame.with_columns(pl.lit(value, pl.String).alias(key) for key, value in keys.items())


def source_mapping(source: Source, frame: pl.LazyFrame, currency_digits: int) -> SourceMapping:
    """The mapping of a source for one scanned file."""
    schema = {name: dtype for name, dtype in frame.collect_schema().items() if name != ROW}
    return map_source(source, schema, currency_digits)


@contextmanager
def reading(owner: str, file: str) -> Iterator[None]:
    """What goes wrong inside is told as an error that names the file, and no value of its rows.

    Args:
        owner: Whose file it is: `source 'shop'` or `contacts`.
        file: Its path.

    Raises:
        DataError: A file that cannot be read, or whose columns or values do not fit the mapping.
        ResourceError: A failing disk, or a limit of the system.
        TransientError: Storage that does not answer.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"{file}: {error.message}", code=error.code, hint=error.hint) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        failure = storage_failure(error, owner, file)
        if failure is not None:
            raise failure from error
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


def storage_failure(error: BaseException, owner: str, file: str) -> ResourceError | TransientError | None:
    """What a failed read says of the storage; None when the file itself is at fault."""
    failed = system_error(error)
    known = None if failed is None else storage_error(failed, Path(file).parent)
    if failed is None or not isinstance(known, ResourceError | TransientError):
        return None
    return type(known)(f"{owner}: cannot read {file}: {failed.strerror}", code=known.code, hint=known.hint)


@contextmanager
def unchanged(owner: str, file: str, stamp: Stamp | None) -> Iterator[None]:
    """Check that a file is, before and after what happens inside, the one whose footer was read.

    Args:
        owner: Whose file it is, for the message.
        file: Its path.
        stamp: Of the file when its footer was read; None to check nothing.

    Raises:
        IntegrityError: It was replaced, written to or removed.
    """
    _compare(owner, file, stamp)
    try:
        yield
    except DataError:
        # A file that changes under its reader looks damaged.
        _compare(owner, file, stamp)
        raise
    _compare(owner, file, stamp)


def _compare(owner: str, file: str, stamp: Stamp | None) -> None:
    if stamp is None:
        return
    with reading(owner, file):
        try:
            now = Path(file).stat()
        except FileNotFoundError as error:
            raise input_changed(f"{owner}: {file} was removed") from error
    if (now.st_size, now.st_mtime_ns) != stamp:
        raise input_changed(f"{owner}: {file} was replaced or written to")


def input_changed(what: str) -> IntegrityError:
    """The error of a run whose input is not what it was when the run began."""
    return IntegrityError(
        f"the input changed during the run: {what}",
        code="input-changed",
        hint="Nothing was published; run the command again when the files are complete.",
    )


def _is_conversion(error: BaseException) -> bool:
    kinds = (pl.exceptions.InvalidOperationError, pl.exceptions.ComputeError)
    return isinstance(error, kinds) and not str(error).startswith("parquet:")


def _without_values(error: BaseException) -> str:
    # The first line up to where readers list the values they tripped over.
    if isinstance(error, pl.exceptions.PanicException):
        return "its data is malformed"
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {_VALUES.split(lines[0])[0][:200]}".rstrip(": ")
