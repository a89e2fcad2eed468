"""Names and texts as a dialect quotes them: whatever they hold, they end where they should."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from engine.errors import ConfigError
from engine.warehouse.types import Dialect

# Bytes of a name. PostgreSQL cuts longer ones without a word.
_LONGEST: Final[dict[Dialect, int]] = {
    "bigquery": 300,
    "snowflake": 255,
    "redshift": 127,
    "clickhouse": 255,
    "duckdb": 255,
    "postgres": 63,
    "spark": 255,
}
_NO_NAME_HOLDS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NO_BIGQUERY_NAME_HOLDS: Final = re.compile(r"[!\"$()*,./;?@\[\\\]^`{}~]")
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")
_BACKTICKS: Final = frozenset({"bigquery", "clickhouse", "spark"})
_BACKSLASHES: Final = frozenset({"bigquery", "clickhouse", "spark", "snowflake", "redshift"})
"""Dialects whose texts have escapes."""
_ESCAPES: Final = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
# What is equal but for case is one column there.
_FOLDING: Final = frozenset({"bigquery", "duckdb", "redshift", "spark"})
_NESTED: Final = frozenset({"bigquery", "snowflake", "spark"})
_HASH_DIGITS: Final = 8


def quoted(name: str, dialect: Dialect) -> str:
    """A name between the quotes of a dialect, shortened where it is too long.

    For Snowflake a plain name is in capitals, so that it can be written without quotes. A name that is too long for the
    dialect is cut, and ends in eight digits of its hash.

    Raises:
        ConfigError: No name of the dialect can hold one of its characters.
    """
    if not name or _NO_NAME_HOLDS.search(name) or (dialect == "bigquery" and _NO_BIGQUERY_NAME_HOLDS.search(name)):
        raise ConfigError(
            f"{name!r} cannot be a name in {dialect}",
            code="warehouse-name",
            hint="Rename the column where it comes from, or leave the attribute out with contacts.columns.",
        )
    fitting = known_as(name, dialect)
    if dialect not in _BACKTICKS:
        return '"' + fitting.replace('"', '""') + '"'
    if dialect == "clickhouse":
        fitting = fitting.replace("\\", "\\\\")
    return "`" + fitting.replace("`", "``") + "`"


def known_as(name: str, dialect: Dialect) -> str:
    """The name that a column or table has in a warehouse."""
    longest = _LONGEST[dialect]
    if len(name.encode(errors="replace")) > longest:
        kept = name.encode()[: longest - _HASH_DIGITS - 1].decode(errors="ignore")
        name = f"{kept}_{hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]}"
    return name.upper() if dialect == "snowflake" and _PLAIN.fullmatch(name) else name


def text(value: str, dialect: Dialect) -> str:
    """A text between single quotes."""
    if dialect not in _BACKSLASHES:
        return "'" + value.replace("\0", "").replace("'", "''") + "'"
    escaped = "".join(_ESCAPES.get(letter, letter) for letter in value.replace("\0", ""))
    quote = "''" if dialect in {"snowflake", "redshift"} else "\\'"
    return "'" + escaped.replace("'", quote) + "'"


def table_name(schema: str | None, table: str, dialect: Dialect) -> str:
    """A table with the schema it lies in; where schemas lie in projects or databases, with dots between them."""
    above = [] if not schema else schema.split(".") if dialect in _NESTED else [schema]
    parts = [*above, table]
    return ".".join(quoted(part, dialect) for part in parts)


def check_names(table: str, columns: Sequence[str], dialect: Dialect) -> None:
    """Stop when a dialect would take two columns for one.

    Raises:
        ConfigError: Columns that are equal but for case; all of them are named.
    """
    if dialect not in _FOLDING:
        return
    seen: dict[str, str] = {}
    twins = []
    for name in columns:
        other = seen.setdefault(name.casefold(), name)
        twins += [] if other == name else [f"  {other!r} and {name!r}"]
    if twins:
        raise ConfigError(
            f"columns of {table} that are one and the same in {dialect}, which knows no case\n" + "\n".join(twins),
            code="warehouse-name",
            hint="Rename one of them where it comes from, or leave it out with contacts.columns.",
        )
