from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.execution.local import LocalExecutor
from engine.tables import compact as compacting
from engine.tables.compact import FILE_BYTES, Unpublished, compact, keep_for, keep_partitions
from engine.tables.manifest import TableRecord
from engine.tables.rows import Piece
from engine.tables.verify import verify_table

AS_OF = date(2018, 1, 1)
NAMES = ("loyal", "new", "vip")


def bucket(number: int, rows: int, *, ids: str = "int") -> pl.DataFrame:
    draw = random.Random(number)
    users = draw.sample(range(1_000_000), rows)
    return pl.DataFrame(
        {
            "user_id": users if ids == "int" else [f"user {user}" for user in users],
            "segment": draw.choices(NAMES, k=rows),
            "score": [draw.random() for _ in range(rows)],
        },
        schema_overrides={
            "user_id": pl.Int64 if ids == "int" else pl.String,
            "segment": pl.String,
            "score": pl.Float64,
        },
    ).sort("user_id")


def keep(frames: Sequence[pl.DataFrame], staging: Path) -> tuple[Piece, ...]:
    return tuple(
        piece
        for number, frame in enumerate(frames)
        for piece in keep_partitions("segments", number, frame, "segment", lambda name: f"segment={name[0]}", staging)
    )


def write(
    frames: Sequence[pl.DataFrame], staging: Path, *, threads: int = 1, file_bytes: int = FILE_BYTES
) -> TableRecord:
    tables = [Unpublished("segments", keep(frames, staging), "mark")]
    (table,) = compact(tables, AS_OF, staging=staging, executor=LocalExecutor(threads=threads), file_bytes=file_bytes)
    return table


@pytest.mark.parametrize("ids", ["int", "text"])
@pytest.mark.parametrize("group_rows", [7, 1_000])
def test_each_partition_becomes_one_sorted_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: str, group_rows: int
) -> None:
    monkeypatch.setattr(compacting, "row_group_rows", lambda _: group_rows)
    frames = [bucket(number, rows, ids=ids) for number, rows in enumerate([40, 0, 60, 3])]
    table = write(frames, tmp_path)
    verify_table(tmp_path, table)
    assert [record.path.split("/")[2] for record in table.records] == ["segment=l", "segment=n", "segment=v"]
    everyone = pl.concat(frames)
    for record, name in zip(table.records, NAMES, strict=True):
        expected = everyone.filter(pl.col("segment") == name).drop("segment").sort("user_id")
        assert_frame_equal(pl.read_parquet(tmp_path / record.path, hive_partitioning=False), expected)
        groups = pq.read_metadata(tmp_path / record.path)
        sizes = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        assert all(size == group_rows for size in sizes[:-1])
        assert sum(sizes) == expected.height
    assert not list((tmp_path / "_rows" / "segments").iterdir())


@settings(max_examples=12, deadline=None)
@given(rows=st.lists(st.integers(0, 30), min_size=1, max_size=8), file_rows=st.integers(1, 60))
def test_no_row_is_lost_however_files_are_cut(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], file_rows: int
) -> None:
    staging = tmp_path_factory.mktemp("staging")
    frames = [bucket(number, size) for number, size in enumerate(rows)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compacting, "_bytes_per_row", lambda _: 1.0)
        patch.setattr(compacting, "row_group_rows", lambda _: 11)
        tables = [Unpublished("segments", keep(frames, staging), "mark")]
        made = compact(tables, AS_OF, staging=staging, executor=LocalExecutor(threads=1), file_bytes=file_rows)
    if not sum(rows):
        assert made == ()
        return
    [table] = made
    read = [pl.read_parquet(staging / record.path, hive_partitioning=False) for record in table.records]
    everyone = pl.concat(frames).drop("segment").sort("user_id", "score")
    assert_frame_equal(pl.concat(read).sort("user_id", "score"), everyone)
    assert all(frame["user_id"].is_sorted() for frame in read)
    largest = max(rows)
    assert all(record.rows <= 1.5 * file_rows + largest for record in table.records)


def test_files_have_about_the_size_that_is_asked_for(tmp_path: Path) -> None:
    frames = [bucket(number, 4_000).with_columns(segment=pl.lit("one")) for number in range(16)]
    table = write(frames, tmp_path, file_bytes=200_000)
    assert table.files > 2
    assert all(200_000 * 2 / 3 <= record.bytes <= 200_000 * 4 / 3 for record in table.records)


def test_same_pieces_same_files_on_any_number_of_threads(tmp_path: Path) -> None:
    frames = [bucket(number, 500) for number in range(4)]
    one = write(frames, tmp_path / "one")
    assert write(frames, tmp_path / "two", threads=2) == one


def test_rows_of_one_user_stay_together_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compacting, "row_group_rows", lambda _: 3)
    frames = [
        pl.DataFrame({"user_id": [1, 1, 1, 1, 5, 9], "rule": ["d", "a", "c", "b", "z", "y"]}),
        pl.DataFrame({"user_id": [2, 2, 7], "rule": ["q", "p", "r"]}),
    ]
    pieces = [piece for number, frame in enumerate(frames) for piece in keep_for("points", number, frame, tmp_path)]
    tables = [Unpublished("points", tuple(pieces), "mark"), Unpublished("segments", (), "mark")]
    (table,) = compact(tables, AS_OF, staging=tmp_path, executor=LocalExecutor(threads=1))
    path = tmp_path / table.records[0].path
    assert table.path == "points/as_of=2018-01-01"
    assert pl.read_parquet(path).rows() == [
        *((1, rule) for rule in "dacb"),
        *((2, rule) for rule in "qp"),
        (5, "z"),
        (7, "r"),
        (9, "y"),
    ]
    metadata = pq.read_metadata(path)
    bounds = [metadata.row_group(i).column(0).statistics for i in range(metadata.num_row_groups)]
    assert all(left.max < right.min for left, right in pairwise(bounds))
