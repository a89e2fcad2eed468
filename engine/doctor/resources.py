"""Memory and processors that the process is allowed, against what the configuration asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.config import Execution
from engine.doctor.cgroups import Allowed, allowed
from engine.doctor.finding import Finding, Subject, failed, ok, size_text, warning
from engine.errors import ExitCode
from engine.execution.plan import TASK_ROWS
from engine.execution.sizes import WORKER_BYTES, bucket_size, reading_size

_ROWS_PER_USER: Final = 50
_COLUMNS: Final = 60
_RAY_BYTES: Final = 1 << 30
"""The processes of a local Ray beside its workers."""
_COMFORTABLE: Final = 0.8
_MINIMUM_ROWS: Final = 100_000


def check_memory(subject: Subject) -> Iterator[Finding]:
    """The memory limit against the tasks that run side by side."""
    found = allowed(subject.surroundings)
    usable, needed = found.usable_memory, memory_needed(subject, found)
    limit = "" if found.memory_limit is None else f", limited by a control group (version {found.version})"
    rows = subject.execution.rows_per_task
    said = f"{size_text(usable)}{limit}; tasks of {rows:,} rows take about {size_text(needed)}"
    measured = {
        "machine_bytes": found.memory,
        "limit_bytes": found.memory_limit,
        "needed_bytes": needed,
        "cgroup_version": found.version,
    }
    if needed <= usable * _COMFORTABLE:
        yield ok("memory", said, **measured)
        return
    fix = f"Raise the limit, or set execution.rows_per_task = {_rows_that_fit(subject, found):_}"
    if needed <= usable:
        yield warning("memory", said, fix, **measured)
    else:
        yield failed("memory", said, fix, ExitCode.RESOURCES, **measured)


def check_cpus(subject: Subject) -> Iterator[Finding]:
    """The processors that the process may run on, and the share of their time that it is given."""
    found = allowed(subject.surroundings)
    wanted = subject.execution.cpus_per_task
    measured = {"cpus": found.cpus, "quota": found.cpu_quota}
    given = _ray_cpus(subject, found)
    if _is_local_ray(subject) and wanted > given:
        yield failed(
            "cpus",
            f"{given} processors, and execution.cpus_per_task = {wanted}",
            f"Set execution.cpus_per_task = {given} or less",
            ExitCode.RESOURCES,
            **measured,
        )
    elif found.cpu_quota is not None and found.cpu_quota < found.cpus:
        threads = max(1, int(found.cpu_quota))
        yield warning(
            "cpus",
            f"{found.cpus} processors, and a quota of the time of {found.cpu_quota:g}: threads wait for each other",
            f"POLARS_MAX_THREADS={threads} OMP_NUM_THREADS={threads}, or raise the quota",
            **measured,
        )
    else:
        yield ok("cpus", f"{found.cpus} processors", **measured)


def memory_needed(subject: Subject, found: Allowed) -> int:
    """Bytes that a run takes here at the most, an estimate."""
    task = task_bytes(subject.execution)
    if subject.execution.executor == "local":
        return task
    # On a cluster the tasks are elsewhere: here is only the process that hands them out.
    if not _is_local_ray(subject):
        return WORKER_BYTES
    side_by_side = max(1, _ray_cpus(subject, found) // subject.execution.cpus_per_task)
    return _RAY_BYTES + WORKER_BYTES + side_by_side * task


def task_bytes(execution: Execution) -> int:
    """Bytes of memory of a process that runs a task of `execution.rows_per_task` rows: an estimate."""
    rows = execution.rows_per_task
    # The data says how many users they are, and nobody has looked at it yet: a log of the usual kind.
    bucket = bucket_size(rows, 0, rows // _ROWS_PER_USER, _COLUMNS)
    return max(reading_size(min(rows, TASK_ROWS)).memory, bucket.memory)


def _rows_that_fit(subject: Subject, found: Allowed) -> int:
    rows = subject.execution.rows_per_task
    while rows > _MINIMUM_ROWS:
        rows //= 2
        smaller = Subject(
            subject.surroundings, subject.out, subject.execution.model_copy(update={"rows_per_task": rows})
        )
        if memory_needed(smaller, found) <= found.usable_memory * _COMFORTABLE:
            break
    return max(rows, _MINIMUM_ROWS)


def _ray_cpus(subject: Subject, found: Allowed) -> int:
    """Processors that a Ray that is started here hands out."""
    return subject.execution.local_cpus or found.cpus


def _is_local_ray(subject: Subject) -> bool:
    return subject.execution.executor == "ray" and subject.address is None
