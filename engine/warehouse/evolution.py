"""Whether a table that a warehouse has can take the rows of a date, and which columns it lacks."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from engine.errors import ConfigError
from engine.warehouse.dictionary import Column
from engine.warehouse.sql import known_as
from engine.warehouse.statements import Asked

# What the catalogues of PostgreSQL and DuckDB call types that are made under a shorter name.
_SPELT: Final = {
    "timestamptz": "timestamp with time zone",
    "timestamp without time zone": "timestamp",
    "time without time zone": "time",
    "float": "real",
}


@dataclass(frozen=True)
class Loaded:
    """What became of one table.

    Attributes:
        table: Its name.
        rows: Rows of the date that it has now.
        added: Columns that it was given.
    """

    table: str
    rows: int
    added: tuple[str, ...]


def may_hold(asked: Asked, there: Collection[str]) -> bool:
    """Whether a table of these columns can have rows of a table that the date has none of."""
    return all(known_as(name, asked.dialect) in there for name in asked.table.key)


def lacking(asked: Asked, there: Mapping[str, str]) -> tuple[Column, ...]:
    """The columns that a table is to be given.

    Args:
        asked: The table.
        there: Columns that the warehouse's table has, with the types as its catalogue spells them.

    Raises:
        ConfigError: It is a table of something else, or has columns of another type; all of them are named.
    """
    known = {known_as(column.name, asked.dialect): column for column in asked.columns}
    strange = [name for name in asked.table.key if known_as(name, asked.dialect) not in there]
    if strange:
        raise ConfigError(
            f"{asked.dialect} has a table {asked.table.name} that is not one of Tamis: it has no {', '.join(strange)}",
            code="load-schema",
            hint="Load into another schema: --schema NAME.",
        )
    problems = [
        f"  {name}: the table has {there[name]}, the files have {asked.type_of(column)}"
        for name, column in known.items()
        if name in there and _plain(there[name]) != _plain(asked.type_of(column))
    ]
    if problems:
        raise ConfigError(
            f"columns of {asked.table.name} have changed their type\n" + "\n".join(problems),
            code="load-schema",
            hint="Nothing was loaded. Rename the old table, or load into another schema: --schema NAME.",
        )
    return tuple(column for name, column in known.items() if name not in there)


def _plain(name: str) -> str:
    plain = re.sub(r",\s+", ",", name.lower())
    item = plain.removesuffix("[]")
    return _SPELT.get(item, item) + plain[len(item) :]
