from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from engine.errors import ConfigError, ResourceError
from engine.tables import disk
from engine.tables.durable import (
    durable_bytes,
    durable_json,
    durable_parquet,
    durable_parquet_at,
    durable_text,
    sha256_of,
)

FRAME = pl.DataFrame({"user_id": ["a", "b", None], "amount": [1, None, 3]}, {"user_id": pl.String, "amount": pl.Int64})


def test_the_record_describes_the_file(tmp_path: Path) -> None:
    record = durable_parquet(FRAME, tmp_path / "features" / "as_of=2018-01-01", "part-00003", root=tmp_path)
    path = tmp_path / record.path
    assert record.path == f"features/as_of=2018-01-01/part-00003-{record.sha256[:12]}.parquet"
    assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == sha256_of(path)
    assert (record.rows, record.bytes) == (3, path.stat().st_size)
    assert_frame_equal(pl.read_parquet(path), FRAME)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_layout_of_the_file(tmp_path: Path) -> None:
    frame = pl.DataFrame({name: range(600_000) for name in ("user_id", *(f"column_{i}" for i in range(40)))})
    metadata = pq.read_metadata(tmp_path / durable_parquet(frame, tmp_path, "part-0", root=tmp_path).path)
    assert [metadata.row_group(i).num_rows for i in range(3)] == [250_000, 250_000, 100_000]
    column = metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"
    assert (column.statistics.min, column.statistics.max) == (0, 249_999)


def test_columns_are_published_with_types_that_everyone_reads(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": [1], "decile": [10]}, {"user_id": pl.Int64, "decile": pl.Int8})
    path = tmp_path / durable_parquet(frame, tmp_path, "part-0", root=tmp_path).path
    assert pl.read_parquet_schema(path) == {"user_id": pl.Int64, "decile": pl.Int32}


def test_a_frame_without_rows_has_a_file(tmp_path: Path) -> None:
    record = durable_parquet(FRAME.clear(), tmp_path, "part-0", root=tmp_path)
    assert record.rows == 0
    assert pl.read_parquet(tmp_path / record.path).schema == FRAME.schema


def test_same_rows_same_name_and_bytes_however_they_are_chunked(tmp_path: Path) -> None:
    whole = pl.DataFrame({"user_id": [f"user {i}" for i in range(10_000)], "score": [i / 7 for i in range(10_000)]})
    chunked = pl.concat([whole[:1], whole[1:4_000], whole[4_000:]], rechunk=False)
    assert chunked.n_chunks() == 3
    sliced = pl.concat([whole, whole]).slice(10_000, 10_000)
    records = {durable_parquet(frame, tmp_path, "part-0", root=tmp_path) for frame in (whole, chunked, sliced)}
    assert len(records) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_same_bytes_for_any_number_of_threads(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, polars as pl\n"
        "from engine.tables.durable import durable_parquet\n"
        "frame = pl.DataFrame({c: [f'{c}{i % 977}' for i in range(300_000)] for c in 'abc'}).with_row_index()\n"
        "record = durable_parquet(frame, pathlib.Path(sys.argv[1]), 'p', root=pathlib.Path('/'))\n"
        "print(pl.thread_pool_size(), record.sha256)"
    )
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, tmp_path],
            env={**os.environ, "POLARS_MAX_THREADS": threads, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads in ("1", "4")
    ]
    answers = [process.communicate()[0].split() for process in running]
    assert [threads for threads, _ in answers] == ["1", "4"]
    assert answers[0][1] == answers[1][1]


@pytest.mark.parametrize("stem", ["", ".hidden", "a/b", "a b", "x" * 101])
def test_stems_are_plain_names(tmp_path: Path, stem: str) -> None:
    with pytest.raises(ValueError, match="stem"):
        durable_parquet(FRAME, tmp_path, stem, root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_json_is_canonical(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    first = durable_json({"b": 1, "a": {"d": "é", "c": None}}, path)
    assert path.read_text() == '{\n  "a": {\n    "c": null,\n    "d": "é"\n  },\n  "b": 1\n}\n'
    assert first == durable_json({"a": {"c": None, "d": "é"}, "b": 1}, path) == sha256_of(path)
    with pytest.raises(ValueError, match="JSON compliant"):
        durable_json({"a": float("nan")}, path)
    assert json.loads(path.read_text())["b"] == 1
    assert [entry.name for entry in path.parent.iterdir()] == ["x.json"]


def test_text_and_bytes_replace_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    durable_text("tree é\n", path)
    assert path.read_bytes() == "tree é\n".encode()
    durable_bytes(b"", path)
    assert path.read_bytes() == b""


def test_a_named_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.parquet"
    for frame in (FRAME, FRAME[:1]):
        durable_parquet_at(frame, path)
        assert_frame_equal(pl.read_parquet(path), frame)
    assert [entry.name for entry in path.parent.iterdir()] == ["x.parquet"]


def test_the_order_of_effects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("create_temporary", "sync_file", "rename", "sync_folder"):
        effect = getattr(disk, name)
        monkeypatch.setattr(disk, name, lambda *a, _name=name, _effect=effect: (calls.append(_name), _effect(*a))[1])
    durable_text("x", tmp_path / "x")
    assert calls == ["create_temporary", "sync_file", "rename", "sync_folder"]
    calls.clear()
    durable_parquet(FRAME, tmp_path, "part-0", root=tmp_path)
    assert calls == ["create_temporary", "sync_file", "rename"]
    calls.clear()
    durable_parquet_at(FRAME, tmp_path / "named.parquet")
    assert calls == ["create_temporary", "sync_file", "rename", "sync_folder"]


@pytest.mark.parametrize("effect", ["create_temporary", "sync_file", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effect: str, number: int
) -> None:
    durable_text("old", tmp_path / "x.json")

    def fail(*_: object) -> None:
        with disk.storage_errors(tmp_path):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk, effect, fail)
    for write in (
        lambda: durable_text("new", tmp_path / "x.json"),
        lambda: durable_parquet(FRAME, tmp_path, "part-0", root=tmp_path),
    ):
        with pytest.raises(ResourceError, match=str(tmp_path)):
            write()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.json", "old")]


def test_a_disk_that_fills_up_while_polars_writes(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": range(100_000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(ResourceError, match="File too large") as caught:
            durable_parquet(frame, tmp_path, "part-0", root=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "system-limit"
    assert not list(tmp_path.iterdir())


@contextmanager
def unprivileged() -> Iterator[None]:
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("folder", ["", "below"])
def test_a_folder_without_write_permission(tmp_path: Path, folder: str) -> None:
    tmp_path.chmod(0o555)
    try:
        with unprivileged(), pytest.raises(ConfigError, match=str(tmp_path)) as caught:
            durable_parquet(FRAME, tmp_path / folder, "part-0", root=tmp_path)
    finally:
        tmp_path.chmod(0o755)
    assert caught.value.code == "out-not-writable"
    assert not list(tmp_path.iterdir())
