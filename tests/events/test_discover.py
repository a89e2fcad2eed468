from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from engine.config import Source, Value
from engine.errors import DataError
from engine.events import discover as module
from engine.events.discover import DiscoverTask, discover, discover_types
from engine.events.ingest import Piece
from engine.execution.local import LocalExecutor
from tests.events.logs import AS_OF_US, NOON, log, source, write

HERE = LocalExecutor("local", 1)


def tasks_of(*sources: Source, portion: int = 100) -> list[DiscoverTask]:
    tasks = []
    for index, one in enumerate(sources):
        rows = pq.ParquetFile(str(one.path)).metadata.num_rows
        for start in range(0, rows, portion):
            piece = Piece(index, str(one.path), start, min(portion, rows - start))
            tasks.append(DiscoverTask(sources, (piece,), 2, AS_OF_US))
    return tasks


def found(*sources: Source, portion: int = 100) -> tuple[str, ...]:
    return discover_types(tasks_of(*sources, portion=portion), executor=HERE)


def many(folder: Path, numbers: Sequence[int]) -> Source:
    return source(write(log(*[(1, f"type {number:03d}", NOON) for number in numbers]), folder / f"{len(numbers)}"))


@pytest.mark.parametrize("portion", [1, 3, 100])
def test_types_are_discovered(tmp_path: Path, portion: int) -> None:
    one = source(write(log((1, "b", NOON), (1, None, NOON), (1, "", NOON), (1, "x", NOON)), tmp_path / "1"), "one")
    two = source(write(log((1, "é/ü", NOON), (1, "b", NOON)), tmp_path / "2"), "two", where="type <> 'x'")
    constant = source(tmp_path / "1", "three", {"event_type": Value(value="send")})
    nothing = source(tmp_path / "1", "four", {"event_type": Value(value="never")}, where='"user" > 1')
    assert found(one, portion=portion) == ("b", "x")
    assert found(one, two, constant, nothing, portion=portion) == ("b", "send", "x", "é/ü")
    assert discover_types([], executor=HERE) == ()
    assert discover_types(tasks_of(one, portion=portion), ("z", "b"), executor=HERE) == ("b", "x", "z")


@pytest.mark.parametrize("fields", [{}, {"columns": {"event_id": "id"}, "same_id": "lines"}])
def test_types_of_the_future_are_not_seen(tmp_path: Path, fields: dict[str, Any]) -> None:
    midnight = pl.Series([AS_OF_US]).cast(pl.Datetime("us", "UTC"))[0]
    rows = [(1, "before", midnight - timedelta(microseconds=1)), (1, "at", midnight), (1, "never", None)]
    rows += [(1, "both", midnight), (1, "both", NOON)]
    assert found(source(write(log(*rows), tmp_path / "1"), **fields)) == ("before", "both")


def test_too_many_types(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"more than 200 different event types, such as 'type 000', 'type 001'"
    ) as caught:
        found(many(tmp_path, range(201)))
    assert caught.value.code == "event-types-too-many"
    enough = many(tmp_path, range(1, 201))
    assert len(found(enough)) == 200
    with pytest.raises(DataError, match="more than 200"):
        discover_types(tasks_of(enough), ("stored",), executor=HERE)


def test_a_task_ends_as_soon_as_there_are_too_many(tmp_path: Path) -> None:
    wide = many(tmp_path, range(999))
    pieces = (Piece(0, str(wide.path), 0, 999), Piece(0, str(tmp_path / "gone"), 0, 1))
    names = discover(DiscoverTask((wide,), pieces, 2, AS_OF_US))
    assert names == tuple(f"type {number:03d}" for number in range(module.MAX_TYPES + 1))


def test_damaged_data_while_types_are_discovered(tmp_path: Path) -> None:
    file = write(log(*[(number, f"t{number % 7}", NOON) for number in range(1000)]), tmp_path / "1.parquet")
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(1)
    start, size = chunk.dictionary_page_offset, chunk.total_compressed_size
    content = bytearray(file.read_bytes())
    content[start : start + size] = b"\xff" * size
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        found(source(file), portion=1000)
    assert caught.value.code == "input-unreadable"
    assert str(file) in caught.value.message
