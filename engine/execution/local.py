"""Tasks one after the other in this process; Polars and LightGBM use their own threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.execution.protocol import R, T, TaskSize, with_index
from engine.progress import Tally

_SIDE_BY_SIDE: Final = 2


def usable_cpus() -> int:
    """Processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@dataclass(frozen=True)
class LocalExecutor:
    """Runs each task when its turn comes."""

    name: str = "local"
    threads: int = field(default_factory=usable_cpus)
    tally: Tally = field(default_factory=Tally, compare=False, repr=False)

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
        results: list[R] = []
        for result in self._side_by_side(function, tasks) if small and self.threads > 1 else _each(function, tasks):
            if sizes is not None:
                self.tally.rows += sizes[len(results)].rows
                self.tally.bytes += sizes[len(results)].bytes
            results.append(result)
            if on_done is not None:
                on_done(result)
        return results

    def check_paths(self, work: Path, inputs: Sequence[Path]) -> None:
        """Tasks see what this process sees."""

    def _side_by_side(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        # Polars and numpy let go of the interpreter's lock: while one task is in Python, the other one counts.
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            futures = [pool.submit(function, task) for task in tasks]
            try:
                for index, future in enumerate(futures):
                    yield _told(future.result, index)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _each(function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    for index, task in enumerate(tasks):
        yield _told(lambda: function(task), index)  # noqa: B023 - called before the next task is taken


def _told(call: Callable[[], R], index: int) -> R:
    try:
        return call()
    except BaseException as error:
        with_index(error, index)
        raise
