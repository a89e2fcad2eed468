from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.events.probe import read_footers
from engine.quality.footers import empty_values

FRAME = pl.DataFrame(
    {
        "number": [1, None, 3, None],
        "text": ["a", None, "b", "c"],
        "blank": ["a", "", None, "c"],
        "nothing": pl.Series([None] * 4, dtype=pl.String),
        "list": [[1], [], None, [2, 3]],
        "struct": [{"a": 1}, None, {"a": None}, {"a": 2}],
        "full": ["x", "y", "z", "é"],
    }
)
PLAIN = ["number", "text", "blank", "nothing", "full"]


def told(file: Path, *columns: str) -> dict[str, int]:
    return empty_values(pq.read_metadata(file), columns or FRAME.columns)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_nulls_are_told_and_empty_texts_leave_it_open(tmp_path: Path, rows: int) -> None:
    FRAME.write_parquet(tmp_path / "a.parquet", row_group_size=rows)
    assert told(tmp_path / "a.parquet") == {"number": 2, "text": 1, "nothing": 4, "full": 0}


def test_arrows_own_files_tell_the_same(tmp_path: Path) -> None:
    pq.write_table(FRAME.select(PLAIN).to_arrow().cast(pa.schema(
        [("number", pa.int64()), *((name, pa.string()) for name in PLAIN[1:])]
    )), tmp_path / "a.parquet")  # fmt: skip
    assert told(tmp_path / "a.parquet") == {"number": 2, "text": 1, "nothing": 4, "full": 0}


def test_without_statistics_nothing_is_told(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "a.parquet", statistics=False)
    assert told(tmp_path / "a.parquet") == {}


def test_only_what_is_asked_for_and_is_there(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "a.parquet")
    assert told(tmp_path / "a.parquet", "full", "nosuch") == {"full": 0}
    assert empty_values(pq.read_metadata(tmp_path / "a.parquet"), ()) == {}


def test_footers_are_read_with_it(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    FRAME.write_parquet(file)
    [asked], [plain] = read_footers([file], {file: ("text", "blank")}), read_footers([file])
    assert (asked.empty, plain.empty) == ((("text", 1),), ())
    assert asked.rows == plain.rows == 4
