from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.rollups import verify as module
from engine.rollups.index import Index
from engine.rollups.verify import VerifyTask, damaged_files, is_whole, whole_part
from tests.rollups.stores import HERE, at, bring, config_of, label, put, source_of


def index_of(folder: Path) -> Index:
    for day in range(3):
        put(folder / "log", label(day), (f"u{day}", "buy", at(day), "1"), (None,))
    return bring(config_of(source_of(folder / "log")), folder / "out").index


def test_a_store_that_is_whole(tmp_path: Path) -> None:
    index = index_of(tmp_path)
    assert whole_part(index, tmp_path / "out", HERE) == (index, set())
    assert whole_part(Index(), tmp_path / "none", HERE) == (Index(), set())


@pytest.mark.parametrize("portion", [0, 1 << 30])
def test_units_with_damaged_files_are_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portion: int) -> None:
    monkeypatch.setattr(module, "_TASK_BYTES", portion)
    index, store = index_of(tmp_path), tmp_path / "out"
    first, second, third = index.entries
    (store / first.rejects[0].path).unlink()
    (store / third.ids[0].path).write_bytes(b"")
    whole, damaged = whole_part(index, store, HERE)
    assert damaged == {("log", label(0)), ("log", label(2))}
    assert whole == replace(index, entries=(second,))


def test_without_the_ids_of_users_nothing_can_be_used(tmp_path: Path) -> None:
    index, store = index_of(tmp_path), tmp_path / "out"
    (store / index.users[0].path).write_bytes(b"")
    whole, damaged = whole_part(index, store, HERE)
    assert damaged == {("log", label(day)) for day in range(3)}
    assert whole == replace(index, entries=(), users=())


def test_each_damaged_file_is_named(tmp_path: Path) -> None:
    index, store = index_of(tmp_path), tmp_path / "out"
    files = tuple(index.files())
    assert damaged_files(VerifyTask(str(store), files)) == ()
    assert all(is_whole(store / file.path, file) for file in files)
    content = bytearray((store / files[1].path).read_bytes())
    content[-1] ^= 0x80
    (store / files[1].path).write_bytes(content)
    assert damaged_files(VerifyTask(str(store), files)) == (files[1].path,)
    assert not is_whole(store, files[0])
