"""From tasks and costs to what a person asks: how long each stage takes, what it reads, how much memory it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.planning.costs import Costs
from engine.planning.schedule import CLUSTER_SECONDS, Bound, Workers, call_seconds, work_seconds
from engine.planning.work import Call, Job


@dataclass(frozen=True)
class Stage:
    """One stage of a job.

    Attributes:
        job, name: What it is.
        tasks: How many.
        rows: Rows that they read.
        bytes_read, bytes_written: What they read and write, files between tasks included.
        files_read: Files that they open.
        memory: Most bytes of a process that does one of them.
        task_seconds: Seconds of the longest task.
        seconds: From its first task to its last.
        kinds: Seconds by kind of task.
        bound: What most of these seconds hang on.
    """

    job: str
    name: str
    tasks: int
    rows: int
    bytes_read: int
    bytes_written: int
    files_read: int
    memory: int
    task_seconds: float
    seconds: float
    kinds: dict[str, float] = field(default_factory=dict)
    bound: Bound = "workers"


@dataclass(frozen=True)
class Estimate:
    """A run.

    Attributes:
        stages: In order.
        start: Seconds until the first task begins.
        driver: Seconds that the driver is busy between tasks.
        seconds: All of it.
        memory: Most bytes of a process; of a local run, of the whole of it.
    """

    stages: tuple[Stage, ...]
    start: float
    driver: float
    seconds: float
    memory: int


def estimate(jobs: Sequence[Job], costs: Costs, workers: Workers) -> Estimate:
    """How long jobs take one after the other in one process.

    Args:
        jobs: The jobs.
        costs: Of the machine, or of one like those of a cluster.
        workers: Where their tasks run.
    """
    seen: set[str] = set()
    stages: list[Stage] = []
    for job in jobs:
        grouped: dict[str, list[Call]] = {}
        for call in job.calls:
            grouped.setdefault(call.stage, []).append(call)
        stages += [_stage(job.name, name, calls, costs, workers, seen) for name, calls in grouped.items()]
    driver = sum(work_seconds(job.driver, costs, workers) + costs.first(job.driver.kind) for job in jobs)
    start = costs.start + (0.0 if workers.local else CLUSTER_SECONDS)
    return Estimate(
        stages=tuple(stages),
        start=start,
        driver=driver,
        seconds=start + driver + sum(stage.seconds for stage in stages),
        memory=max((stage.memory for stage in stages), default=int(costs.process)),
    )


def _stage(job: str, name: str, calls: Sequence[Call], costs: Costs, workers: Workers, seen: set[str]) -> Stage:
    kinds: dict[str, float] = {}
    bounds: dict[Bound, float] = {}
    for call in calls:
        took, bound = call_seconds(call, costs, workers)
        bounds[bound] = bounds.get(bound, 0.0) + took
        total = sum(work.tasks * work_seconds(work, costs, workers) for work in call.work) or 1.0
        for work in call.work:
            share = took * work.tasks * work_seconds(work, costs, workers) / total
            kinds[work.kind] = kinds.get(work.kind, 0.0) + share
            if work.kind not in seen:
                seen.add(work.kind)
                kinds[work.kind] += costs.first(work.kind)
    works = [(work, call.times * work.tasks) for call in calls for work in call.work]
    return Stage(
        job=job,
        name=name,
        tasks=sum(tasks for _, tasks in works),
        rows=round(sum(tasks * work.rows for work, tasks in works)),
        bytes_read=round(sum(tasks * work.bytes_read for work, tasks in works)),
        bytes_written=round(sum(tasks * work.bytes_written for work, tasks in works)),
        files_read=round(sum(tasks * work.files_read for work, tasks in works)),
        memory=round(max(costs.memory(work) for work, _ in works)),
        task_seconds=max(work_seconds(work, costs, workers) for work, _ in works),
        seconds=sum(kinds.values()),
        kinds=kinds,
        bound=max(bounds, key=lambda bound: bounds[bound]),
    )
