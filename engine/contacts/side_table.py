"""A table that is joined to the contacts: files of Parquet or CSV with one type per column."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.config import Csv
from engine.errors import DataError
from engine.events.csv_text import read_blocks
from engine.events.files import text_kind
from engine.events.probe import read_footers
from engine.events.read import reading
from engine.events.text_types import Types, as_type, storable, type_of_text, widen_all
from engine.events.untrusted import naming_files
from engine.remote.address import RemoteFile


@dataclass(frozen=True)
class FileMark:
    """A file that was read: path or address, sha256 of its bytes, and how many there are."""

    path: str
    sha256: str
    bytes: int


def marks_of(located: Sequence[Path | RemoteFile], files: Sequence[Path]) -> tuple[FileMark, ...]:
    """What tells the files from others of the same name.

    Args:
        located: As they are named.
        files: Where each can be read.
    """
    marks = []
    for name, file in zip(located, files, strict=True):
        with reading("contacts.enrich", str(file)), file.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        marks.append(FileMark(str(name), digest, file.stat().st_size))
    return tuple(marks)


def table_schema(owner: str, files: Sequence[Path]) -> tuple[dict[str, pl.DataType], list[str]]:
    """Columns that all files have, and what tells that they are of different types.

    Args:
        owner: Whose files they are.
        files: Files of one kind.

    Raises:
        DataError: Files that cannot be read, or of a kind that is neither Parquet nor CSV.
    """
    if _is_csv(owner, files):
        return _csv_types(owner, files), []
    footers = read_footers(list(files))
    bad = [f"  {footer.file}: {footer.problem}" for footer in footers if footer.problem]
    if bad:
        raise DataError(f"{owner}: cannot read\n" + "\n".join(bad), code="input-unreadable", hint="Restore the files.")
    schemas = [_parquet_schema(owner, file) for file in files]
    common = {name: dtype for name, dtype in schemas[0].items() if all(name in schema for schema in schemas)}
    problems = [
        f"  {owner}: {name!r} is {schema[name]} in {file}, {dtype} in {files[0]}"
        for schema, file in zip(schemas, files, strict=True)
        for name, dtype in common.items()
        if schema[name] != dtype
    ]
    return common, problems


def read_table(owner: str, files: Sequence[Path], columns: Sequence[str]) -> pl.DataFrame:
    """The rows of all files, in their order.

    Args:
        owner: Whose files they are.
        files: Files that `table_schema` finds nothing wrong with.
        columns: The columns that are wanted; all files have them.

    Raises:
        DataError: A file that cannot be read.
    """
    if _is_csv(owner, files):
        types = _csv_types(owner, files)
        parts = []
        for file in files:
            with reading(owner, str(file)):
                parts += [
                    block.select(as_type(pl.col(name), types[name]) for name in columns)
                    for block in read_blocks(file, Csv())
                ]
        return pl.concat(parts)
    paths = [str(file) for file in files]
    named = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    with naming_files(owner, paths, columns), reading(owner, named):
        scan = pl.scan_parquet(paths, glob=False, hive_partitioning=False, extra_columns="ignore")
        return scan.select(columns).collect()


def _is_csv(owner: str, files: Sequence[Path]) -> bool:
    kind = text_kind(files[0])
    if kind == "jsonl":
        raise DataError(
            f"{owner}: expected Parquet or CSV files, got JSON lines",
            code="input-unreadable",
            hint="Write the table as Parquet or CSV.",
        )
    return kind == "csv"


def _parquet_schema(owner: str, file: Path) -> dict[str, pl.DataType]:
    with reading(owner, str(file)):
        return dict(pl.scan_parquet(file, glob=False, hive_partitioning=False).collect_schema())


def _csv_types(owner: str, files: Sequence[Path]) -> dict[str, pl.DataType]:
    """The columns that all files have, each in a type that holds its values in all of them."""
    types: Types = {}
    common: set[str] | None = None
    for file in files:
        own: Types = {}
        with reading(owner, str(file)):
            for block in read_blocks(file, Csv()):
                own = widen_all(own, {name: type_of_text(block[name], numbers=True) for name in block.columns})
        common = set(own) if common is None else common & set(own)
        types = widen_all(types, own)
    return {name: _kept(dtype) for name, dtype in types.items() if name in (common or ())}


def _kept(dtype: pl.DataType) -> pl.DataType:
    fitting = storable(dtype)
    # A column without a single value has no type of its own.
    return pl.String() if fitting == pl.Null else fitting


def listed(schema: Mapping[str, pl.DataType]) -> str:
    """Names and types of columns, for a hint."""
    return ", ".join(f"{name} ({dtype})" for name, dtype in schema.items())
