from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.exports.cells import as_text, clipped, csv_lines


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (0.1 + 0.2, pl.Float64(), "0.3"),
        (1e-6, pl.Float64(), "0.000001"),
        (-1e-9, pl.Float64(), "0"),
        (100.0, pl.Float64(), "100"),
        (0.1, pl.Float32(), "0.1"),
        (1e22, pl.Float64(), "10000000000000000000000"),
        (float("inf"), pl.Float64(), None),
        (float("nan"), pl.Float64(), None),
        (-5, pl.Int64(), "-5"),
        (True, pl.Boolean(), "true"),
        (datetime(2026, 1, 2, 3, 4, 5, 6), pl.Datetime("us"), "2026-01-02T03:04:05"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), pl.Datetime("ms", "UTC"), "2026-01-02T03:00:00Z"),
        ("e\u0301", pl.String(), "\u00e9"),
        ("x", pl.Categorical(), "x"),
        (None, pl.Date(), None),
    ],
)
def test_values_as_text(value: Any, dtype: pl.DataType, expected: str | None) -> None:
    frame = pl.DataFrame({"value": pl.Series([value], dtype=dtype)})
    assert frame.select(as_text("value", dtype)).item() == expected


@given(st.lists(st.text(), min_size=1), st.integers(1, 12))
def test_text_is_cut_between_characters(texts: list[str], most: int) -> None:
    texts = [text.encode(errors="ignore").decode() for text in texts]
    found = clipped(pl.Series("text", texts, dtype=pl.String), most).to_list()
    for text, cut in zip(texts, found, strict=True):
        longest = max(end for end in range(len(text) + 1) if len(text[:end].encode()) <= most)
        assert cut == text[:longest]


CELL = st.none() | st.text(alphabet='a ;,"\r\n\té\u202e=')


@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1), st.sampled_from(",;\t"))
def test_python_reads_back_every_cell(rows: list[tuple[str | None, ...]], separator: str) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String, "c": pl.String}, orient="row")
    text = "".join(f"{line}\n" for line in csv_lines(frame, separator))
    found = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    assert found == [[cell or "" for cell in row] for row in rows]


def test_a_line_with_nothing_is_still_a_line() -> None:
    frame = pl.DataFrame({"a": ["x", None, ""]}, schema={"a": pl.String})
    assert csv_lines(frame, ",").to_list() == ["x", '""', '""']
