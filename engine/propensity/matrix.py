"""The columns a model sees: which types it takes, and the matrix of numbers made from a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from engine.propensity.codes import CodeTable, encode

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

_INTEGERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
NUMERIC_DTYPES = frozenset({*_INTEGERS, "Float32", "Float64", "Boolean"})
CATEGORICAL_DTYPES = frozenset({*_INTEGERS, "Boolean", "String", "Date"})


def dtype_name(dtype: pl.DataType) -> str:
    """Name under which a column's type is remembered; Categorical and Enum are String, which is what they hold."""
    return "String" if isinstance(dtype, (pl.Categorical, pl.Enum)) else str(dtype)


def column_problems(schema: Mapping[str, pl.DataType], expected: Mapping[str, str]) -> list[str]:
    """One line per expected column that `schema` lacks or has with another type, in the order of `expected`."""
    problems = []
    for column, dtype in expected.items():
        if column not in schema:
            problems.append(f"{column!r}: expected {dtype}, the column is missing")
        elif dtype_name(schema[column]) != dtype:
            problems.append(f"{column!r}: expected {dtype}, got {schema[column]}")
    return problems


def unusable_columns(
    schema: Mapping[str, pl.DataType], features: Sequence[str], categorical: Collection[str]
) -> list[str]:
    """One line per feature that is missing or of a type no model can learn from."""
    problems = []
    for column in features:
        allowed = CATEGORICAL_DTYPES if column in categorical else NUMERIC_DTYPES
        if column not in schema:
            problems.append(f"{column!r}: the column is missing")
        elif dtype_name(schema[column]) not in allowed:
            kind = "a categorical" if column in categorical else "a numeric"
            problems.append(f"{column!r}: {schema[column]} cannot be {kind} feature")
    return problems


def feature_matrix(frame: pl.DataFrame, features: Sequence[str], codes: Sequence[CodeTable]) -> NDArray[np.float64]:
    """The features of `frame` as numbers, one row per row and one column per feature in the order of `features`.

    Nulls and NaN are NaN, categories are their codes, booleans 0 and 1; whole numbers are exact up to 2**53. The types
    must have been checked before. An array of numbers and not a frame goes to LightGBM, because LightGBM takes columns
    of a frame by position whatever their names are, and ends the process on a type it does not know.

    Column after column in memory (Fortran order), as the frame has them: to lay row after row takes several times as
    long, and neither LightGBM nor the kernel gains by it.
    """
    numbers = encode(frame.select(features), codes).select(pl.all().cast(pl.Float64))
    return numbers.to_numpy(order="fortran")
