"""Tasks one after the other in this process; Polars and LightGBM use their own threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.execution.protocol import R, T


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
    ) -> list[R]:
        """See `engine.execution.protocol.Executor.map`."""
        results = []
        for task in tasks:
            results.append(function(task))
            if on_done is not None:
                on_done(results[-1])
        return results
