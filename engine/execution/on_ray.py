"""Tasks on Ray core: a local Ray that this module starts and stops, or a cluster that it joins and leaves.

Threads are pinned for the whole job, before the workers import anything: a worker's Polars would otherwise take every
core of its machine whatever the task asked for. Files carry the data between stages, so a lost worker's task is simply
run again.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray._private import ray_constants, services

from engine.config import Execution
from engine.errors import ConfigError, ResourceError, TamisError, TransientError
from engine.execution.protocol import R, T

_THREAD_VARIABLES = (
    "POLARS_MAX_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ARROW_IO_THREADS",
)
_POLL_SECONDS = 1.0
_CANCEL_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_AUTHENTICATION_LOGGER = "ray._private.authentication.authentication_token_setup"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class RayExecutor:
    """Runs tasks on the Ray that this process is connected to.

    Attributes:
        threads: Threads and CPUs of a task.
        timeout_seconds: Longest time in which no task ends.
        retries: How often a task lost with its worker is run again.
        environment: Variables that the workers of the tasks need and those of the whole job may not have.
    """

    threads: int
    timeout_seconds: float
    retries: int
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = "ray"

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        on_done: Callable[[R], None] | None = None,
        small: bool = False,  # noqa: ARG002 - Ray runs as many tasks as there are processors for
    ) -> list[R]:
        """See `engine.execution.protocol.Executor.map`."""
        remote: Any = ray.remote(_guarded).options(
            num_cpus=self.threads,
            max_retries=self.retries,
            retry_exceptions=[OSError, TransientError],
            name=function.__name__,
            **({"runtime_env": {"env_vars": dict(self.environment)}} if self.environment else {}),
        )
        started = time.monotonic()
        references = [remote.remote(function, task, self.timeout_seconds) for task in tasks]
        waiting = {reference: index for index, reference in enumerate(references)}
        results: dict[int, R] = {}
        try:
            while waiting:
                done, _ = ray.wait(list(waiting), num_returns=1, timeout=_POLL_SECONDS)
                for reference in done:
                    index = waiting.pop(reference)
                    slow = time.monotonic() - started > self.timeout_seconds
                    results[index] = _get(reference, f"{function.__name__} task {index} of {len(tasks)}", slow=slow)
                    if on_done is not None:
                        on_done(results[index])
        except BaseException:
            for reference in waiting:
                ray.cancel(reference, force=True)
            # Whoever sweeps the work folder next must not meet a task that is still writing to it.
            if waiting:
                ray.wait(list(waiting), num_returns=len(waiting), timeout=_CANCEL_SECONDS)
            raise
        return [results[index] for index in range(len(tasks))]


def _guarded(function: Callable[[Any], Any], task: Any, seconds: float) -> Any:
    """Run a task; an error for the user comes back as a value, so that Ray neither wraps nor retries it.

    A task that takes longer than `seconds` ends its worker, even when it hangs in native code; Ray then tries again on
    another one, as after any lost worker.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        return function(task)
    except TransientError:
        raise
    except TamisError as error:
        return _Refused(error)
    finally:
        faulthandler.cancel_dump_traceback_later()


@dataclass(frozen=True)
class _Refused:
    error: TamisError


def _get(reference: Any, what: str, *, slow: bool) -> Any:
    try:
        result = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.OutOfMemoryError as error:
        raise ResourceError(
            f"{what} ran out of memory on every attempt",
            code="task-memory",
            hint="Lower execution.rows_per_task so that a task holds fewer users.",
        ) from error
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        if slow:
            raise ResourceError(
                f"{what} did not end within execution.task_timeout_seconds on any attempt, or its worker died",
                code="task-timeout",
                hint="Raise execution.task_timeout_seconds, or lower execution.rows_per_task.",
            ) from error
        raise ResourceError(
            f"the worker of {what} died on every attempt",
            code="task-died",
            hint="Run the same command with --executor local to see what ends it.",
        ) from error
    except ray.exceptions.RayError as error:
        raise TransientError(
            f"{what} was lost: {type(error).__name__}", code="cluster-lost", hint="Run the command again."
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
        ConfigError: The address is none.
        TransientError: No cluster answers at the address.
        ResourceError: No node has `cpus_per_task` processors.
    """
    # Waiting OpenMP threads that spin take the processor from the other tasks.
    environment = {name: str(execution.cpus_per_task) for name in _THREAD_VARIABLES} | {"OMP_WAIT_POLICY": "passive"}
    owner = not ray.is_initialized()
    if owner:
        given = execution.address
        _connect(os.environ.get("RAY_ADDRESS") or "local" if given is None else given, environment)
    try:
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        largest = max((float(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]), default=0.0)
        if largest < execution.cpus_per_task:
            raise ResourceError(
                f"a task asks for {execution.cpus_per_task} CPUs, the largest node has {largest:.0f}",
                code="cluster-too-small",
                hint="Lower execution.cpus_per_task.",
            )
        # The job of somebody else has not got them; to name them again for each task would cost a new worker.
        of_job = ray.get_runtime_context().runtime_env.get("env_vars", {})
        missing = {name: value for name, value in environment.items() if of_job.get(name) != value}
        yield RayExecutor(execution.cpus_per_task, execution.task_timeout_seconds, execution.retries, missing)
    finally:
        if owner:
            ray.shutdown()


def _connect(address: str, environment: Mapping[str, str]) -> None:
    # What Ray has no argument for: to take the loopback interface at its word, and to give up after one attempt.
    if address == "local":
        local: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        settings: dict[str, Any] = {"ENABLE_RAY_CLUSTER": False}
    else:
        local = {}
        settings = {"NUM_REDIS_GET_RETRIES": 1}
        if address == "auto":
            address = _running_cluster()
        if _probe(address):
            settings["ENABLE_RAY_CLUSTER"] = False
    try:
        with _ray_constants(settings), _quiet_authentication(local=address == "local"):
            ray.init(
                address=address,
                runtime_env={"env_vars": dict(environment)},
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                **local,
            )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        # What a half-made connection leaves behind would pass for one.
        with suppress(Exception):
            ray.shutdown()
        reason = str(error).strip().splitlines()
        raise _unreachable(address, reason[0] if reason else type(error).__name__) from error


def _running_cluster() -> str:
    """Address of the cluster that this machine is a node of."""
    try:
        with _ray_constants({"ENABLE_RAY_CLUSTER": False}):
            return str(services.canonicalize_bootstrap_address_or_die("auto"))
    except (ConnectionError, ValueError) as error:
        raise _unreachable("auto", str(error)) from error


def _probe(address: str) -> bool:
    """Whether a cluster listens on the loopback interface; Ray itself would wait for minutes for one that is not there.

    Raises:
        ConfigError: The address is neither `auto` nor HOST:PORT.
        TransientError: Nothing listens there.
    """
    host, _, digits = address.rpartition(":")
    if not host or "//" in host or not digits.isdecimal():
        raise ConfigError(
            f"a Ray address is HOST:PORT or 'auto', got {address!r}",
            code="cluster-address",
            hint="Take the address that `ray start --head` printed, or leave it out to start a local Ray.",
        )
    host = host.strip("[]")
    # Ray reads a loopback address as the one that this machine has on its network, where a local Ray does not listen.
    hosts = [host, str(ray.util.get_node_ip_address())] if host in _LOOPBACK else [host]  # type: ignore[no-untyped-call]
    reason = ""
    for candidate in hosts:
        try:
            with closing(socket.create_connection((candidate, int(digits)), _CONNECT_SECONDS)):
                return candidate in _LOOPBACK
        except (OSError, OverflowError) as error:
            reason = str(error)
    raise _unreachable(address, reason)


def _unreachable(address: str, reason: str) -> TransientError:
    return TransientError(
        f"no Ray cluster answers at {address!r}: {reason}",
        code="cluster-unreachable",
        hint="Check --address and RAY_ADDRESS, or leave both out to start a local Ray.",
    )


@contextmanager
def _quiet_authentication(*, local: bool) -> Iterator[None]:
    """Without Ray's advice on how to turn the token of a local Ray off: it stays on, and is nobody's concern."""
    logger = logging.getLogger(_AUTHENTICATION_LOGGER)
    before = logger.level
    if local:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _ray_constants(values: Mapping[str, Any]) -> Iterator[None]:
    before = {name: getattr(ray_constants, name) for name in values}
    try:
        for name, value in values.items():
            setattr(ray_constants, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(ray_constants, name, value)
