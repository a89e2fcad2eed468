from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.propensity.codes import CodeTable
from engine.propensity.matrix import column_problems, dtype_name, feature_matrix, unusable_columns


def test_the_matrix_has_the_features_in_the_order_asked_for() -> None:
    frame = pl.DataFrame(
        {
            "city": ["b", None, "new"],
            "cents": [2**53, None, -1],
            "rate": [0.5, float("nan"), None],
            "flag": [True, False, None],
            "other": ["x", "y", "z"],
        }
    )
    matrix = feature_matrix(frame, ["rate", "city", "flag", "cents"], [CodeTable("city", ("a", "b"))])
    nan = np.nan
    expected = [[0.5, 1, 1, 2**53], [nan, nan, 0, nan], [nan, nan, nan, -1]]
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.flags.f_contiguous
    assert matrix.dtype == np.float64


@pytest.mark.parametrize(
    "dtype",
    [
        pl.String(),
        pl.Date(),
        pl.Datetime("us", "UTC"),
        pl.Duration("us"),
        pl.Decimal(10, 2),
        pl.Int128(),
        pl.Enum(["a"]),
        pl.Null(),
    ],
    ids=str,
)
def test_a_type_that_would_end_the_process_is_not_a_numeric_feature(dtype: pl.DataType) -> None:
    schema = pl.Schema({"fine": pl.Int64(), "bad": dtype})
    assert unusable_columns(schema, ["fine", "bad"], []) == [f"'bad': {schema['bad']} cannot be a numeric feature"]


@pytest.mark.parametrize("dtype", [pl.Float64(), pl.Datetime("us"), pl.List(pl.String), pl.Binary()], ids=str)
def test_only_discrete_values_are_categories(dtype: pl.DataType) -> None:
    schema = pl.Schema({"bad": dtype})
    assert unusable_columns(schema, ["bad", "gone"], ["bad"]) == [
        f"'bad': {schema['bad']} cannot be a categorical feature",
        "'gone': the column is missing",
    ]


def test_missing_and_mistyped_columns_are_all_named() -> None:
    schema = pl.Schema({"a": pl.Int32(), "c": pl.Categorical()})
    assert column_problems(schema, {"a": "Int64", "b": "Float64", "c": "String"}) == [
        "'a': expected Int64, got Int32",
        "'b': expected Float64, the column is missing",
    ]
    assert dtype_name(pl.Enum(["x"])) == "String"
