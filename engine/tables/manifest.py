"""What a run published: every file with its rows, bytes and checksum, and the counts and fingerprints behind it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

from engine.errors import IntegrityError
from engine.tables.layout import TABLES, table_path

if TYPE_CHECKING:
    import polars as pl

SCHEMA_VERSION = 1
_STRICT = ConfigDict(extra="forbid", strict=True)
_HINT = "the file was changed or damaged after it was written; restore it, or run the same date again"


@dataclass(frozen=True)
class FileRecord:
    """One Parquet file: its path relative to the output root (`/` between folders), rows, bytes and SHA-256 (hex)."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TableRecord:
    """One table of one date: totals, the schema that every file has, and its files in the order of their paths."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    path: str
    rows: int
    files: int
    bytes: int
    schema: tuple[tuple[str, str], ...]
    """Columns in order with their Polars dtypes; the partition keys are in the path and not among them."""
    records: tuple[FileRecord, ...]


@dataclass(frozen=True)
class Manifest:
    """All that was published for one date, and from what."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    run_id: str
    as_of: date
    bundle: str | None
    """The bundle that scored, as the run names it; `None` when there is none."""
    fingerprints: dict[str, str]
    """Hashes of the inputs, the configuration and the code."""
    counts: dict[str, JsonValue]
    """Events and users in and out, nested by stage."""
    tables: tuple[TableRecord, ...]
    schema_version: int = SCHEMA_VERSION


_MANIFEST = TypeAdapter(Manifest)


def dtypes_of(schema: pl.Schema | Mapping[str, pl.DataType]) -> tuple[tuple[str, str], ...]:
    """Columns and dtypes of a frame as the manifest keeps them."""
    return tuple((name, str(dtype)) for name, dtype in schema.items())


def table_record(name: str, as_of: date, schema: Sequence[tuple[str, str]], files: Iterable[FileRecord]) -> TableRecord:
    """The record of one table from the records of its files, which may come in any order.

    Raises:
        ValueError: `name` is not a table that Tamis publishes.
    """
    records = tuple(sorted(files, key=lambda record: record.path))
    return TableRecord(
        name=name,
        path=table_path(name, as_of),
        rows=sum(record.rows for record in records),
        files=len(records),
        bytes=sum(record.bytes for record in records),
        schema=tuple(schema),
        records=records,
    )


def manifest_to_json(manifest: Manifest) -> dict[str, JsonValue]:
    """The manifest as values that JSON has; equal manifests give equal text under `durable_json`."""
    values = dataclasses.asdict(manifest)
    values["as_of"] = manifest.as_of.isoformat()
    return values


def manifest_from_json(text: str | bytes, where: str) -> Manifest:
    """The manifest in `text`.

    Args:
        text: What `durable_json` wrote.
        where: The file's name, for the message.

    Raises:
        IntegrityError: It is no manifest, is of another version, or names files outside of its tables.
    """
    try:
        version = json.loads(text).get("schema_version")
        if version != SCHEMA_VERSION:
            message = f"{where}: a manifest of version {SCHEMA_VERSION} was expected, got version {version}"
            raise IntegrityError(message, code="manifest-version", hint="use the version of Tamis that wrote it")
        manifest = _MANIFEST.validate_json(text)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
        message = "\n".join([f"{where} is not a manifest:", *lines])
        raise IntegrityError(message, code="manifest-malformed", hint=_HINT) from error
    except (ValueError, AttributeError) as error:
        message = f"{where} is not a manifest: not a JSON object ({error})"
        raise IntegrityError(message, code="manifest-malformed", hint=_HINT) from error
    problems = _misplaced(manifest)
    if problems:
        message = "\n".join([f"{where} is not a manifest:", *(f"  {problem}" for problem in problems)])
        raise IntegrityError(message, code="manifest-malformed", hint=_HINT)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """The manifest in the file `path`.

    Raises:
        IntegrityError: As `manifest_from_json`.
        FileNotFoundError: There is none.
    """
    return manifest_from_json(path.read_bytes(), str(path))


def _misplaced(manifest: Manifest) -> list[str]:
    # Publishing renames and removes what a manifest names, so it may name nothing but tables of its own date.
    problems = []
    names = [table.name for table in manifest.tables]
    problems += [f"table {name!r} is listed twice" for name in sorted({n for n in names if names.count(n) > 1})]
    for table in manifest.tables:
        if table.name not in TABLES:
            problems.append(f"table {table.name!r} is not one of {', '.join(TABLES)}")
        elif table.path != table_path(table.name, manifest.as_of):
            problems.append(
                f"table {table.name!r} is at {table.path!r}, not at {table_path(table.name, manifest.as_of)!r}"
            )
        problems += [
            f"file {record.path!r} is not below {table.path!r}"
            for record in table.records
            if not record.path.startswith(f"{table.path}/") or ".." in PurePosixPath(record.path).parts
        ]
    return problems
