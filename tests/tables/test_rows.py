from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.errors import IntegrityError, ResourceError
from engine.tables import disk, effects
from engine.tables.rows import BATCH_ROWS, Piece, form_of, keep_rows, merge_portions, read_portions, read_rows, split_by

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


def test_rows_are_kept_in_another_order(tmp_path: Path) -> None:
    order = pl.Series([3, 0, 2, 1])
    (piece,) = keep_rows(FRAME, tmp_path / "x.arrow", order)
    assert_frame_equal(read_rows(piece), FRAME[order])


def test_a_frame_without_rows_has_no_file(tmp_path: Path) -> None:
    assert keep_rows(FRAME.clear(), tmp_path / "x.arrow") == ()
    assert split_by((), []) == ()
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, Piece]:
    names = ["short", "a name that is longer than twelve bytes", None]
    frame = pl.DataFrame({"user_id": range(3 * BATCH_ROWS + 5)}).with_columns(
        kind=pl.Series(names).gather(pl.int_range(3 * BATCH_ROWS + 5, eager=True) % 3)
    )
    (piece,) = keep_rows(frame, tmp_path_factory.mktemp("large") / "00000.arrow")
    return frame, piece


@given(
    first=st.integers(0, 3 * BATCH_ROWS),
    sizes=st.lists(st.sampled_from([0, 1, 7, BATCH_ROWS - 1, BATCH_ROWS, BATCH_ROWS + 1]), min_size=1, max_size=5),
)
def test_portions_of_a_piece_are_its_rows(large: tuple[pl.DataFrame, Piece], first: int, sizes: Sequence[int]) -> None:
    frame, whole = large
    room = frame.height - first
    sizes = [min(size, max(0, room - sum(sizes[:number]))) for number, size in enumerate(sizes)]
    if not sum(sizes):
        return
    piece = Piece(whole.path, first, sum(sizes))
    form = form_of([piece])
    portions = list(read_portions(piece, sizes, form))
    assert [sum(batch.num_rows for batch in portion) for portion in portions] == sizes
    assert_frame_equal(merge_portions(portions, form).cast({"kind": pl.String}), frame[first : first + piece.rows])
    assert_frame_equal(read_rows(piece), frame[first : first + piece.rows])


def test_portions_of_a_file_that_was_cut(tmp_path: Path) -> None:
    (piece,) = keep_rows(FRAME, tmp_path / "x.arrow")
    form = form_of([piece])
    portions = read_portions(piece, [1, 3], form)
    assert sum(batch.num_rows for batch in next(portions)) == 1
    with pytest.raises(IntegrityError, match="changed during the run"):
        list(read_portions(Piece(piece.path, 0, BATCH_ROWS + 1), [4, BATCH_ROWS - 3], form))


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
    class Full(FileIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(effects, "create", lambda path: Full(path, "xb"))
    with pytest.raises(ResourceError):
        keep_rows(FRAME, tmp_path / "x.arrow")
    assert not [name for name in disk.list_files(tmp_path) if not name.startswith(".")]
    assert not list(tmp_path.iterdir())
