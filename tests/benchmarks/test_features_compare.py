from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from benchmarks.features_compare import feature_differences

NAN = math.nan
EXPECTED = pl.DataFrame(
    {"user_id": ["a", "b", "c"], "count": [1, None, 2**60], "rate": [0.5, None, 1e-12], "name": ["x", "y", None]}
)


def differences(tmp_path: Path, found: pl.DataFrame, expected: pl.DataFrame = EXPECTED) -> list[str]:
    found.write_parquet(tmp_path / "found.parquet")
    expected.write_parquet(tmp_path / "expected.parquet")
    return feature_differences(tmp_path / "found.parquet", tmp_path / "expected.parquet")


@pytest.mark.parametrize(
    "found",
    [
        EXPECTED,
        EXPECTED.reverse(),
        EXPECTED.select(reversed(EXPECTED.columns)),
        EXPECTED.with_columns(rate=pl.col("rate") * (1 + 1e-10)),
        EXPECTED.with_columns(pl.col("user_id").cast(pl.Categorical)),
    ],
)
def test_agree(tmp_path: Path, found: pl.DataFrame) -> None:
    assert differences(tmp_path, found) == []


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("count", [1, None, 2**60 + 1]),
        ("count", [1, 0, 2**60]),
        ("count", [None, None, 2**60]),
        ("rate", [0.5 * (1 + 1e-8), None, 1e-12]),
        ("rate", [0.5, 0.0, 1e-12]),
        ("rate", [0.5, NAN, 1e-12]),
        ("rate", [NAN, None, 1e-12]),
        ("rate", [math.inf, None, 1e-12]),
        ("rate", [0.5, None, 2e-12]),
        ("rate", [0.5, None, 0.0]),
        ("name", ["x", "z", None]),
    ],
)
def test_one_value_differs(tmp_path: Path, column: str, values: list[object]) -> None:
    found = EXPECTED.with_columns(pl.Series(column, values, dtype=EXPECTED.schema[column]))
    assert differences(tmp_path, found) == [f"{column}: differs for 1 users"]
    assert differences(tmp_path, EXPECTED, found) == [f"{column}: differs for 1 users"]


def test_equal_without_being_ordinary_numbers(tmp_path: Path) -> None:
    special = EXPECTED.with_columns(rate=pl.Series([NAN, math.inf, -math.inf]))
    assert differences(tmp_path, special, special) == []


def test_a_whole_number_as_float_must_be_exact(tmp_path: Path) -> None:
    found = EXPECTED.with_columns(count=pl.Series([1.0 + 1e-12, None, float(2**60)]))
    assert differences(tmp_path, found) == ["count: differs for 1 users"]


def test_users_and_columns_of_one_side(tmp_path: Path) -> None:
    found = EXPECTED.head(2).rename({"rate": "share"})
    assert differences(tmp_path, found) == [
        "columns: rate missing",
        "columns: share not expected",
        "users: 1 only in what was expected",
    ]
    assert differences(tmp_path, EXPECTED, EXPECTED.head(1)) == ["users: 2 only in what was found"]


def test_a_user_must_have_one_row(tmp_path: Path) -> None:
    assert differences(tmp_path, pl.concat([EXPECTED, EXPECTED.head(1)])) == ["found: 4 rows of 3 users"]
    assert differences(tmp_path, EXPECTED.drop("user_id")) == ["columns: user_id missing"]


def test_a_folder_is_all_files_below_it(tmp_path: Path) -> None:
    for part, rows in enumerate((EXPECTED.head(1), EXPECTED.tail(2))):
        folder = tmp_path / "it's" / f"bucket={part}"
        folder.mkdir(parents=True)
        rows.write_parquet(folder / "part-0.parquet")
    EXPECTED.write_parquet(tmp_path / "expected.parquet")
    assert feature_differences(tmp_path / "it's", tmp_path / "expected.parquet") == []
