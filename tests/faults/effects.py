"""Counts the effects of a run on a file system, and lets one of them fail, or the process die of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Self

import pytest

from engine.tables import effects
from tests.faults.storage import Storage

MODES = ("die before", "die after", "EIO", "ENOSPC", "torn write", "power cut")

_GROWING = {"mkdir", "create", "write", "sync_file", "rename", "lock"}
_CHANGING = {"mkdir", "create", "write", "sync_file", "sync_folder", "rename", "swap", "unlink", "rmdir", "lock"}


# As they are when nothing is patched.
_REAL = SimpleNamespace(**{name: getattr(effects, name) for name in ("mkdir", "rename", "swap", "unlink", "rmdir")})


class DiedError(BaseException):
    """The process is gone: no handler of it can do anything any more."""


def applies(mode: str, effect: str) -> bool:
    """Whether an effect of that name can fail so."""
    if mode == "torn write":
        return effect == "write"
    if mode == "ENOSPC":
        return effect in _GROWING
    return mode == "EIO" or effect in _CHANGING


@dataclass
class FaultyDisk:
    """The effects of `engine.tables.effects` on what lies below one folder.

    Attributes:
        storage: What is on the disk, of which a power cut leaves what is durable.
        at: Number of the effect that fails, from 0; none when None.
        mode: How it fails. After ENOSPC the disk stays full for the process; EIO comes once.
        log: Names of the effects so far and what they were on.
    """

    storage: Storage
    at: int | None = None
    mode: str = "die before"
    log: list[tuple[str, str]] = field(default_factory=list)
    dead: bool = False
    full: bool = False
    swaps: bool = True

    @contextmanager
    def patched(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("mkdir", "sync_folder", "rename", "unlink", "rmdir", "swap", "create", "sync_file"):
                patch.setattr(effects, name, getattr(self, f"_{name}"))
            patch.setattr(effects, "entries", self._wrap("entries", effects.entries))
            patch.setattr(effects, "lock", self._wrap("lock", effects.lock, lambda path, _: self.storage.create(path)))
            yield

    def effect(self, name: str, path: Path, do: Callable[[], Any], tear: Callable[[], Any] | None = None) -> Any:
        if self.dead:
            raise DiedError
        number = len(self.log)
        self.log.append((name, path.relative_to(self.storage.root).as_posix()))
        hit = number == self.at and applies(self.mode, name)
        if hit and self.mode in {"die before", "torn write"}:
            self.dead = True
            if tear is not None and self.mode == "torn write":
                tear()
            raise DiedError
        if hit and self.mode == "EIO":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        self.full = self.full or (hit and self.mode == "ENOSPC")
        if self.full and name in _GROWING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        result = do()
        if hit:
            self.dead = True
            if name == "lock":
                result.release()
            if name == "create":
                result.close()
            raise DiedError
        return result

    def _wrap(self, name: str, real: Callable[..., Any], note: Callable[..., None] = lambda *_: None) -> Any:
        def call(path: Path, *arguments: Any) -> Any:
            def do() -> Any:
                result = real(path, *arguments)
                note(path, *arguments)
                return result

            return self.effect(name, path, do)

        return call

    def _mkdir(self, path: Path) -> None:
        self._wrap("mkdir", _REAL.mkdir, self.storage.mkdir)(path)

    def _rename(self, source: Path, target: Path) -> None:
        self._wrap("rename", _REAL.rename, self.storage.rename)(source, target)

    def _unlink(self, path: Path) -> None:
        self._wrap("unlink", _REAL.unlink, self.storage.remove)(path)

    def _rmdir(self, path: Path) -> None:
        self._wrap("rmdir", _REAL.rmdir, self.storage.remove)(path)

    def _sync_folder(self, path: Path) -> None:
        self._wrap("sync_folder", os.stat, self.storage.sync_folder)(path)

    def _swap(self, first: Path, second: Path) -> bool:
        if not self.swaps:
            return False
        return bool(self._wrap("swap", _REAL.swap, self.storage.swap)(first, second))

    def _create(self, path: Path) -> BinaryIO:
        def do() -> FaultyFile:
            handle = path.open("xb", buffering=0)
            self.storage.create(path)
            return FaultyFile(self, path, handle, self.storage.number(path))

        return self.effect("create", path, do)  # type: ignore[no-any-return]

    def _sync_file(self, handle: FaultyFile) -> None:
        handle.flush()
        self.effect("sync_file", handle.path, lambda: self.storage.sync_file(handle.number))


@dataclass
class FaultyFile:
    """A file whose bytes go out when it is flushed, synced or closed, as one write."""

    disk: FaultyDisk
    path: Path
    handle: Any
    number: int
    waiting: bytes = b""

    def write(self, data: bytes) -> int:
        if self.disk.dead:
            raise DiedError
        self.waiting += bytes(data)
        return len(data)

    def flush(self) -> None:
        data, self.waiting = self.waiting, b""
        if data:
            self.disk.effect("write", self.path, lambda: self._put(data), lambda: self._put(data[: len(data) // 2]))

    def _put(self, data: bytes) -> None:
        self.handle.write(data)
        self.disk.storage.write(self.number, data)

    def close(self) -> None:
        try:
            if not self.disk.dead:
                self.flush()
        finally:
            self.handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
