"""Whether the files of a table are exactly those that its record lists."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import polars as pl

from engine.errors import IntegrityError
from engine.tables import disk
from engine.tables.durable import sha256_of
from engine.tables.layout import SUCCESS, is_partition
from engine.tables.manifest import FileRecord, TableRecord, dtypes_of

_SHOWN = 20


def verify_table(root: Path, table: TableRecord, *, deep: bool = False) -> None:
    """Checks files, sizes, row counts, schema and partition names of one table below `root`.

    Args:
        root: An output root, or a work folder with staged tables.
        table: What should be there.
        deep: Also read every file and compare its SHA-256; without it a changed byte inside a file goes unnoticed.

    Raises:
        IntegrityError: Something is missing, left over or different; all of it is named.
    """
    problems = table_problems(root, table, deep=deep)
    if problems:
        shown = [f"  {problem}" for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            shown.append(f"  … and {len(problems) - _SHOWN} more")
        message = "\n".join([f"table {table.name} in {root} does not match its manifest:", *shown])
        hint = "the files were changed after they were written; run the same date again"
        raise IntegrityError(message, code="table-mismatch", hint=hint)


def table_problems(root: Path, table: TableRecord, *, deep: bool = False) -> list[str]:
    """As `verify_table`, but returns what is wrong, one line each; empty when the table is whole."""
    problems, sizes = listing_problems(root, table)
    for record in sorted(table.records, key=lambda record: record.path):
        if record.path in sizes:
            problems += file_problems(root, table, record, sizes[record.path], deep=deep)
    return problems


def listing_problems(root: Path, table: TableRecord) -> tuple[list[str], dict[str, int]]:
    """What is wrong with the totals and the names of a table's files; and the bytes of those that are there."""
    problems = _totals(table)
    listed = {record.path: record for record in table.records}
    on_disk = {f"{table.path}/{name}": size for name, size in disk.list_files(root / table.path).items()}
    if not on_disk.get(success := f"{table.path}/{SUCCESS}", 1):
        del on_disk[success]
    problems += [f"missing: {path}" for path in sorted(listed.keys() - on_disk.keys())]
    problems += [f"not in the manifest: {path}" for path in sorted(on_disk.keys() - listed.keys())]
    return problems, {path: size for path, size in on_disk.items() if path in listed}


def file_problems(root: Path, table: TableRecord, record: FileRecord, size: int, *, deep: bool) -> list[str]:
    """What is wrong with one file of a table that is there with `size` bytes."""
    path = record.path
    problems = _partition_names(table, path)
    if size != record.bytes:
        problems.append(f"{path}: {record.bytes} bytes expected, {size} found")
    elif deep and sha256_of(root / path) != record.sha256:
        problems.append(f"{path}: the content differs from its SHA-256")
    else:
        problems += _footer(root / path, record, table.schema)
    return problems


def _totals(table: TableRecord) -> list[str]:
    records = table.records
    problems = []
    if not records:
        problems.append("no files are listed; a table without rows has one file without rows, or is left out")
    for what, total, found in (
        ("rows", table.rows, sum(record.rows for record in records)),
        ("files", table.files, len({record.path for record in records})),
        ("bytes", table.bytes, sum(record.bytes for record in records)),
    ):
        if total != found:
            problems.append(f"{total} {what} are stated, its files add up to {found}")
    return problems


def _partition_names(table: TableRecord, path: str) -> list[str]:
    folders = PurePosixPath(path).relative_to(table.path).parts[:-1]
    return [f"{path}: {folder!r} is not a partition folder" for folder in folders if not is_partition(folder)]


def _footer(path: Path, record: FileRecord, schema: tuple[tuple[str, str], ...]) -> list[str]:
    # Arrow reads the footer first: on a damaged one it raises, where Polars may panic or abort the process.
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    try:
        rows = read_metadata(path).num_rows
        found = dtypes_of(pl.read_parquet_schema(path))
    except (OSError, ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return [f"{record.path}: not readable as Parquet ({type(error).__name__})"]
    problems = []
    if rows != record.rows:
        problems.append(f"{record.path}: {record.rows} rows expected, {rows} found")
    if found != schema:
        problems.append(f"{record.path}: columns {_columns(schema)} expected, {_columns(found)} found")
    return problems


def _columns(schema: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in schema)
