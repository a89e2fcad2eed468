"""What every dialect needs to write its statements: the table, where its files lie, and small pieces of SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import PurePosixPath
from typing import Final

from engine.tables.layout import decode_partition
from engine.tables.manifest import TableRecord
from engine.warehouse.dictionary import Column, Table
from engine.warehouse.sql import check_names, quoted, table_name, text
from engine.warehouse.types import Dialect, type_name

LOADING: Final = "__load"
"""End of the name of a table that rows wait in until they are all there."""


@dataclass(frozen=True)
class Part:
    """The files of a table that have the same partition keys.

    Attributes:
        folder: Relative to the output root, encoded as it is on disk.
        values: Of the keys after `as_of`, decoded.
        files: Names in the folder.
        sizes: Their bytes.
    """

    folder: str
    values: tuple[str, ...]
    files: tuple[str, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Asked:
    """A table of a date, to be written down in a dialect.

    Attributes:
        table: The table.
        record: Its files.
        as_of: The date.
        dialect: The dialect.
        schema: Where the warehouse has the table; None for its default.
        location: Folder or address of the output root as the warehouse sees it, without a slash at its end.
        stage: Name of the stage of Snowflake.
        role: What Redshift reads the files as; None for the default role of the cluster.
    """

    table: Table
    record: TableRecord
    as_of: date
    dialect: Dialect
    schema: str | None = None
    location: str = ""
    stage: str = "tamis"
    role: str | None = None

    @property
    def name(self) -> str:
        """The quoted name of the table."""
        return table_name(self.schema, self.table.name, self.dialect)

    @property
    def loading(self) -> str:
        """The quoted name of the table that rows wait in."""
        return table_name(self.schema, self.table.name + LOADING, self.dialect)

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.table.columns

    @property
    def inner(self) -> tuple[Column, ...]:
        """The columns that stand in the files."""
        return tuple(column for column in self.table.columns if not column.partition)

    @property
    def keys(self) -> tuple[Column, ...]:
        """The columns that stand in the path."""
        return tuple(column for column in self.table.columns if column.partition)

    @property
    def folder(self) -> str:
        """Where all dates of the table lie."""
        return f"{self.location}/{self.table.name}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files of the date by their folder."""
        found: dict[str, list[tuple[str, int]]] = {}
        for record in self.record.records:
            path = PurePosixPath(record.path)
            found.setdefault(str(path.parent), []).append((path.name, record.bytes))
        return tuple(
            Part(
                folder,
                tuple(decode_partition(name.partition("=")[2]) for name in PurePosixPath(folder).parts[2:]),
                tuple(name for name, _ in files),
                tuple(size for _, size in files),
            )
            for folder, files in found.items()
        )

    def quote(self, name: str) -> str:
        return quoted(name, self.dialect)

    def text(self, value: str) -> str:
        return text(value, self.dialect)

    def type_of(self, column: Column) -> str:
        return type_name(column.type, self.dialect)

    @property
    def day(self) -> str:
        """The date as a value."""
        return f"CAST({self.text(self.as_of.isoformat())} AS DATE)"

    def names(self, columns: tuple[Column, ...]) -> str:
        """Quoted names of columns, between commas."""
        return ", ".join(self.quote(column.name) for column in columns)

    def values(self, part: Part) -> str:
        """The partition keys of a part, as values in the order of the columns."""
        return ", ".join((self.day, *map(self.text, part.values)))

    def checked(self) -> Asked:
        """Itself, when the dialect can tell the columns apart.

        Raises:
            ConfigError: See `engine.warehouse.sql.check_names`.
        """
        check_names(self.table.name, [column.name for column in self.columns], self.dialect)
        return self


def block(lines: list[str]) -> str:
    """Lines of a list, indented and with a comma after each but the last."""
    return "(\n" + ",\n".join(f"  {line}" for line in lines) + "\n)"


def deleted(asked: Asked) -> str:
    """Takes the date out of the table."""
    return f"DELETE FROM {asked.name} WHERE {asked.quote('as_of')} = {asked.day}"


def comments(asked: Asked, kind: str = "TABLE") -> list[str]:
    """One statement for the table and one per column, in the dialects that have COMMENT ON."""
    return [
        f"COMMENT ON {kind} {asked.name} IS {asked.text(asked.table.meaning)}",
        *(
            f"COMMENT ON COLUMN {asked.name}.{asked.quote(column.name)} IS {asked.text(column.comment)}"
            for column in asked.columns
        ),
    ]


def defined(asked: Asked, column: Column) -> str:
    """Name, type and NOT NULL of a column."""
    required = " NOT NULL" if column.required else ""
    return f"{asked.quote(column.name)} {asked.type_of(column)}{required}"
