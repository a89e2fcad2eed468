"""Effects on a file system that are counted, and of which one is the last that the process lives to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from engine.tables import effects

NAMES = ("mkdir", "create", "sync_file", "sync_folder", "rename", "swap", "link", "chmod", "unlink", "rmdir")


class DiedError(BaseException):
    """The process is gone: no handler of it can do anything any more."""


@dataclass
class Effects:
    """Counts effects; at number `last` dies, by default with an exception."""

    last: int | None = None
    count: int = 0
    dead: bool = False
    die: Callable[[], None] = lambda: None

    @contextmanager
    def patched(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in NAMES:
                patch.setattr(effects, name, self._counted(getattr(effects, name)))
            yield

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def effect(*arguments: Any) -> Any:
            if self.dead:
                raise DiedError
            if self.count == self.last:
                self.dead = True
                self.die()
                raise DiedError
            self.count += 1
            return real(*arguments)

        return effect
