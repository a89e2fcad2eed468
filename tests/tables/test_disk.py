from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from filelock import Timeout

from engine.errors import ConfigError, ConflictError, ResourceError, TamisError, TransientError
from engine.tables import disk


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, ResourceError, "disk-full"),
        (errno.EDQUOT, ResourceError, "disk-full"),
        (errno.EMFILE, ResourceError, "system-limit"),
        (errno.EFBIG, ResourceError, "system-limit"),
        (errno.EIO, ResourceError, "disk-failed"),
        (errno.EROFS, ConfigError, "out-not-writable"),
        (errno.EACCES, ConfigError, "out-not-writable"),
        (errno.ENOTDIR, ConfigError, "out-not-a-folder"),
        (errno.ESTALE, TransientError, "storage-unreachable"),
    ],
)
def test_failures_of_storage_are_named(number: int, kind: type[TamisError], code: str) -> None:
    with pytest.raises(kind) as caught, disk.storage_errors(Path("/some/where")):
        raise OSError(number, os.strerror(number))
    assert caught.value.code == code
    assert caught.value.hint
    assert str(caught.value) == f"cannot write in /some/where: {os.strerror(number)}"


def test_other_failures_stay_what_they_are() -> None:
    with pytest.raises(FileNotFoundError), disk.storage_errors(Path("/some/where")):
        raise FileNotFoundError(errno.ENOENT, "gone")


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigError) as caught:
        disk.make_folder(tmp_path / "out" / "segments")
    assert caught.value.code == "out-not-a-folder"


@pytest.mark.parametrize("there", ["", "out", "out/segments", "out/segments/a"])
def test_a_new_folder_is_on_stable_storage(there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    synced: list[tuple[Path, list[str]]] = []

    def note(folder: Path) -> None:
        synced.append((folder, [path.name for path in folder.iterdir()]))

    monkeypatch.setattr(disk, "sync_folder", note)
    monkeypatch.chdir(tmp_path)
    disk.make_folder(Path("out/segments/a"))
    names = [(Path(), ["out"]), (Path("out"), ["segments"]), (Path("out/segments"), ["a"])]
    assert synced == names[len(Path(there).parts) :]
    disk.make_folder(Path("out/segments/a"))
    assert len(synced) == len(names) - len(Path(there).parts)


def test_temporary_names_are_hidden_and_unique(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 250 + ".parquet")
    pairs = [disk.create_temporary(target) for _ in range(3)]
    for path, handle in pairs:
        handle.close()
        assert path.parent == tmp_path
        assert disk.is_temporary(path.name)
    assert len({path for path, _ in pairs}) == 3
    assert not disk.is_temporary(target.name)


def test_list_files_sees_hidden_and_nested_ones(tmp_path: Path) -> None:
    (tmp_path / "b" / "empty").mkdir(parents=True)
    (tmp_path / "b" / ".hidden").write_bytes(b"12")
    (tmp_path / "a").write_bytes(b"123")
    assert disk.list_files(tmp_path) == {"a": 3, "b/.hidden": 2}
    assert disk.list_files(tmp_path / "none") == {}


def test_remove_tree_outlives_a_late_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    (folder / "sub").mkdir(parents=True)
    late = iter(range(2))
    rmdir = os.rmdir

    def rmdir_after_a_late_write(path: str, *, dir_fd: int | None = None) -> None:
        if path == "sub" and next(late, None) is not None:
            (folder / "sub" / "late").write_text("from a task given up for lost")
        rmdir(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", rmdir_after_a_late_write)
    disk.remove_tree(folder)
    assert not folder.exists()
    disk.remove_tree(folder)


def test_a_file_system_without_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ConfigError) as caught:
        disk.make_folder(tmp_path / "x" / "_work")
    assert caught.value.code == "out-not-a-folder"
    assert str(tmp_path / "x" / "_work") in caught.value.message


def test_a_folder_that_is_gone_when_a_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConflictError) as caught:
        disk.create_temporary(tmp_path / "gone" / "file")
    assert caught.value.code == "out-disturbed"
    assert str(tmp_path / "gone") in caught.value.message


def test_replacing_is_all_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with disk.replacing(target) as handle:
        handle.write(b"first")
        assert not target.exists()
    with pytest.raises(TypeError), disk.replacing(target) as handle:
        handle.write("no bytes")  # type: ignore[arg-type]
    assert disk.list_files(tmp_path) == {"file": 5}


def test_remove_tree_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"kept")
    (tmp_path / "gone" / "deep").mkdir(parents=True)
    (tmp_path / "gone" / "deep" / "link").symlink_to("../../kept")
    (tmp_path / "gone" / "dangling").symlink_to("nowhere")
    disk.remove_tree(tmp_path / "gone")
    assert disk.list_files(tmp_path) == {"kept/file": 4}


def test_an_empty_file_stays_what_it_is(tmp_path: Path) -> None:
    for _ in range(2):
        disk.create_empty(tmp_path / "mark")
    assert disk.list_files(tmp_path) == {"mark": 0}


def test_the_lock_of_a_file(tmp_path: Path) -> None:
    with disk.lock(tmp_path / "lock"), pytest.raises(Timeout), disk.lock(tmp_path / "lock", timeout=0):
        pass
    with disk.lock(tmp_path / "lock", timeout=0):
        pass
