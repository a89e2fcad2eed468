"""The type of a published column in every dialect, and as Arrow knows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from engine.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

Dialect = Literal["bigquery", "snowflake", "redshift", "clickhouse", "duckdb", "postgres", "spark"]
DIALECTS: Final[tuple[Dialect, ...]] = (
    "bigquery",
    "snowflake",
    "redshift",
    "clickhouse",
    "duckdb",
    "postgres",
    "spark",
)

Kind = Literal[
    "boolean",
    "int16",
    "int32",
    "int64",
    "uint64",
    "float32",
    "float64",
    "string",
    "binary",
    "date",
    "time",
    "timestamp",
    "timestamp_utc",
    "decimal",
    "list",
]

# Smaller integers than the dialect has take the next larger ones; a column is as wide in every dialect as in the files.
_PLAIN: Final[dict[str, Kind]] = {
    "Boolean": "boolean",
    "Int8": "int16",
    "UInt8": "int16",
    "Int16": "int16",
    "UInt16": "int32",
    "Int32": "int32",
    "UInt32": "int64",
    "Int64": "int64",
    "UInt64": "uint64",
    "Float32": "float32",
    "Float64": "float64",
    "String": "string",
    "Binary": "binary",
    "Date": "date",
    "Time": "time",
}

_NAMES: Final[dict[Kind, tuple[str, ...]]] = {
    "boolean": ("BOOL", "BOOLEAN", "BOOLEAN", "Bool", "BOOLEAN", "BOOLEAN", "BOOLEAN"),
    "int16": ("INT64", "NUMBER(38, 0)", "SMALLINT", "Int16", "SMALLINT", "SMALLINT", "SMALLINT"),
    "int32": ("INT64", "NUMBER(38, 0)", "INTEGER", "Int32", "INTEGER", "INTEGER", "INT"),
    "int64": ("INT64", "NUMBER(38, 0)", "BIGINT", "Int64", "BIGINT", "BIGINT", "BIGINT"),
    "uint64": (
        "NUMERIC",
        "NUMBER(38, 0)",
        "DECIMAL(20, 0)",
        "UInt64",
        "DECIMAL(20, 0)",
        "NUMERIC(20, 0)",
        "DECIMAL(20, 0)",
    ),
    "float32": ("FLOAT64", "FLOAT", "REAL", "Float32", "REAL", "REAL", "FLOAT"),
    "float64": ("FLOAT64", "FLOAT", "DOUBLE PRECISION", "Float64", "DOUBLE", "DOUBLE PRECISION", "DOUBLE"),
    "string": ("STRING", "VARCHAR", "VARCHAR(65535)", "String", "VARCHAR", "TEXT", "STRING"),
    "binary": ("BYTES", "BINARY", "VARBYTE", "String", "BLOB", "BYTEA", "BINARY"),
    "date": ("DATE", "DATE", "DATE", "Date32", "DATE", "DATE", "DATE"),
    "time": ("TIME", "TIME", "TIME", "Int64", "TIME", "TIME", "BIGINT"),
    "timestamp": (
        "DATETIME",
        "TIMESTAMP_NTZ",
        "TIMESTAMP",
        "DateTime64(6)",
        "TIMESTAMP",
        "TIMESTAMP",
        "TIMESTAMP_NTZ",
    ),
    "timestamp_utc": (
        "TIMESTAMP",
        "TIMESTAMP_TZ",
        "TIMESTAMPTZ",
        "DateTime64(6, 'UTC')",
        "TIMESTAMPTZ",
        "TIMESTAMPTZ",
        "TIMESTAMP",
    ),
    "decimal": ("BIGNUMERIC", "NUMBER", "DECIMAL", "Decimal", "DECIMAL", "NUMERIC", "DECIMAL"),
    "list": ("ARRAY<{}>", "ARRAY", "SUPER", "Array({})", "{}[]", "{}[]", "ARRAY<{}>"),
}
_DATETIME = re.compile(r"Datetime\(time_unit='(?:ms|us|ns)', time_zone=(None|'[^']*')\)")
_DECIMAL = re.compile(r"Decimal\(precision=(\d+), scale=(\d+)\)")
_LIST = re.compile(r"List\((.+)\)")


@dataclass(frozen=True)
class ColumnType:
    """A type that tables may have.

    Attributes:
        kind: What kind of value.
        precision, scale: Digits of a decimal; 0 of all others.
        item: Of the values of a list.
    """

    kind: Kind
    precision: int = 0
    scale: int = 0
    item: ColumnType | None = None


def column_type(dtype: str, column: str) -> ColumnType:
    """The type that a manifest tells in Polars' words.

    Args:
        dtype: `Int64`, `List(String)`, …
        column: For the message.

    Raises:
        ConfigError: No warehouse column can hold it.
    """
    if dtype in _PLAIN:
        return ColumnType(_PLAIN[dtype])
    if match := _DATETIME.fullmatch(dtype):
        return ColumnType("timestamp" if match[1] == "None" else "timestamp_utc")
    if match := _DECIMAL.fullmatch(dtype):
        return ColumnType("decimal", int(match[1]), int(match[2]))
    if (match := _LIST.fullmatch(dtype)) and not match[1].startswith("List"):
        return ColumnType("list", item=column_type(match[1], column))
    raise ConfigError(
        f"column {column!r} is of type {dtype}, which warehouses do not have",
        code="warehouse-type",
        hint="Leave the attribute out with contacts.columns, or cast it to text or a number where it comes from.",
    )


def type_name(found: ColumnType, dialect: Dialect) -> str:
    """The type in the words of a dialect."""
    name = _NAMES[found.kind][DIALECTS.index(dialect)]
    if found.item is not None:
        return name.format(type_name(found.item, dialect))
    if found.kind == "decimal" and dialect != "bigquery":
        return f"{name}({found.precision}, {found.scale})"
    return name


def arrow_type(found: ColumnType) -> pa.DataType:
    """The type of the batches that are loaded."""
    import pyarrow as pa

    if found.item is not None:
        return pa.list_(arrow_type(found.item))
    named = {
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
        "timestamp_utc": pa.timestamp("us", "UTC"),
        "uint64": pa.decimal128(20, 0),
    }
    if found.kind == "decimal":
        return pa.decimal128(found.precision, found.scale)
    return named[found.kind] if found.kind in named else getattr(pa, found.kind)()
