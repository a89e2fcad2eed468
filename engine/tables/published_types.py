"""The column types of published files: those that every warehouse and every library reads as the same type.

Whole numbers are Int32 or Int64 (Redshift has no 8-bit type, Iceberg neither 8 nor 16 bits, BigQuery and Redshift no
unsigned ones), points in time have microseconds and are in UTC or in no zone (what a Parquet footer can say; BigQuery
and Spark have no nanoseconds), times of day are cut to microseconds, names are String.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from engine.errors import DataError

if TYPE_CHECKING:
    from polars._typing import PolarsDataType

_SMALL = frozenset({pl.Int8, pl.Int16, pl.UInt8, pl.UInt16})
_LARGE = frozenset({pl.UInt32, pl.UInt64, pl.Int128})
_TEXT = frozenset({pl.Categorical, pl.Enum, pl.Null})


def published_dtype(dtype: pl.DataType) -> pl.DataType:
    """The type that a column of type `dtype` is published with: itself, or a wider one that is known everywhere.

    A duration is published as Int64 microseconds, as Parquet has no type for it.
    """
    base = dtype.base_type()
    if base in _SMALL:
        return pl.Int32()
    if base in _LARGE:
        return pl.Int64()
    if base in _TEXT:
        return pl.String()
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", None if dtype.time_zone is None else "UTC")
    if isinstance(dtype, pl.Duration):
        return pl.Int64()
    if isinstance(dtype, pl.List):
        return pl.List(published_dtype(_instance(dtype.inner)))
    return pl.Float32() if base == pl.Float16 else dtype


def published_schema(schema: pl.Schema | Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Columns with the types that they are published with."""
    return {name: published_dtype(dtype) for name, dtype in schema.items()}


def as_published(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with the types of `published_schema`; the same values.

    Raises:
        DataError: Whole numbers beyond 64 bits with a sign; the columns are named.
    """
    wanted = published_schema(frame.schema)
    changed = {name: dtype for name, dtype in wanted.items() if dtype != frame.schema[name] or dtype == pl.Time}
    if not changed:
        return frame
    beyond = [name for name in changed if _is_beyond(frame[name])]
    if beyond:
        raise DataError(
            f"columns with whole numbers above 2^63 − 1 or below −2^63, which no warehouse reads: {', '.join(beyond)}",
            code="published-number",
            hint="Cast them to text or to a smaller number where they come from.",
        )
    return frame.with_columns(_converted(name, frame.schema[name], dtype) for name, dtype in changed.items())


def _converted(name: str, dtype: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.Duration):
        return column.dt.total_microseconds()
    if isinstance(dtype, pl.Datetime) and isinstance(wanted, pl.Datetime) and wanted.time_zone is not None:
        return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if dtype == pl.Time:
        # Polars has no other type for it than one of nanoseconds.
        return (column.cast(pl.Int64) // 1000 * 1000).cast(pl.Time)
    return column.cast(wanted)


def _is_beyond(column: pl.Series) -> bool:
    if column.dtype not in {pl.UInt64, pl.Int128}:
        return False
    limits = pl.Int64.min().cast(pl.Int128), pl.Int64.max().cast(pl.Int128)
    wide = pl.col(column.name).cast(pl.Int128)
    outside = column.to_frame().select((wide < limits[0]).any() | (wide > limits[1]).any()).item()
    return bool(outside)


def _instance(dtype: PolarsDataType) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
