"""`tamis ddl`: the statements that make and fill the tables of a date in a warehouse, from its manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Final

from engine.config import Config
from engine.errors import ConfigError
from engine.tables.layout import TABLES
from engine.tables.manifest import table_record
from engine.warehouse.dictionary import chosen, describe, described
from engine.warehouse.statements import Asked
from engine.warehouse.types import Dialect
from engine.why.published import Published

STORES: Final[dict[Dialect, tuple[str, ...]]] = {
    "bigquery": ("gs://",),
    "snowflake": ("s3://", "gcs://", "azure://"),
    "redshift": ("s3://",),
}
"""Where the files must be for warehouses that do not see the disk of this machine."""


@dataclass(frozen=True)
class Place:
    """Where a warehouse has its tables and finds the files.

    Attributes:
        schema: Schema, dataset or database; several with dots between them. None for the default.
        location: Address or folder that the output root has for the warehouse; None for the output root itself.
        stage: Of Snowflake.
        role: ARN of the role that Redshift reads with; None for the default role of the cluster.
    """

    schema: str | None = None
    location: str | None = None
    stage: str = "tamis"
    role: str | None = None


def asked_of(
    published: Published, config: Config, dialect: Dialect, place: Place, tables: Sequence[str] = ()
) -> tuple[Asked, ...]:
    """The tables of a date, to be written down in a dialect.

    Raises:
        ConfigError: An unknown table, a name or type that the dialect does not have, or files where it cannot see them.
    """
    location = location_for(dialect, place.location or str(published.out))
    records = {record.name: record for record in chosen(published, tables)}
    return tuple(
        Asked(
            table,
            records[table.name],
            published.as_of,
            dialect,
            place.schema,
            location,
            place.stage,
            place.role,
        ).checked()
        for table in describe(published, config, tables)
    )


def asked_with_absent(
    published: Published, config: Config, dialect: Dialect, place: Place, tables: Sequence[str] = ()
) -> tuple[Asked, ...]:
    """As `asked_of`, with a record without files for each table that the date has no rows of, such as `rejects`.

    A warehouse may have rows of it, from an earlier run of the date.
    """
    there = {record.name for record in published.manifest.tables}
    absent = [name for name in tables or TABLES if name in TABLES and name not in there]
    present = [name for name in tables if name not in absent]
    asked = asked_of(published, config, dialect, place, present) if present or not tables else ()
    records = [table_record(name, published.as_of, (), ()) for name in dict.fromkeys(absent)]
    empty = [Asked(described(one), one, published.as_of, dialect, place.schema).checked() for one in records]
    return tuple(sorted((*asked, *empty), key=lambda one: TABLES.index(one.table.name)))


def location_for(dialect: Dialect, location: str) -> str:
    """The address of the output root, without a slash at its end.

    Raises:
        ConfigError: The warehouse cannot read there.
    """
    stores = STORES.get(dialect)
    if dialect == "snowflake":
        location = location.replace("gs://", "gcs://", 1) if location.startswith("gs://") else location
    if stores is not None and not location.startswith(stores):
        raise ConfigError(
            f"{dialect} reads files at {' or '.join(stores)}, not in {location!r}",
            code="warehouse-location",
            hint=f"Copy the output folder there and name it: --location {stores[0]}bucket/folder",
        )
    return location.rstrip("/")


def statements(asked: Asked, *, external: bool = False) -> list[str]:
    """The statements of one table, each without its semicolon: make it, then fill it.

    Args:
        asked: The table.
        external: A table or view over the files, in place of one that is filled.

    Raises:
        ConfigError: The dialect has no tables over files.
    """
    dialect = _dialect(asked.dialect)
    if not external:
        load: Callable[[Asked], list[str]] | None = getattr(dialect, "load", None)
        return [*dialect.native(asked), *([] if load is None else load(asked))]
    if not hasattr(dialect, "external"):
        raise ConfigError(
            f"{asked.dialect} has no tables over Parquet files",
            code="warehouse-no-external",
            hint=f"Leave out --external and fill the tables with `tamis load {asked.dialect}`.",
        )
    made: list[str] = dialect.external(asked)
    return made


def created(asked: Asked) -> list[str]:
    """The statements that make one table and leave one that is there as it is."""
    made: list[str] = _dialect(asked.dialect).native(asked)
    return made


def script(asked: Sequence[Asked], *, external: bool = False) -> str:
    """The statements of several tables as one text; none is repeated word for word within a run of creations."""
    seen: set[str] = set()
    lines = []
    for one in asked:
        for statement in statements(one, external=external):
            if statement.startswith(("CREATE STAGE", "SET ")) and statement in seen:
                continue
            seen.add(statement)
            lines.append(f"{statement};\n")
    return "\n".join(lines)


def _dialect(name: Dialect) -> ModuleType:
    return import_module(f"engine.warehouse.dialects.{name}")
