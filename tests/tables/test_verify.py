from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from engine.errors import IntegrityError
from engine.tables.durable import sha256_of
from engine.tables.layout import work_folder
from engine.tables.manifest import TableRecord
from engine.tables.verify import table_problems, verify_table
from tests.tables.samples import RUN_A, stage_segments, users


@pytest.fixture
def staged(tmp_path: Path) -> tuple[Path, TableRecord]:
    return work_folder(tmp_path, "r1"), stage_segments(tmp_path, "r1", RUN_A)


def test_a_whole_table(staged: tuple[Path, TableRecord]) -> None:
    root, table = staged
    verify_table(root, table)
    verify_table(root, table, deep=True)
    (root / table.path / "segment=announced").mkdir()
    verify_table(root, table, deep=True)


def rewrite(path: Path, frame: pl.DataFrame, table: TableRecord) -> TableRecord:
    frame.write_parquet(path)
    records = tuple(
        replace(record, bytes=path.stat().st_size, sha256=sha256_of(path)) if path.match(record.path) else record
        for record in table.records
    )
    return replace(table, records=records, bytes=sum(record.bytes for record in records))


def remove(path: Path, table: TableRecord) -> TableRecord:
    path.unlink()
    return table


def extra(path: Path, table: TableRecord) -> TableRecord:
    path.with_name("part-1.parquet").write_bytes(path.read_bytes())
    return table


def hidden(path: Path, table: TableRecord) -> TableRecord:
    path.with_name(".part-1").write_bytes(b"")
    return table


def truncate(path: Path, table: TableRecord) -> TableRecord:
    path.write_bytes(path.read_bytes()[:-1])
    return table


def zero(path: Path, table: TableRecord) -> TableRecord:
    path.write_bytes(bytes(path.stat().st_size))
    return table


def fewer_rows(path: Path, table: TableRecord) -> TableRecord:
    return rewrite(path, users([1]), table)


def other_column(path: Path, table: TableRecord) -> TableRecord:
    return rewrite(path, users([1, 2, 3]).rename({"score": "points"}), table)


def other_dtype(path: Path, table: TableRecord) -> TableRecord:
    return rewrite(path, users([1, 2, 3]).cast({"score": pl.Float32}), table)


def other_order(path: Path, table: TableRecord) -> TableRecord:
    return rewrite(path, users([1, 2, 3]).select("score", "user_id"), table)


def wrong_total(path: Path, table: TableRecord) -> TableRecord:
    return replace(table, rows=table.rows + 1)


def no_files(path: Path, table: TableRecord) -> TableRecord:
    return replace(table, records=(), rows=0, files=0, bytes=0)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (remove, "missing: segments/"),
        (extra, "not in the manifest: segments/"),
        (hidden, "not in the manifest: segments/"),
        (truncate, "bytes expected"),
        (zero, "not readable as Parquet"),
        (fewer_rows, "3 rows expected, 1 found"),
        (other_column, "points Float64 found"),
        (other_dtype, "score Float32 found"),
        (other_order, "columns user_id Int64, score Float64 expected"),
        (wrong_total, "7 rows are stated, its files add up to 6"),
        (no_files, "no files are listed"),
    ],
)
def test_damage_is_named(
    staged: tuple[Path, TableRecord], damage: Callable[[Path, TableRecord], TableRecord], says: str
) -> None:
    root, table = staged
    path = next((root / table.path / "segment=loyal").iterdir())
    damaged = damage(path, table)
    with pytest.raises(IntegrityError) as caught:
        verify_table(root, damaged)
    assert caught.value.code == "table-mismatch"
    assert says in str(caught.value)
    assert caught.value.hint


def test_every_flipped_bit_is_found(staged: tuple[Path, TableRecord]) -> None:
    root, table = staged
    path = root / table.records[0].path
    good = path.read_bytes()
    for position in range(0, len(good), 37):
        damaged = bytearray(good)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        assert table_problems(root, table, deep=True), position
    path.write_bytes(good)
    assert table_problems(root, table, deep=True) == []


@pytest.mark.parametrize(
    "folder", ["segment=", "segment", "=x", "segment=a b", "segment=__HIVE_DEFAULT_PARTITION__", "segment=%FF"]
)
def test_partitions_without_a_proper_name(staged: tuple[Path, TableRecord], folder: str) -> None:
    root, table = staged
    (root / table.path / "segment=loyal").rename(root / table.path / folder)
    records = tuple(replace(item, path=item.path.replace("/segment=loyal/", f"/{folder}/")) for item in table.records)
    problems = table_problems(root, replace(table, records=records))
    assert len(problems) == 1
    assert f"{folder!r} is not a partition folder" in problems[0]


def test_all_problems_at_once_but_not_thousands(staged: tuple[Path, TableRecord]) -> None:
    root, table = staged
    for number in range(30):
        (root / table.path / f"late-{number}").write_bytes(b"")
    with pytest.raises(IntegrityError) as caught:
        verify_table(root, table)
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  … and 10 more"
