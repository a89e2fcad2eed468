"""From the configuration to a running executor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.config import Execution
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor


@contextmanager
def open_executor(execution: Execution) -> Iterator[Executor]:
    """The executor of a configuration, closed at the end; Ray is imported only when it is asked for."""
    if execution.executor == "local":
        yield LocalExecutor()
        return
    from engine.execution.on_ray import ray_executor

    with ray_executor(execution) as executor:
        yield executor


def check_cluster(executor: Executor) -> None:
    """Make sure, while no task runs, that there is something for the next ones to run on.

    Raises:
        TransientError: The head of the cluster is gone.
    """
    if executor.name == "ray":
        from engine.execution.ray_attempt import head_answers, headless

        if not head_answers():
            raise headless("a wait")
