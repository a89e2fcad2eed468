from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.tables.narrow import MOST_TEXTS, narrowed
from engine.tables.parquet_file import write_row_groups
from engine.tables.rows import form_of, keep_rows, merge_portions, read_portions, read_rows

MANY = [f"{number:03d}" for number in range(MOST_TEXTS + 1)]

INTEGERS = {
    pl.Int64(): [None, 0, -1, 127, 128, -128, -129, 2**15 - 1, 2**15, -(2**31), 2**31, 2**63 - 1, -(2**63)],
    pl.Int32(): [None, 0, 127, -128, 128, -(2**15), 2**15, 2**31 - 1, -(2**31)],
}
COLUMNS: dict[str, tuple[pl.DataType, list[Any]]] = {
    **{str(dtype).lower(): (dtype, values) for dtype, values in INTEGERS.items()},
    "text": (pl.String(), [None, "", "a", "B", "é", "longer than twelve bytes", "longer than twelve bytes too"]),
    "many": (pl.String(), [None, *MANY]),
    "amount": (pl.Float64(), [None, 0.5, float("nan")]),
    "names": (pl.List(pl.String()), [None, [], ["a", None]]),
    "flag": (pl.Boolean(), [None, True]),
}


@st.composite
def buckets(draw: st.DrawFn) -> list[pl.DataFrame]:
    """Rows of several buckets, each with values from a part of its columns' values: they are narrowed differently."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.integers(1, 6))
        columns: dict[str, pl.Series] = {
            "user_id": pl.Series(sorted(draw(st.lists(st.integers(0, 9), min_size=rows, max_size=rows))))
        }
        for name, (dtype, values) in COLUMNS.items():
            some = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
            cells = draw(st.lists(st.sampled_from(some), min_size=rows, max_size=rows))
            columns[name] = pl.Series(cells, dtype=dtype)
        found.append(pl.DataFrame(columns))
    return found


@given(frames=buckets())
def test_rows_come_back_as_they_were_alone_and_together(
    frames: list[pl.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("narrow")
    pieces = [keep_rows(frame, folder / f"{number}.arrow")[0] for number, frame in enumerate(frames)]
    for piece, frame in zip(pieces, frames, strict=True):
        assert_frame_equal(read_rows(piece), frame)
        assert_frame_equal(read_rows(piece, ["user_id", "text"]), frame.select("user_id", "text"))
    form = form_of(pieces)
    portions = [portion for piece in pieces for portion in read_portions(piece, [piece.rows], form)]
    merged = merge_portions(portions, form)
    texts = {name: pl.String() for name, dtype in merged.schema.items() if isinstance(dtype, pl.Enum)}
    assert_frame_equal(merged.cast(texts), pl.concat(frames).sort("user_id", maintain_order=True))  # type: ignore[arg-type]
    for name in texts:
        assert merged[name].dtype == pl.Enum(merged[name].cast(pl.String()).unique().drop_nulls().sort())


@pytest.mark.parametrize(
    ("values", "dtype", "narrow"),
    [
        ([0, None, 127, -128], pl.Int64(), pl.Int8()),
        ([128], pl.Int64(), pl.Int16()),
        ([-(2**15) - 1], pl.Int64(), pl.Int32()),
        ([2**31], pl.Int64(), pl.Int64()),
        ([None], pl.Int32(), pl.Int8()),
        (["b", "a", None, "b"], pl.String(), pl.Enum(["a", "b"])),
        ([None], pl.String(), pl.Enum([])),
        (MANY[:MOST_TEXTS], pl.String(), pl.Enum(MANY[:MOST_TEXTS])),
        (MANY, pl.String(), pl.String()),
        ([0.5], pl.Float64(), pl.Float64()),
    ],
    ids=["one byte", "two", "four", "eight", "none", "texts", "no text", "255 texts", "256 texts", "others"],
)
def test_types(values: list[Any], dtype: pl.DataType, narrow: pl.DataType) -> None:
    frame = pl.DataFrame({"user_id": pl.Series(range(len(values))), "column": pl.Series(values, dtype=dtype)})
    assert narrowed(frame).schema == {"user_id": pl.Int64(), "column": narrow}


def test_texts_of_files_that_are_too_many_together(tmp_path: Path) -> None:
    frames = [
        pl.DataFrame({"user_id": pl.Series(range(len(texts))), "text": texts}) for texts in (MANY[:200], MANY[100:])
    ]
    pieces = [keep_rows(frame, tmp_path / f"{number}.arrow")[0] for number, frame in enumerate(frames)]
    form = form_of(pieces)
    portions = [portion for piece in pieces for portion in read_portions(piece, [piece.rows], form)]
    assert_frame_equal(merge_portions(portions, form), pl.concat(frames).sort("user_id", maintain_order=True))


def test_groups_of_numbered_texts_are_written_as_texts() -> None:
    """Of different texts in each group, of none, and of one row, in which nothing repeats."""
    cells = [["a", "b"] * 50, ["c", None] * 50, [None] * 100, ["b"]]
    texts = [["a", "b"], ["c"], [], ["b"]]
    groups = [
        pl.DataFrame({"user_id": pl.Series(range(len(some))), "text": pl.Series(some, dtype=pl.Enum(own))})
        for some, own in zip(cells, texts, strict=True)
    ]
    plain = [group.cast({"text": pl.String()}) for group in groups]
    written: list[BytesIO] = []
    for frames in (groups, plain):
        written.append(BytesIO())
        write_row_groups(frames, plain[0].schema, written[-1])
    for file in written:
        assert_frame_equal(pl.read_parquet(file.getvalue()), pl.concat(plain))
    numbered, as_texts = (pq.ParquetFile(file) for file in written)
    assert numbered.schema.equals(as_texts.schema)
    assert numbered.metadata.metadata is None
    for group, own in enumerate(texts):
        statistics = numbered.metadata.row_group(group).column(1).statistics
        assert statistics == as_texts.metadata.row_group(group).column(1).statistics
        assert (statistics.min, statistics.max) == (own[0], own[-1]) if own else not statistics.has_min_max
