from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.tables import disk, effects
from engine.tables.exchange import exchange


def two_folders(root: Path) -> tuple[Path, Path]:
    for name in ("staged", "live"):
        folder = root / name / "as_of"
        folder.mkdir(parents=True)
        for file in ("a", "b"):
            (folder / file).write_text(name)
    return root / "staged" / "as_of", root / "live" / "as_of"


def test_both_change_places(tmp_path: Path) -> None:
    staged, live = two_folders(tmp_path)
    exchange(staged, live)
    assert [(folder / "a").read_text() for folder in (staged, live)] == ["live", "staged"]
    exchange(staged, live)
    assert [(folder / "a").read_text() for folder in (staged, live)] == ["staged", "live"]


def test_parents_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged, live = two_folders(tmp_path)
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    exchange(staged, live)
    assert synced == [live.parent, staged.parent]


def test_a_reader_never_misses_the_folder(tmp_path: Path) -> None:
    staged, live = two_folders(tmp_path)
    if not effects.swap(staged, live):
        pytest.skip("this file system has no atomic exchange")
    stop = threading.Event()
    seen: list[tuple[str, ...]] = []

    def read() -> None:
        while not stop.is_set():
            handle = os.open(live, os.O_RDONLY)
            try:
                files = sorted(os.listdir(handle))  # noqa: PTH208  a Path would be resolved again
                seen.append(tuple(Path(f"/proc/self/fd/{handle}/{name}").read_text() for name in files))
            finally:
                os.close(handle)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(300):
        exchange(staged, live)
    stop.set()
    reader.join()
    assert set(seen) == {("staged", "staged"), ("live", "live")}


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
def test_file_systems_without_exchange_get_three_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    staged, live = two_folders(tmp_path)
    monkeypatch.setattr(effects, "swap", lambda *_: number not in effects._NO_EXCHANGE)
    exchange(staged, live)
    assert [(folder / "a").read_text() for folder in (staged, live)] == ["live", "staged"]
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["as_of", "as_of"]


def test_a_system_without_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged, live = two_folders(tmp_path)
    monkeypatch.setattr(effects.ctypes, "CDLL", lambda *_, **__: object())
    exchange(staged, live)
    assert (live / "a").read_text() == "staged"


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    _, live = two_folders(tmp_path)
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "none", live)
    assert (live / "a").read_text() == "live"


def test_a_refusal_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged, live = two_folders(tmp_path)

    def refuse(*_: Path) -> bool:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(effects, "swap", refuse)
    with pytest.raises(ConfigError, match=str(live.parent)):
        exchange(staged, live)
