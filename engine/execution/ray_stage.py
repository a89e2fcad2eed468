"""One stage on Ray: which task runs next, how long it may, and what is done when it does not come back.

Files carry the data between stages, so a lost worker's task is simply run again. That is decided here and not by Ray,
which would neither tell a task that hangs from one that crashes nor ask for more memory the next time. Only a few tasks
per processor are handed to Ray at a time: what a driver and a cluster remember of a stage does not grow with its tasks.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, cast

import ray
from ray._private import internal_api
from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

from engine.config import Execution
from engine.errors import ResourceError, TamisError, TransientError
from engine.execution.attempts import (
    Attempt,
    Ended,
    Pace,
    delay_before,
    in_gib,
    in_order,
    may_pass,
    memory_requests,
    more_memory,
)
from engine.execution.protocol import R, T, TaskSize, with_index
from engine.execution.ray_attempt import (
    HEAD_SECONDS,
    Answer,
    answer_of,
    forget,
    head_answers,
    headless,
    is_lost,
    listed_nodes,
    remote_task,
    seen_running,
    wait_for,
)
from engine.history import events
from engine.privacy.modes import mask_of_process
from engine.progress import Tally

_POLL_SECONDS: Final = 1.0
_SPILL_SECONDS: Final = 10.0
_CANCEL_SECONDS: Final = 4.0
_MISSED_SECONDS: Final = 5.0
"""After a node is gone, Ray has this long to say so of its tasks."""
_ROOM_SECONDS: Final = 300.0
"""How long a task waits for a node to come back, or another one to come, that has what it asks for."""
_AHEAD: Final = 2
"""Tasks handed to Ray for each one that can run, so that no worker waits for this process."""


def nodes(what: str) -> dict[str, tuple[float, int]]:
    """Processors and bytes of memory of each node that is alive, by its id, during `what`."""
    found = {str(node["NodeID"]): node["Resources"] for node in listed_nodes(what) if node["Alive"]}
    return {node: (float(has.get("CPU", 0)), int(has.get("memory", 0))) for node, has in found.items()}


@dataclass(frozen=True)
class Terms:
    """What all stages of a run have in common.

    Attributes:
        settings: Threads, time limit, retries and when a task is slow.
        environment: Variables that the workers of the tasks need and those of the whole job may not have.
        least_slow: Seconds before which no task is slow.
        tally: What has been done so far.
    """

    settings: Execution
    environment: Mapping[str, str]
    least_slow: float
    tally: Tally


class Stage(Generic[T, R]):
    """One call of `map`, from its first task to its last result."""

    def __init__(
        self,
        terms: Terms,
        function: Callable[[T], R],
        tasks: Sequence[T],
        sizes: Sequence[TaskSize] | None,
        on_done: Callable[[R], None] | None,
    ) -> None:
        self.settings, self.environment, self.tally = terms.settings, terms.environment, terms.tally
        self.function, self.tasks, self.sizes, self.on_done = function, tasks, sizes, on_done
        self.name = str(getattr(function, "__name__", type(function).__name__))
        self.key, self.mask = secrets.token_hex(8), mask_of_process()
        if not head_answers():
            raise headless(self.name)
        self.cluster = nodes(self.name)
        self.memory = memory_requests(self.name, sizes, len(tasks), self.largest)
        rows = [size.rows for size in sizes] if sizes is not None else []
        self.pace = Pace(self.settings.straggler_factor, len(tasks), terms.least_slow, rows)
        self.waiting = deque(in_order(sizes, len(tasks)))
        self.delayed: list[tuple[float, int]] = []
        self.running: dict[Any, Attempt] = {}
        self.attempts: Counter[int] = Counter()
        self.failures: Counter[int] = Counter()
        self.late: Counter[int] = Counter()
        self.avoided: dict[int, str] = {}
        self.results: dict[int, R] = {}
        self.looked = self.heard = self.spill_read = time.monotonic()
        self.to_forget = False
        self.no_room: float | None = None
        self.poll = min(_POLL_SECONDS, self.settings.task_timeout_seconds / 4)

    @property
    def largest(self) -> int:
        """Bytes of memory of the largest node that has the processors for a task."""
        return max((memory for cpus, memory in self.cluster.values() if cpus >= self.settings.cpus_per_task), default=0)

    def run(self) -> list[R]:
        """Results in the order of the tasks."""
        try:
            while len(self.results) < len(self.tasks):
                self._start()
                self._collect()
                self._look()
        except BaseException:
            self._cancel()
            raise
        finally:
            if self.to_forget and head_answers():
                with suppress(ray.exceptions.RayError, TransientError):
                    forget(self.key, self.name)
        return [self.results[index] for index in range(len(self.tasks))]

    def _start(self) -> None:
        now = time.monotonic()
        self.waiting.extendleft(index for when, index in self.delayed if when <= now)
        self.delayed = [(when, index) for when, index in self.delayed if when > now]
        slots = sum(int(cpus // self.settings.cpus_per_task) for cpus, _ in self.cluster.values())
        while self.waiting and len(self.running) < max(1, _AHEAD * slots):
            self._submit(self.waiting.popleft())

    def _submit(self, index: int) -> None:
        options: dict[str, Any] = {"num_cpus": self.settings.cpus_per_task, "max_retries": 0, "name": self.name}
        if self.memory[index]:
            options["memory"] = self.memory[index]
        if self.environment:
            options["runtime_env"] = {"env_vars": dict(self.environment)}
        if index in self.avoided:
            elsewhere: Any = {"ray.io/node-id": NotIn(self.avoided[index])}  # type: ignore[no-untyped-call]
            options["scheduling_strategy"] = NodeLabelSchedulingStrategy({}, soft=elsewhere)
        number = self.attempts[index]
        self.attempts[index] += 1
        key = self._key_of(index, number)
        remote = remote_task().options(**options)
        seconds = self.settings.task_timeout_seconds
        reference = remote.remote(self.function, self.tasks[index], seconds, key, self.mask)
        self.running[reference] = Attempt(index, number, self.memory[index])

    def _collect(self) -> None:
        if not self.running:
            time.sleep(min(self.poll, max(0.0, min(when for when, _ in self.delayed) - time.monotonic())))
            return
        done, _ = wait_for(list(self.running), count=1, seconds=self.poll)
        if done and len(self.running) > 1:
            done, _ = wait_for(list(self.running), count=len(self.running), seconds=0)
        for reference in done:
            attempt = self.running.pop(reference)
            answer = answer_of(reference)
            if isinstance(answer, Answer):
                self._finished(attempt, answer)
            else:
                self._failed(attempt, answer)

    def _finished(self, attempt: Attempt, answer: Answer) -> None:
        index = attempt.index
        self.pace.note(index, answer.seconds)
        self.results[index] = cast("R", answer.result)
        if self.sizes is not None:
            self.tally.rows += self.sizes[index].rows
            self.tally.bytes += self.sizes[index].bytes
        if self.on_done is not None:
            self.on_done(self.results[index])

    def _failed(self, attempt: Attempt, error: BaseException) -> None:
        """Run the task again, or end the stage.

        A task that was ended for being slow has not failed; one that hangs twice is not tried a third time.
        """
        index, was_lost, why = attempt.index, is_lost(error), _why(attempt, error)
        self.to_forget = self.to_forget or was_lost
        if attempt.ended is Ended.SLOW and was_lost:
            self.avoided[index] = attempt.node
            self._again(index, why)
            return
        self.failures[index] += 1
        if was_lost and self._seconds(attempt) > self.settings.task_timeout_seconds:
            self.late[index] += 1
        is_used_up = self.failures[index] > self.settings.retries or self.late[index] > 1
        if is_used_up or not (was_lost or may_pass(error)):
            raise with_index(self._told(attempt, error), index) from error.__cause__
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            self.memory[index] = more_memory(attempt.memory, self.largest)
        self._again(index, why, 0.0 if was_lost else delay_before(self.failures[index]))

    def _again(self, index: int, why: str, delay: float = 0.0) -> None:
        self.tally.retried += 1
        events.task_retried(self.name, why)
        self.delayed.append((time.monotonic() + delay, index))

    def _told(self, attempt: Attempt, error: BaseException) -> BaseException:
        """What a user is told of the last failure of a task."""
        what = f"{self.name} task {attempt.index} of {len(self.tasks)}"
        if self.late[attempt.index]:
            return ResourceError(
                f"{what} did not end within {self.settings.task_timeout_seconds:g} seconds on any attempt",
                code="task-timeout",
                hint="Raise execution.task_timeout_seconds, or lower execution.rows_per_task.",
            )
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            asked = f"it asked for {in_gib(attempt.memory)}, " if attempt.memory else ""
            return ResourceError(
                f"{what} ran out of memory on every attempt and was ended by Ray: {asked}"
                f"the largest node has {in_gib(self.largest)}",
                code="task-memory",
                hint="Lower execution.rows_per_task so that a task holds fewer users, or join larger nodes.",
            )
        if is_lost(error) and not head_answers():
            return headless(self.name)
        if is_lost(error):
            return ResourceError(
                f"the worker of {what} died on every attempt",
                code="task-died",
                hint="Run the same command with --executor local to see what ends it.",
            )
        if isinstance(error, ray.exceptions.RayError) and not isinstance(error.__cause__, ray.exceptions.RayTaskError):
            return TransientError(
                f"{what} was lost: {type(error).__name__}", code="cluster-lost", hint="Run the command again."
            )
        return error

    def _seconds(self, attempt: Attempt) -> float:
        return 0.0 if attempt.started is None else time.monotonic() - attempt.started

    def _look(self) -> None:
        """Look after the running tasks, once in a while: end those that hang, and the slow ones for another try."""
        now = time.monotonic()
        if now - self.looked < self.poll:
            return
        self.looked = now
        if head_answers():
            self.heard = now
        elif now - self.heard > HEAD_SECONDS:
            raise headless(self.name)
        else:
            return
        # What a cluster does not say now it says the next time; its loss is told by its tasks.
        with suppress(ray.exceptions.RayError):
            self.cluster = nodes(self.name)
            self._note_started(now)
        self._give_up_missed(now)
        self._check_room(now)
        for reference, attempt in self.running.items():
            if attempt.ended is not None:
                continue
            seconds = self._seconds(attempt)
            if seconds > self.settings.task_timeout_seconds:
                attempt.ended = Ended.LATE
            elif attempt.index not in self.avoided and self.pace.is_slow(attempt.index, seconds):
                attempt.ended = Ended.SLOW
            if attempt.ended is not None:
                # It is started again when it has come to its end: two would write the same files.
                ray.cancel(reference, force=True)
        if now - self.spill_read > _SPILL_SECONDS:
            self.spill_read = now
            self.tally.spilled = _spilled_bytes(self.tally.spilled)

    def _note_started(self, now: float) -> None:
        seen = seen_running(self.key, self.name)
        for attempt in self.running.values():
            node = seen.get(self._key_of(attempt.index, attempt.number))
            if node is not None and attempt.started is None:
                attempt.started, attempt.node = now, node

    def _give_up_missed(self, now: float) -> None:
        """Run the tasks of a node again that is gone without a word.

        Where a network was cut or a machine lost its power, nobody closed the connection to the worker: Ray waits for
        its answer for minutes more.
        """
        for reference, attempt in list(self.running.items()):
            if not attempt.node or attempt.node in self.cluster:
                continue
            attempt.missed = attempt.missed or now
            if now - attempt.missed > _MISSED_SECONDS:
                del self.running[reference]
                self._failed(attempt, ray.exceptions.NodeDiedError("its node is gone"))  # type: ignore[no-untyped-call]

    def _check_room(self, now: float) -> None:
        """Stop when tasks have waited for minutes for what no node has: those that had it are gone.

        Ray waits for such a node for ever and says nothing.
        """
        waiting = [one for one in self.running.values() if one.started is None and not self._has_room(one.memory)]
        self.no_room = None if not waiting else self.no_room or now
        if self.no_room is not None and now - self.no_room > _ROOM_SECONDS:
            asked = f" and {in_gib(waiting[0].memory)} of memory" if waiting[0].memory else ""
            raise TransientError(
                f"{self.name} task {waiting[0].index} of {len(self.tasks)} asks for {self.settings.cpus_per_task} CPUs"
                f"{asked}, which no node has had for {_ROOM_SECONDS / 60:.0f} minutes",
                code="cluster-lost",
                hint="Nodes have left the cluster. The same command goes on where it stopped when they are back.",
            )

    def _has_room(self, memory: int) -> bool:
        return any(cpus >= self.settings.cpus_per_task and has >= memory for cpus, has in self.cluster.values())

    def _key_of(self, index: int, number: int) -> str:
        return f"{self.key}/{index}.{number}"

    def _cancel(self) -> None:
        """End what is running, and return when nothing can write any more.

        Whoever sweeps the work folder next must not meet a task that is still writing to it.
        """
        # A cluster that is lost runs nothing; why the stage ends is told already.
        with suppress(ray.exceptions.RayError):
            for reference in self.running:
                ray.cancel(reference, force=True)
            if self.running:
                self.to_forget = True
                wait_for(list(self.running), count=len(self.running), seconds=_CANCEL_SECONDS)


def _why(attempt: Attempt, error: BaseException) -> str:
    """Why an attempt is made again, for the log: no text of the error, which may hold values of the data."""
    if attempt.ended is not None and is_lost(error):
        return "it was far slower than the others" if attempt.ended is Ended.SLOW else "it did not end in time"
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "it ran out of memory"
    if isinstance(error, ray.exceptions.NodeDiedError):
        return "its node is gone"
    if is_lost(error):
        return "its worker died"
    return f"its storage failed ({error.code if isinstance(error, TamisError) else type(error).__name__})"


def _spilled_bytes(before: int) -> int:
    """Bytes that the nodes' object stores have written to disk; `before` when they do not say."""
    with suppress(Exception):
        state = internal_api.get_state_from_address(None)  # type: ignore[no-untyped-call]
        reply = internal_api.get_memory_info_reply(state, timeout_seconds=5.0)  # type: ignore[no-untyped-call]
        return int(reply.store_stats.spilled_bytes_total)
    return before
