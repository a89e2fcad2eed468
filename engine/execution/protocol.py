"""What an executor must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


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

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        on_done: Callable[[R], None] | None = None,
        small: bool = False,
    ) -> list[R]:
        """Results of `function` for each task, in the order of `tasks`.

        Args:
            function: A top-level function; it must give the same files and record when it is run again.
            tasks: Small picklable values (paths and settings, never data).
            on_done: Called with each result as it arrives, in any order.
            small: Whether two tasks fit into memory where one does, so that a single process may run them side by side.

        Raises:
            TamisError: As the task raised it; the other tasks are cancelled.
            ResourceError: A task exceeded its time limit or died repeatedly.
        """
        ...
