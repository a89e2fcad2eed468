"""One table of one date, as it is published locally and shall stand in a table format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

from engine.errors import ConfigError, IntegrityError
from engine.tables.layout import decode_partition
from engine.tables.manifest import FileRecord, TableRecord

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_CHANGED: Final = "schema-changed"
"""Code of the error for a column whose type has changed, here as when it is published."""

_CHUNK = 1 << 20
_MARK_BITS = 63


@dataclass(frozen=True)
class Part:
    """What replaces a date in a table of the format.

    Attributes:
        table: Name of the table in the format.
        as_of: The date.
        run_id: The run that published it.
        root: The output root that its files lie under.
        record: The published files; None when the date has no rows and is taken out of the table.
    """

    table: str
    as_of: date
    run_id: str
    root: Path
    record: TableRecord | None

    @cached_property
    def mark(self) -> int:
        """Hash of the run's id and of all contents, 63 bits: equal marks, equal rows."""
        record = self.record
        files = None if record is None else [(one.path, one.rows, one.sha256) for one in record.records]
        text = json.dumps([self.run_id, None if record is None else record.schema, files])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> (64 - _MARK_BITS)

    @property
    def rows(self) -> int:
        """The published rows."""
        return 0 if self.record is None else self.record.rows

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """The published files."""
        return () if self.record is None else self.record.records

    @property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns: `as_of`, and those that are folders below it."""
        keys = tuple(self.values(self.files[0])) if self.files else ()
        return ("as_of", *(key for key in keys if key != "as_of"))

    def values(self, file: FileRecord) -> dict[str, str]:
        """The partition that a file lies in: value by column."""
        folders = [folder.partition("=") for folder in PurePosixPath(file.path).parts[1:-1]]
        return {key: decode_partition(component) for key, _, component in folders}

    def schema(self) -> pa.Schema:
        """Columns of the published files in the types of Arrow that both formats have, then the partition columns."""
        import pyarrow as pa
        from pyarrow.parquet import read_schema

        fields = [pa.field(field.name, plain_type(field.type)) for field in read_schema(self.root / self.files[0].path)]
        keys = [pa.field(key, pa.date32() if key == "as_of" else pa.string()) for key in self.partition_by]
        return pa.schema([*fields, *keys])


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """A type as table formats know it: text and lists with 32-bit offsets, no dictionaries."""
    import pyarrow as pa

    if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_large_binary(dtype):
        return pa.binary()
    if pa.types.is_dictionary(dtype):
        return plain_type(dtype.value_type)
    if pa.types.is_large_list(dtype) or pa.types.is_list(dtype) or pa.types.is_fixed_size_list(dtype):
        return pa.list_(pa.field("element", plain_type(dtype.value_type)))
    # Polars writes nanoseconds; what is published is cut to microseconds.
    return pa.time64("us") if pa.types.is_time64(dtype) else dtype


def check_columns(part: Part, format_name: str, lacks: Callable[[pa.DataType], bool], *, folds: bool) -> None:
    """Stop when a format cannot have a column.

    Args:
        part: What shall be committed.
        format_name: For the message.
        lacks: Whether it does not have a type; asked of the types in lists and structs, too.
        folds: Whether it takes names that are equal but for case for one.

    Raises:
        ConfigError: It cannot; all such columns are named.
    """
    schema = part.schema()
    problems = [f"  {field.name}: {field.type}" for field in schema if _holds(field.type, lacks)]
    seen: dict[str, str] = {}
    for name in schema.names if folds else ():
        other = seen.setdefault(name.casefold(), name)
        problems += [] if other == name else [f"  {other!r} and {name!r} are one name there"]
    if problems:
        raise ConfigError(
            "\n".join([f"table {part.table} has columns that {format_name} tables do not have:", *problems]),
            code="format-type",
            hint="Leave the attribute out with contacts.columns, rename or cast it where it comes from, or leave the "
            "table out of publish.tables. The local tables are complete.",
        )


def _holds(dtype: pa.DataType, lacks: Callable[[pa.DataType], bool]) -> bool:
    return lacks(dtype) or any(_holds(dtype.field(place).type, lacks) for place in range(dtype.num_fields))


def check_types(part: Part, existing: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Stop when a column has another type than in the table: columns may be added, their types may not change.

    Args:
        part: What shall be committed.
        existing: Type of each column of the table, as the format writes it.
        given: The same of the part.

    Raises:
        ConfigError: It has; all such columns are named.
    """
    changed = [
        f"  {name}: {existing[name]} in the table, {dtype} on {part.as_of}"
        for name, dtype in given.items()
        if name in existing and existing[name] != dtype
    ]
    if changed:
        raise ConfigError(
            "\n".join([f"table {part.table}: the types of columns have changed:", *changed]),
            code=SCHEMA_CHANGED,
            hint="Cast them as before, or raise publish.table_version to begin new tables beside the old ones.",
        )


def copy_checked(part: Part, file: FileRecord, sink: BinaryIO) -> None:
    """Copy one published file, a MiB at a time.

    Raises:
        IntegrityError: It is missing, or is not what its manifest says.
    """
    found = hashlib.sha256()
    try:
        with (part.root / file.path).open("rb") as source:
            while chunk := source.read(_CHUNK):
                found.update(chunk)
                sink.write(chunk)
    except FileNotFoundError as error:
        raise damaged(part, file) from error
    if found.hexdigest() != file.sha256:
        raise damaged(part, file)


def damaged(part: Part, file: FileRecord) -> IntegrityError:
    """What is said of a published file that is missing or was changed."""
    return IntegrityError(
        f"{file.path} was changed or removed after it was published: it is not committed to the table {part.table}",
        code="format-source-damaged",
        hint=f"Run {part.as_of} again; `tamis verify` tells what else is damaged.",
    )
