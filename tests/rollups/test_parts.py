from __future__ import annotations

import errno
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from engine.errors import ConfigError, ResourceError
from engine.rollups.parts import ROW_GROUP_ROWS, write_part
from engine.tables import disk

FRAME = pl.DataFrame({"user_key": range(ROW_GROUP_ROWS + 1)})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", [Path, str])
def test_a_part(tmp_path: Path, kind: type[Path | str]) -> None:
    file = tmp_path / "part.parquet"
    write_part(FRAME, kind(file))
    assert pl.read_parquet(file).equals(FRAME)
    assert pq.ParquetFile(file).metadata.num_row_groups == 2
    assert names(tmp_path) == ["part.parquet"]


def test_who_reads_a_part_is_not_disturbed_by_a_second_attempt(tmp_path: Path) -> None:
    file = tmp_path / "part.parquet"
    write_part(FRAME, file)
    first = file.read_bytes()
    with file.open("rb") as reader:
        write_part(FRAME.head(1), file)
        assert reader.read() == first
    assert pl.read_parquet(file).height == 1


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "part.parquet"
    write_part(FRAME.head(1), file)

    def full(self: pl.DataFrame, handle: object, **_: object) -> None:
        handle.write(b"half")  # type: ignore[attr-defined]
        raise pl.exceptions.ComputeError(f"No space left on device (os error {errno.ENOSPC})")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(ResourceError) as caught:
        write_part(FRAME, file)
    assert caught.value.code == "disk-full"
    assert names(tmp_path) == ["part.parquet"]
    assert pl.read_parquet(file).height == 1


def test_an_error_of_another_kind_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise pl.exceptions.ComputeError("no idea")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", wrong)
    with pytest.raises(pl.exceptions.ComputeError, match="no idea"):
        write_part(FRAME, tmp_path / "part.parquet")
    assert names(tmp_path) == []


def test_a_rename_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("no", code="out-not-writable")

    monkeypatch.setattr(disk, "rename", refuse)
    with pytest.raises(ConfigError):
        write_part(FRAME, tmp_path / "part.parquet")
    assert names(tmp_path) == []
