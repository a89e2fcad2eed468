"""Tasks one after the other in this process; Polars and LightGBM use their own threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from engine.execution.protocol import R, T

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

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        on_done: Callable[[R], None] | None = None,
        small: bool = False,
    ) -> list[R]:
        """See `engine.execution.protocol.Executor.map`."""
        results = []
        for result in self._run(function, tasks) if small and self.threads > 1 else map(function, tasks):
            results.append(result)
            if on_done is not None:
                on_done(result)
        return results

    def _run(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        # Polars and numpy let go of the interpreter's lock: while one task is in Python, the other one counts.
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            futures = [pool.submit(function, task) for task in tasks]
            try:
                for future in futures:
                    yield future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
