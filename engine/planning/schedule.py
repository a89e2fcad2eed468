"""How long calls take on workers: list scheduling of their tasks, as an executor does it.

Source: R. Graham, "Bounds on multiprocessing timing anomalies" (1969): the longest task first, each to the worker that
is free first; at most 4/3 of the best schedule.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engine.planning.costs import Costs
from engine.planning.work import Call, Work

TASK_SECONDS: Final = 0.004
"""What the driver of a cluster does for each task: hand it out, take its record back."""
CLUSTER_SECONDS: Final = 6.0
"""Until a Ray is started or joined, and its first workers answer."""
SHARE_OF_MEMORY: Final = 0.8
"""Of a node's memory that tasks can have; the rest is for the system, Ray and the page cache."""

_ONE_BY_ONE: Final = 10_000

Bound = Literal["workers", "tasks", "driver"]
"""What the time of a call hangs on: workers, of which more make it shorter; its longest task, where every task has a
worker already; the driver, which hands tasks out one after the other."""


@dataclass(frozen=True)
class Workers:
    """Where tasks run.

    Attributes:
        nodes: Machines; 1 is this process, or a Ray on one machine.
        cpus: Processors of each.
        memory: Bytes of each.
        threads: Threads of a task.
        local: Whether tasks run one after the other in one process, which has all processors.
    """

    nodes: int
    cpus: int
    memory: float
    threads: int
    local: bool = False

    def slots(self, memory: float) -> int:
        """Tasks that run side by side when each needs so many bytes; 0 when not even one fits."""
        if self.local:
            return 1
        by_memory = int(self.memory * SHARE_OF_MEMORY // max(memory, 1.0))
        return self.nodes * min(max(1, self.cpus // self.threads), by_memory)


def makespan(durations: Sequence[tuple[float, int]], slots: int) -> float:
    """Seconds until tasks are done, the longest first.

    Args:
        durations: Seconds of a task, and how many there are of it.
        slots: Tasks that run side by side.
    """
    # Of very many tasks, whole rounds keep all workers equally busy; what is left is handed out one by one.
    in_rounds = (
        slots if sum(count for _, count in durations) > _ONE_BY_ONE else sum(count for _, count in durations) + 1
    )
    rounds = sum(count // in_rounds * seconds for seconds, count in durations)
    left = sorted((seconds for seconds, count in durations for _ in range(count % in_rounds)), reverse=True)
    loads = [0.0] * min(slots, max(1, len(left)))
    for seconds in left:
        heapq.heapreplace(loads, loads[0] + seconds)
    return rounds + max(loads)


def call_seconds(call: Call, costs: Costs, workers: Workers) -> tuple[float, Bound]:
    """Seconds of a call, however often it is made, and what they hang on; without what the first tasks take more."""
    durations = [(costs.seconds(work, _threads(workers)), work.tasks) for work in call.work if work.tasks]
    if not durations:
        return 0.0, "tasks"
    slots = max(1, workers.slots(max(costs.memory(work) for work in call.work)))
    one = makespan(durations, slots)
    tasks = sum(count for _, count in durations)
    bound: Bound = "tasks" if tasks <= slots else "workers"
    if not workers.local:
        # The driver hands tasks out one after the other, whatever the workers do.
        handed_out = tasks * TASK_SECONDS
        bound = "driver" if handed_out > one else bound
        one = max(one, handed_out) + TASK_SECONDS
    return one * call.times, bound


def work_seconds(work: Work, costs: Costs, workers: Workers) -> float:
    """Seconds of one task."""
    return costs.seconds(work, _threads(workers))


def _threads(workers: Workers) -> int:
    return workers.cpus if workers.local else workers.threads
