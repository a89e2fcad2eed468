"""Tasks on Ray core: a local Ray that this module starts and stops, or a cluster that it joins and leaves.

Threads are pinned for the whole job, before the workers import anything: a worker's Polars would otherwise take every
core of its machine whatever the task asked for. Files carry the data between stages, so a lost worker's task is simply
run again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from engine.config import Execution
from engine.errors import ResourceError, TamisError, TransientError
from engine.execution.protocol import R, T

_THREAD_VARIABLES = (
    "POLARS_MAX_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ARROW_IO_THREADS",
)
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class RayExecutor:
    """Runs tasks on the Ray that this process is connected to."""

    threads: int
    timeout_seconds: float
    retries: int
    name: str = "ray"

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        on_done: Callable[[R], None] | None = None,
    ) -> list[R]:
        """See `engine.execution.protocol.Executor.map`."""
        remote: Any = ray.remote(_guarded).options(
            num_cpus=self.threads,
            max_retries=self.retries,
            retry_exceptions=[OSError, TransientError],
            name=function.__name__,
        )
        references = [remote.remote(function, task) for task in tasks]
        waiting = {reference: index for index, reference in enumerate(references)}
        results: dict[int, R] = {}
        # Tasks are of one size: while the work goes on, one of them finishes within the limit of one.
        last_done = time.monotonic()
        try:
            while waiting:
                done, _ = ray.wait(list(waiting), num_returns=1, timeout=_POLL_SECONDS)
                for reference in done:
                    index = waiting.pop(reference)
                    results[index] = _get(reference, function.__name__, index)
                    last_done = time.monotonic()
                    if on_done is not None:
                        on_done(results[index])
                if waiting and time.monotonic() - last_done > self.timeout_seconds:
                    raise ResourceError(
                        f"no {function.__name__} task finished within {self.timeout_seconds:.0f} s; "
                        f"{len(waiting)} of {len(tasks)} are left",
                        code="task-timeout",
                        hint="Raise execution.task_timeout_seconds, or lower execution.rows_per_task.",
                    )
        except BaseException:
            for reference in waiting:
                ray.cancel(reference, force=True)
            raise
        return [results[index] for index in range(len(tasks))]


def _guarded(function: Callable[[Any], Any], task: Any) -> Any:
    """Run a task; an error for the user comes back as a value, so that Ray neither wraps nor retries it."""
    try:
        return function(task)
    except TransientError:
        raise
    except TamisError as error:
        return _Refused(error)


@dataclass(frozen=True)
class _Refused:
    error: TamisError


def _get(reference: Any, name: str, index: int) -> Any:
    try:
        result = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.OutOfMemoryError as error:
        raise ResourceError(
            f"{name} task {index} ran out of memory on every attempt",
            code="task-memory",
            hint="Lower execution.rows_per_task so that a task holds fewer users.",
        ) from error
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        raise ResourceError(
            f"the worker of {name} task {index} died on every attempt",
            code="task-died",
            hint="Run the same command with --executor local to see what ends it.",
        ) from error
    except ray.exceptions.RayError as error:
        raise TransientError(
            f"{name} task {index} was lost: {type(error).__name__}", code="cluster-lost", hint="Run the command again."
        ) from error
    if isinstance(result, _Refused):
        raise result.error
    return result


@contextmanager
def ray_executor(execution: Execution) -> Iterator[RayExecutor]:
    """A Ray executor; Ray is started or joined here and shut down or left at the end.

    An address, given or in RAY_ADDRESS, is joined; without one a local Ray is started that listens on the loopback
    interface only. A Ray that this process is connected to already is used and left alone.

    Raises:
        TransientError: No cluster answers at the address.
        ResourceError: No node has `cpus_per_task` processors.
    """
    owner = not ray.is_initialized()
    if owner:
        _connect(execution)
    try:
        largest = max((float(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=0.0)
        if largest < execution.cpus_per_task:
            raise ResourceError(
                f"a task asks for {execution.cpus_per_task} CPUs, the largest node has {largest:.0f}",
                code="cluster-too-small",
                hint="Lower execution.cpus_per_task.",
            )
        yield RayExecutor(execution.cpus_per_task, execution.task_timeout_seconds, execution.retries)
    finally:
        if owner:
            ray.shutdown()


def _connect(execution: Execution) -> None:
    address = execution.address or os.environ.get("RAY_ADDRESS") or "local"
    # Waiting OpenMP threads that spin take the processor from the other tasks.
    variables = {name: str(execution.cpus_per_task) for name in _THREAD_VARIABLES} | {"OMP_WAIT_POLICY": "passive"}
    local: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"} if address == "local" else {}
    try:
        ray.init(
            address=address,
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            logging_level="error",
            configure_logging=False,
            **local,
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise TransientError(
            f"no Ray cluster answers at {address!r}: {(str(error) or type(error).__name__).splitlines()[0]}",
            code="cluster-unreachable",
            hint="Check --address and RAY_ADDRESS, or leave both out to start a local Ray.",
        ) from error
