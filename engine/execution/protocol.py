"""What an executor must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from engine.progress import Tally

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class TaskSize:
    """What a task is going to need, as far as it is known before it runs; see `engine.execution.sizes`.

    Attributes:
        rows: Rows that it reads.
        bytes: Bytes that it reads.
        memory: Bytes of memory at its peak, those of its process included.
    """

    rows: int = 0
    bytes: int = 0
    memory: int = 0


class Executor(Protocol):
    """Runs independent tasks: each reads files, writes files and returns a small record."""

    @property
    def name(self) -> str:
        """`local` or `ray`."""
        ...

    @property
    def threads(self) -> int:
        """Threads a task may use (Polars, LightGBM, BLAS)."""
        ...

    @property
    def tally(self) -> Tally:
        """What has been done so far; it is up to date when `on_done` is called."""
        ...

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        on_done: Callable[[R], None] | None = None,
        small: bool = False,
        sizes: Sequence[TaskSize] | None = None,
    ) -> list[R]:
        """Results of `function` for each task, in the order of `tasks`.

        An error of a task has the attribute `task_index`: the position of the task in `tasks`.

        Args:
            function: A top-level function; it must give the same files and record when it is run again.
            tasks: Small picklable values (paths and settings, never data).
            on_done: Called with each result as it arrives, in any order.
            small: Whether two tasks fit into memory where one does, so that a single process may run them side by side.
            sizes: What each task is going to need, in the order of `tasks`; a cluster runs the largest first and none
                where there is no memory for it.

        Raises:
            TamisError: As the task raised it; the other tasks are cancelled.
            ResourceError: A task exceeded its time limit or died repeatedly, or no node has the memory that it needs.
        """
        ...

    def check_paths(self, work: Path, inputs: Sequence[Path]) -> None:
        """Make sure that wherever tasks run, what they read can be seen and what they write arrives.

        Args:
            work: Work folder of the run.
            inputs: Files or folders of the input.

        Raises:
            ConfigError: A node of the cluster does not see them, or cannot write to `work`.
        """
        ...


def with_index(error: BaseException, index: int) -> BaseException:
    """The error of a task, with the attribute `task_index`: the position of the task among those of its call."""
    error.__dict__["task_index"] = index
    return error
