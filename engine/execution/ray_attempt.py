"""One attempt at a task on Ray: what a worker does, and what comes back of it."""

from __future__ import annotations

import faulthandler
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar

import ray
from ray.experimental import internal_kv

from engine.errors import TamisError, TransientError
from engine.privacy.modes import take_mask

T = TypeVar("T")

HEAD_SECONDS: Final = 20.0
"""A head that has not answered for so long is lost."""
_NAMESPACE: Final = b"tamis"
_ASK_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 2.0
_GRACE_SECONDS: Final = 60.0
"""How much longer than its time a worker lets a task run that the driver should have ended."""


@dataclass(frozen=True)
class Answer:
    """A result, or an error for the user, after so many seconds."""

    result: Any
    seconds: float
    error: TamisError | None = None


@cache
def remote_task() -> Any:
    """One remote function for all stages: workers fetch its code once."""
    return ray.remote(_guarded)


def _guarded(function: Callable[[Any], Any], task: Any, seconds: float, key: str, mask: int | None = None) -> Answer:
    """Run a task; an error for the user comes back as a value, so that Ray does not wrap it.

    Its start is told to the driver, which ends it when its time is over. Where the driver's word does not arrive, the
    worker ends itself, even when it hangs in native code. What it writes gets the modes that the driver's files have.
    """
    if mask is not None:
        take_mask(mask)
    faulthandler.dump_traceback_later(seconds + _GRACE_SECONDS, exit=True)
    told = f"{key}/{ray.get_runtime_context().get_node_id()}".encode()
    _tell(told)
    started = time.monotonic()
    try:
        return Answer(function(task), time.monotonic() - started)
    except TamisError as error:
        return Answer(None, time.monotonic() - started, error)
    finally:
        _take_back(told)
        faulthandler.cancel_dump_traceback_later()


def answer_of(reference: Any) -> Answer | BaseException:
    """What an attempt came back with: an answer, what the task raised, or what Ray says of it."""
    try:
        answer: Answer = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause: BaseException = error.cause
        cause.__cause__ = error
        return cause
    except ray.exceptions.RayError as error:
        return error
    return answer if answer.error is None else answer.error


def wait_for(references: Sequence[Any], *, count: int, seconds: float) -> tuple[list[Any], list[Any]]:
    """Those that have come to their end, at least `count` of them unless the time is over first, and the others."""
    try:
        done, left = ray.wait(list(references), num_returns=count, timeout=seconds)
    except SystemError as error:
        # What a signal raises in the middle of it, Ray loses hold of, unless it is a KeyboardInterrupt.
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None
    return done, left


def head_answers() -> bool:
    """Whether the head of the cluster takes calls.

    Ray itself waits for a head that is gone, in whatever it is asked, and after a minute ends this process on the spot.
    """
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS)):
            return True
    except OSError:
        return False


def ask(call: Callable[[], T], what: str) -> T:
    """What the head says, asked by a thread that is left behind when the head is gone.

    Raises:
        TransientError: It is gone since it was asked, or while it was.
        RayError: As the call itself.
    """
    answers: list[T] = []
    failures: list[BaseException] = []
    over = threading.Event()

    def wait() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # noqa: BLE001 - raised where it was asked
            failures.append(error)
        over.set()

    threading.Thread(target=wait, name="tamis-ask", daemon=True).start()
    heard = time.monotonic()
    while not over.wait(_ASK_SECONDS):
        if head_answers():
            heard = time.monotonic()
        elif time.monotonic() - heard > HEAD_SECONDS:
            raise headless(what)
    if failures:
        raise failures[0]
    return answers[0]


def headless(what: str) -> TransientError:
    """The head is gone, which was seen during `what`."""
    return TransientError(
        f"the head of the cluster does not answer any more, during {what}",
        code="cluster-lost",
        hint="Start it, or another cluster, and run the command again: it takes up what is finished.",
    )


def is_lost(error: BaseException) -> bool:
    """Whether the attempt was lost, and not the cluster: its worker or node died, or was ended from here."""
    lost = ray.exceptions
    return isinstance(
        error,
        lost.WorkerCrashedError
        | lost.NodeDiedError
        | lost.ObjectLostError
        | lost.OutOfMemoryError
        | lost.TaskCancelledError,
    )


def listed_nodes(what: str) -> list[dict[str, Any]]:
    """What the head says of each node, during `what`."""
    return ask(ray.nodes, what)


def seen_running(stage: str, what: str) -> dict[str, str]:
    """The node of each attempt of a stage that has begun and not come back, by its key."""
    list_keys = internal_kv._internal_kv_list  # noqa: SLF001 - Ray has no public word
    keys = ask(lambda: list_keys(f"{stage}/", namespace=_NAMESPACE), what)
    return {key: node for key, _, node in (told.decode().rpartition("/") for told in keys)}


def forget(stage: str, what: str) -> None:
    """Take back what the attempts of a stage have told that did not come to their end."""
    delete = internal_kv._internal_kv_del  # noqa: SLF001
    ask(lambda: delete(f"{stage}/", del_by_prefix=True, namespace=_NAMESPACE), what)


def _tell(key: bytes) -> None:
    # A head that does not answer for a moment must not cost the task: the worker looks after its own time as well.
    with suppress(ray.exceptions.RayError, OSError):
        internal_kv._internal_kv_put(key, b"", namespace=_NAMESPACE)  # noqa: SLF001


def _take_back(key: bytes) -> None:
    with suppress(ray.exceptions.RayError, OSError):
        internal_kv._internal_kv_del(key, namespace=_NAMESPACE)  # noqa: SLF001
