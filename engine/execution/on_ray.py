"""The executor of a cluster: tasks on Ray core, with their threads pinned and their memory given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import ray

from engine.config import Execution
from engine.errors import ResourceError, TransientError
from engine.execution.attempts import STRAGGLER_SECONDS
from engine.execution.protocol import R, T, TaskSize
from engine.execution.ray_paths import check_paths
from engine.execution.ray_stage import Stage, Terms, nodes
from engine.execution.ray_start import connected
from engine.progress import Tally

_THREAD_VARIABLES: Final = (
    "POLARS_MAX_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ARROW_IO_THREADS",
)
# As the command line has them for its own process: waiting threads that spin take the processor from the other tasks;
# freed memory is kept for the next frame for a second; the C library gives blocks of 1 MiB back at once.
_WORKER_VARIABLES: Final = {
    "OMP_WAIT_POLICY": "passive",
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:1000,muzzy_decay_ms:0",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
}


@dataclass(frozen=True)
class RayExecutor:
    """Runs tasks on the Ray that this process is connected to.

    Attributes:
        execution: Threads, time limit, retries and when a task is slow.
        environment: Variables that the workers of the tasks need and those of the whole job may not have.
        joined: Whether the cluster may have nodes that see other files than this process.
        straggler_seconds: Time before which no task is slow.
    """

    execution: Execution
    environment: Mapping[str, str] = field(default_factory=dict)
    joined: bool = True
    straggler_seconds: float = STRAGGLER_SECONDS
    tally: Tally = field(default_factory=Tally, compare=False, repr=False)
    name: str = "ray"

    @property
    def threads(self) -> int:
        """See `engine.execution.protocol.Executor.threads`."""
        return self.execution.cpus_per_task

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        on_done: Callable[[R], None] | None = None,
        small: bool = False,  # noqa: ARG002 - Ray runs as many tasks as there are processors for
        sizes: Sequence[TaskSize] | None = None,
    ) -> list[R]:
        """See `engine.execution.protocol.Executor.map`."""
        if not tasks:
            return []
        terms = Terms(self.execution, self.environment, self.straggler_seconds, self.tally)
        with _losses():
            return Stage(terms, function, tasks, sizes, on_done).run()

    def check_paths(self, work: Path, inputs: Sequence[Path]) -> None:
        """See `engine.execution.protocol.Executor.check_paths`."""
        if self.joined:
            with _losses():
                check_paths(work, inputs, self.environment)


@contextmanager
def _losses() -> Iterator[None]:
    """What Ray does not answer this process, beside what it says of tasks: the cluster is lost."""
    try:
        yield
    except ray.exceptions.RayError as error:
        if "task_index" in error.__dict__:
            # What a task raised that cannot travel: Ray's word for it has its message.
            raise
        raise TransientError(
            f"the cluster does not answer any more: {type(error).__name__}",
            code="cluster-lost",
            hint="Run the command again.",
        ) from error


@contextmanager
def ray_executor(execution: Execution) -> Iterator[RayExecutor]:
    """A Ray executor; Ray is started or joined here and shut down or left at the end; see `ray_start.connected`.

    Raises:
        ConfigError: The address is none, or the cluster cannot be used with these versions or this token.
        TransientError: No cluster answers at the address.
        ResourceError: No node has `cpus_per_task` processors.
    """
    environment = {name: str(execution.cpus_per_task) for name in _THREAD_VARIABLES} | _WORKER_VARIABLES
    with connected(execution, environment) as is_local:
        largest = max((cpus for cpus, _ in nodes("the start").values()), default=0.0)
        if largest < execution.cpus_per_task:
            raise ResourceError(
                f"a task asks for {execution.cpus_per_task} CPUs, the largest node has {largest:.0f}",
                code="cluster-too-small",
                hint="Lower execution.cpus_per_task.",
            )
        # The job of somebody else has not got them; to name them again for each task would cost a new worker.
        of_job = ray.get_runtime_context().runtime_env.get("env_vars", {})
        missing = {name: value for name, value in environment.items() if of_job.get(name) != value}
        yield RayExecutor(execution, missing, joined=not is_local)
