from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.errors import IntegrityError, ResourceError
from engine.tables import disk
from engine.tables.rows import Piece, keep_rows, read_rows, split_by

FRAME = pl.DataFrame(
    {"user_id": ["a", "b", "c", "d"], "score": [0.5, None, 2.0, 3.0], "kind": ["x", "x", "y", None]},
)


def test_rows_are_read_back_whole_and_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "new" / "00000.arrow"
    (piece,) = keep_rows(FRAME, path)
    assert piece == Piece(str(path), 0, 4)
    assert_frame_equal(read_rows(piece), FRAME)
    first, second = split_by([piece], [("segment=x", 1), ("segment=y", 3)])
    assert (first.partition, second.partition) == ("segment=x", "segment=y")
    assert_frame_equal(read_rows(first), FRAME[:1])
    assert_frame_equal(read_rows(second, ["score"]), FRAME[1:].select("score"))
    assert [entry.name for entry in path.parent.iterdir()] == ["00000.arrow"]


def test_a_frame_without_rows_has_no_file(tmp_path: Path) -> None:
    assert keep_rows(FRAME.clear(), tmp_path / "x.arrow") == ()
    assert split_by((), []) == ()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["gone", "cut", "shorter", "other"])
def test_a_file_that_is_not_what_it_was(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.arrow"
    (piece,) = keep_rows(FRAME, path)
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, 100)
    elif damage == "shorter":
        keep_rows(FRAME[:2], path)
    else:
        path.write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"x\.arrow") as caught:
        read_rows(piece)
    assert caught.value.code == "work-file-changed"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: pl.DataFrame, __: BinaryIO, **___: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pl.DataFrame, "write_ipc", fail)
    with pytest.raises(ResourceError):
        keep_rows(FRAME, tmp_path / "x.arrow")
    assert not [name for name in disk.list_files(tmp_path) if not name.startswith(".")]
    assert not list(tmp_path.iterdir())
