"""The words of a plan: tasks of one kind and size, the calls of an executor that they are part of, and stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Work:
    """Tasks of one kind and about one size.

    Attributes:
        kind: Name of the task's type, as `engine.planning.recording.kind_of` gives it; `driver <job>` for what is done
            between tasks.
        tasks: How many.
        sizes: What one of them has to do, by the names that `engine.planning.costs.TERMS` uses.
        rows: Rows that one of them reads.
        bytes_read: Bytes that one of them reads.
        bytes_written: Bytes that one of them writes: to other tasks or to tables.
        files_read, files_written: Files that one of them opens, and makes.
    """

    kind: str
    tasks: int
    sizes: Mapping[str, float] = field(default_factory=dict)
    rows: float = 0
    bytes_read: float = 0
    bytes_written: float = 0
    files_read: float = 1
    files_written: float = 0


@dataclass(frozen=True)
class Call:
    """One call of `Executor.map`, or several equal ones in turn: the next begins when the last task has ended.

    Attributes:
        stage: The stage it belongs to.
        work: Its tasks.
        times: How often it is made.
        small: Whether a local run has two of its tasks side by side.
    """

    stage: str
    work: tuple[Work, ...]
    times: int = 1
    small: bool = False

    @property
    def tasks(self) -> int:
        """Tasks of all its times."""
        return self.times * sum(work.tasks for work in self.work)


@dataclass(frozen=True)
class Job:
    """The calls of a fit or of a score, in order.

    Attributes:
        name: `fit` or `score`.
        calls: The calls.
        driver: What the driver does between them.
    """

    name: str
    calls: tuple[Call, ...]
    driver: Work

    def kinds(self) -> dict[str, int]:
        """Tasks by kind."""
        counted: dict[str, int] = {}
        for call in self.calls:
            for work in call.work:
                counted[work.kind] = counted.get(work.kind, 0) + call.times * work.tasks
        return counted
