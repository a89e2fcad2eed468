"""When tasks are started, ended and started again: what is decided without a cluster."""

from __future__ import annotations

import errno
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from engine.errors import ResourceError, TransientError
from engine.execution.protocol import TaskSize

STRAGGLER_SECONDS: Final = 60.0
"""A task that has run for less is never called slow: what starting it again costs is not known to be less."""
_MEMORY_STEP: Final = 128 * 2**20
_FIRST_DELAY: Final = 0.2
_LONGEST_DELAY: Final = 10.0
# A full disk and a forbidden folder are so for every worker.
_LASTING: Final = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


class Ended(Enum):
    """Why an attempt was ended from here."""

    SLOW = "slow"
    LATE = "late"


@dataclass
class Attempt:
    """One run of one task.

    Attributes:
        index: The task.
        number: Its attempts before this one.
        memory: Bytes that were asked for; 0 when nothing is known.
        started: When it was first seen running, by the clock of this process; None before.
        node: Where it runs; empty before.
        ended: Why it was ended from here.
        missed: When its node was first seen to be gone.
    """

    index: int
    number: int
    memory: int
    started: float | None = None
    node: str = ""
    ended: Ended | None = None
    missed: float | None = None


def in_order(sizes: Sequence[TaskSize] | None, count: int) -> list[int]:
    """The tasks from the largest to the smallest: one large task begun last would keep all others waiting."""
    if sizes is None:
        return list(range(count))
    return sorted(range(count), key=lambda index: (-sizes[index].memory, -sizes[index].rows, index))


def memory_requests(name: str, sizes: Sequence[TaskSize] | None, count: int, largest: int) -> list[int]:
    """Bytes of memory that each task asks for, in steps so that workers need not be told apart by it.

    A request keeps tasks apart that do not fit side by side; it is no limit, and never more than the largest node has.

    Args:
        name: What the tasks do.
        sizes: What they need; None when it is not known.
        count: Number of tasks.
        largest: Bytes of memory of the largest node; 0 when it is not known.

    Raises:
        ResourceError: No node has what a task needs.
    """
    if sizes is None or largest == 0:
        return [0] * count
    most = max(range(count), key=lambda index: sizes[index].memory, default=0)
    if count and sizes[most].memory > largest:
        raise ResourceError(
            f"{name} task {most} of {count} needs {in_gib(sizes[most].memory)} of memory for "
            f"{sizes[most].rows:,} rows, the largest node has {in_gib(largest)}",
            code="cluster-too-small",
            hint="Lower execution.rows_per_task, or join a cluster with larger nodes.",
        )
    return [min(largest, -(-size.memory // _MEMORY_STEP) * _MEMORY_STEP) for size in sizes]


def more_memory(asked: int, largest: int) -> int:
    """Bytes that a task asks for after it ran out of memory: twice as many, else half of the largest node."""
    return min(largest, max(2 * asked, largest // 2))


def in_gib(size: int) -> str:
    """`1.5 GiB`."""
    return f"{size / 2**30:.1f} GiB"


def delay_before(failures: int) -> float:
    """Seconds until a task is tried again whose storage failed for the nth time."""
    return float(min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (failures - 1)))


def may_pass(error: BaseException) -> bool:
    """Whether another attempt may go better: the storage failed, and not for good."""
    if isinstance(error, TransientError):
        return True
    return isinstance(error, OSError) and error.errno not in _LASTING


@dataclass
class Pace:
    """How long the tasks of a stage take, and from when on one of them is slow.

    Google's MapReduce started slow tasks a second time beside the first (Dean, Ghemawat 2004, section 3.6); these write
    files, so the first is ended before.

    Attributes:
        factor: A task is slow after this many times the median of the finished ones; 0: never.
        count: Number of tasks.
        least: Seconds before which no task is slow.
        rows: Rows of each task; a task with more rows than most may take longer in proportion.
    """

    factor: float
    count: int
    least: float = STRAGGLER_SECONDS
    rows: Sequence[int] = ()
    _finished: list[float] = field(default_factory=list)
    _usual_rows: int = 0

    def __post_init__(self) -> None:
        ordered = sorted(self.rows)
        self._usual_rows = ordered[len(ordered) // 2] if ordered else 0

    def note(self, index: int, seconds: float) -> None:
        """A task has ended well."""
        insort(self._finished, seconds / self._share(index))

    def is_slow(self, index: int, seconds: float) -> bool:
        """Whether a task that has run for so long should be tried elsewhere."""
        if self.factor == 0 or seconds < self.least or len(self._finished) < max(2, -(-self.count // 2)):
            return False
        median = self._finished[len(self._finished) // 2]
        return seconds > self.factor * median * self._share(index)

    def _share(self, index: int) -> float:
        return max(1.0, self.rows[index] / self._usual_rows) if self._usual_rows else 1.0
