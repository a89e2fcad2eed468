"""What breaks first when a run grows: each limit, how near it is, and which setting moves it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from engine.execution.plan import plan_buckets
from engine.planning.costs import Costs
from engine.planning.estimate import Estimate
from engine.planning.reading import Inputs
from engine.planning.schedule import SHARE_OF_MEMORY, TASK_SECONDS, Workers
from engine.planning.work import Job, Work

MAX_BUCKETS: Final = plan_buckets(1 << 62, 1)
_RECORD_BYTES: Final = 20_000
"""Of what a task returns to the driver: names, sizes and checksums of files, counts of segments."""
_PATH_BYTES: Final = 200
"""Of a file's record in the index, and of its name in the description of a task."""
_MOST_FILES: Final = 1_000_000
"""Files under one root from which on listing, sweeping and verifying them takes minutes."""
_TABLE_FILES: Final = 100_000
"""Files of one date that warehouses and readers still list without pain."""


@dataclass(frozen=True)
class Limit:
    """Something that can break.

    Attributes:
        name: Stable identifier.
        what: What it is, for a sentence.
        value, limit: How much is needed, and how much there is; `unit` is that of both.
        remedy: What changes it.
    """

    name: str
    what: str
    value: float
    limit: float
    unit: str
    remedy: str

    @property
    def share(self) -> float:
        """How much of the limit is used; above 1 it breaks."""
        return self.value / self.limit if self.limit else float("inf")


def limits(
    inputs: Inputs, jobs: Sequence[Job], found: Estimate, costs: Costs, workers: Workers, requests: float | None
) -> tuple[Limit, ...]:
    """Every limit, the nearest first.

    Args:
        inputs: How large the run is.
        jobs: Its tasks.
        found: How long they take.
        costs: Of the machines.
        workers: The machines.
        requests: Requests per second that the storage of the files answers; None of a disk in the machine.
    """
    every = [
        *_memory(jobs, costs, workers),
        *_driver(inputs, jobs, found, costs, workers),
        *_files(inputs, jobs, found, requests),
        *_settings(inputs, found),
    ]
    return tuple(sorted(every, key=lambda limit: (-limit.share, limit.name)))


def _works(jobs: Sequence[Job]) -> list[tuple[Work, int]]:
    return [(work, call.times * work.tasks) for job in jobs for call in job.calls for work in call.work]


def _memory(jobs: Sequence[Job], costs: Costs, workers: Workers) -> Iterator[Limit]:
    works = _works(jobs)
    alone = [work for work, tasks in works if tasks == 1]
    many = [work for work, tasks in works if tasks > 1]
    most = workers.memory * SHARE_OF_MEMORY
    if many:
        work = max(many, key=costs.memory)
        yield Limit(
            "task-memory",
            f"memory of one {_named(work.kind)}",
            costs.memory(work),
            most,
            "bytes",
            "lower execution.rows_per_task: smaller buckets; or nodes with more memory",
        )
    largest = sorted({work.kind: work for work in sorted(alone, key=costs.memory)}.values(), key=costs.memory)
    # The nearest one, and all that break: nodes for the first may still be too small for the next.
    for work in [work for work in largest if costs.memory(work) > most] or largest[-1:]:
        yield Limit(
            "single-task-memory",
            f"memory of {_named(work.kind)}, which is a single task",
            costs.memory(work),
            most,
            "bytes",
            _SINGLE.get(work.kind, "nodes with more memory"),
        )


_SINGLE: Final = {
    "ScalesTask": "nodes with more memory: it looks at all users at once",
    "ValueTask": "nodes with more memory, or no [value]: it looks at all users at once",
    "ContactsTask": "fewer contact columns, or nodes with more memory: contacts are read as a whole",
    "PermitsTask": "nodes with more memory: consents are read for all users at once",
    "TargetTask": "lower model.max_rows",
    "DriftTask": "lower model.max_rows",
    "ChooseTask": "lower clusters.max_rows",
}


def _driver(inputs: Inputs, jobs: Sequence[Job], found: Estimate, costs: Costs, workers: Workers) -> Iterator[Limit]:
    most_tasks = max(sum(work.tasks for work in call.work) for job in jobs for call in job.calls)
    types = max(1, len(inputs.census.types))
    index = inputs.daily_files * _PATH_BYTES * 3 + inputs.census.units * types * _PATH_BYTES
    held = costs.process + most_tasks * _RECORD_BYTES + index + 2 * inputs.daily_files * _PATH_BYTES
    yield Limit(
        "driver-memory",
        f"memory of the driver: records of {most_tasks:,} tasks, an index of {inputs.daily_files:,} files",
        held,
        workers.memory * SHARE_OF_MEMORY,
        "bytes",
        "raise execution.rows_per_task: fewer tasks; larger files per day: fewer units",
    )
    if not workers.local:
        # Each task is told the names of the files that it opens.
        sent = sum(tasks * (TASK_SECONDS + work.files_read * _PATH_BYTES / _SENT) for work, tasks in _works(jobs))
        yield Limit(
            "driver-time",
            "time of the driver, which hands out tasks and takes back their records, of the whole run",
            sent + found.driver,
            found.seconds,
            "seconds",
            "raise execution.rows_per_task: fewer tasks",
        )


_SENT: Final = 200e6


def _files(inputs: Inputs, jobs: Sequence[Job], found: Estimate, requests: float | None) -> Iterator[Limit]:
    if requests is not None:
        stage = max(found.stages, key=lambda one: one.files_read / max(one.seconds, 1e-9))
        yield Limit(
            "requests",
            f"files opened per second in stage {stage.name} of the {stage.job}: {stage.files_read:,}, "
            f"which take at least {stage.files_read / requests:,.0f} s",
            stage.files_read / max(stage.seconds, 1e-9),
            requests,
            "per second",
            "raise execution.rows_per_task; fewer, larger units: each bucket of users opens a file of each",
        )
    yield Limit(
        "store-files",
        "files of the rollup store",
        inputs.daily_files * 2.0,
        _MOST_FILES,
        "files",
        "fewer, larger units: one file or folder per day, not per hour; rows_per_task above 2,000,000 changes nothing",
    )
    written = sum(tasks * work.files_written for work, tasks in _works(jobs) if work.kind in _PUBLISHED)
    yield Limit(
        "table-files", "files of the published tables", written, _TABLE_FILES, "files", "raise execution.rows_per_task"
    )


_PUBLISHED: Final = {"ScoreTask", "LedgerTask", "CompactTask"}


def _settings(inputs: Inputs, found: Estimate) -> Iterator[Limit]:
    execution = inputs.config.execution
    yield Limit(
        "buckets",
        f"ranges of users that {inputs.census.rows:,} rows ask for; beyond {MAX_BUCKETS:,} each has more rows instead",
        -(-inputs.census.rows // execution.rows_per_task),
        MAX_BUCKETS,
        "ranges",
        "raise execution.rows_per_task, with nodes that have the memory for it",
    )
    longest = max(found.stages, key=lambda stage: stage.task_seconds)
    yield Limit(
        "task-time",
        f"time of the longest task, in stage {longest.name} of the {longest.job}",
        longest.task_seconds,
        execution.task_timeout_seconds,
        "seconds",
        "raise execution.task_timeout_seconds, or lower execution.rows_per_task",
    )


def _named(kind: str) -> str:
    return kind.removesuffix("Task")
