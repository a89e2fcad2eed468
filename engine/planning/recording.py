"""An executor that watches another one: which tasks a run really has, how long each takes, and how much memory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.execution.protocol import Executor, R, T, TaskSize
from engine.progress import Tally


@dataclass(frozen=True)
class Observed:
    """One task of a run.

    Attributes:
        call: Number of the call of `map` it belongs to, from 0: a run makes the same calls each time.
        function: Name of the task's function.
        kind: Name of the task's type, where one function does several things; see `kind_of`.
        seconds: Wall time.
        held_bytes: Resident memory of the process when it began; 0 where the system does not tell.
        peak_bytes: Most of it while it ran.
    """

    call: int
    function: str
    kind: str
    seconds: float
    held_bytes: int
    peak_bytes: int


@dataclass
class Recording:
    """Runs tasks as `executor` does, one after the other, and keeps what it saw in `tasks`.

    Attributes:
        executor: Where the tasks run; in this process, or their time and memory cannot be told.
        tasks: What was seen, in order.
    """

    executor: Executor
    tasks: list[Observed] = field(default_factory=list)
    calls: int = 0

    @property
    def name(self) -> str:
        return self.executor.name

    @property
    def threads(self) -> int:
        return self.executor.threads

    @property
    def tally(self) -> Tally:
        return self.executor.tally

    def check_paths(self, work: Path, inputs: Sequence[Path]) -> None:
        """See `engine.execution.protocol.Executor.check_paths`."""
        self.executor.check_paths(work, inputs)

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        on_done: Callable[[R], None] | None = None,
        small: bool = False,
        sizes: Sequence[TaskSize] | None = None,
    ) -> list[R]:
        """See `engine.execution.protocol.Executor.map`."""
        number, self.calls = self.calls, self.calls + 1
        # Two side by side cannot be told apart: each gets its share of their time.
        step = max(1, len(tasks)) if small else 1
        results: list[R] = []
        for first in range(0, len(tasks), step):
            portion = tasks[first : first + step]
            needs = None if sizes is None else sizes[first : first + step]
            _forget_peak()
            held, start = memory_now(), time.perf_counter()
            results += self.executor.map(function, portion, on_done=on_done, small=small, sizes=needs)
            seconds = (time.perf_counter() - start) / len(portion)
            peak = peak_memory()
            self.tasks += [Observed(number, function.__name__, kind_of(task), seconds, held, peak) for task in portion]
        return results


def kind_of(task: Any) -> str:
    """What a task is: the name of its type, and of a pass over blocks the name of the pass."""
    name = type(task).__name__
    return f"{name} {task.function.__name__.strip('_')}" if name == "Visit" else name


def _forget_peak() -> None:
    # Since Linux 4.0, "5" sets the high-water mark of the process back to what it holds now.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def memory_now() -> int:
    """Resident memory of the process (bytes), 0 where the system does not tell."""
    return _status("VmRSS")


def peak_memory() -> int:
    """The process's high-water mark of resident memory (bytes), 0 where the system does not tell."""
    return _status("VmHWM")


def _status(name: str) -> int:
    with suppress(OSError):
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        return int(found.group(1)) * 1024 if found else 0
    return 0
