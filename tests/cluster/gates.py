from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray

LONGEST_HOLD = 150.0
STEP = 32 * 2**20


@dataclass(frozen=True)
class Begun:
    """An attempt at a task, as its worker wrote it down."""

    stage: str
    node: str
    host: str
    pid: int


@dataclass(frozen=True)
class Gates:
    """A folder that all processes see: what has begun, which stages are held, and which eat memory."""

    folder: Path

    def hold(self, stage: str) -> None:
        self._hold(stage).touch()

    def let_go(self, stage: str) -> None:
        self._hold(stage).unlink(missing_ok=True)

    def held(self, stage: str) -> bool:
        return self._hold(stage).exists()

    def feed(self, stage: str, size: int, *, times: int) -> None:
        """Have so many attempts of a stage take so many bytes of memory."""
        for number in range(times):
            (self.folder / f"{stage}.eat.{number}").write_text(str(size), encoding="utf-8")

    def meal(self, stage: str) -> int:
        for path in self.folder.glob(f"{stage}.eat.*"):
            size = int(path.read_text(encoding="utf-8"))
            path.unlink()
            return size
        return 0

    def note(self, begun: Begun) -> None:
        name = "~".join([begun.stage, begun.node, begun.host, str(begun.pid), secrets.token_hex(4)])
        (self.folder / f"{name}.begun").touch()

    def begun(self, stage: str | None = None) -> list[Begun]:
        found = []
        for path in sorted(self.folder.glob("*.begun"), key=lambda path: path.stat().st_mtime_ns):
            of, node, host, pid, _ = path.stem.split("~")
            if stage in (None, of):
                found.append(Begun(of, node, host, int(pid)))
        return found

    def _hold(self, stage: str) -> Path:
        return self.folder / f"{stage}.hold"


class Gated:
    """A task of the product that is written down when it begins, and waits for as long as its stage is held."""

    def __init__(self, function: Callable[[Any], Any], folder: str) -> None:
        self.function, self.folder = function, folder
        self.__name__ = function.__name__

    def __call__(self, task: Any) -> Any:
        gates, stage = Gates(Path(self.folder)), self.__name__
        _stand_still(gates, stage)
        eat(gates.meal(stage))
        return self.function(task)


def _stand_still(gates: Gates, stage: str) -> None:
    node = ray.get_runtime_context().get_node_id()
    gates.note(Begun(stage, node, socket.gethostname(), os.getpid()))
    until = time.monotonic() + LONGEST_HOLD
    while gates.held(stage) and time.monotonic() < until:
        time.sleep(0.05)


def eat(size: int) -> None:
    """Take memory in small steps, as a task does that reads more than was thought."""
    taken = []
    for _ in range(size // STEP):
        taken.append(np.ones(STEP, np.uint8))
        time.sleep(0.05)
    time.sleep(2 if taken else 0)


def gate_tasks(folder: str) -> None:
    """Have the executor of this process gate its tasks."""
    from engine.execution.on_ray import RayExecutor

    ungated = RayExecutor.map

    def gated(self: RayExecutor, function: Callable[[Any], Any], tasks: Sequence[Any], **options: Any) -> list[Any]:
        results = ungated(self, Gated(function, folder), tasks, **options)
        _stand_still(Gates(Path(folder)), f"after-{function.__name__}")
        return results

    RayExecutor.map = gated  # type: ignore[method-assign,assignment]
