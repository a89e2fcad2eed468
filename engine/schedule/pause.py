"""How time passes while something is waited for; a test brings its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.execution.open import check_cluster
from engine.execution.protocol import Executor


@dataclass(frozen=True)
class Pause:
    """A clock and a way to let time pass.

    Attributes:
        clock: Seconds, from any moment on.
        sleep: Lets so many seconds pass.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def pause_of(executor: Executor) -> Pause:
    """The system's clock; a cluster that is lost while something is waited for ends the waiting (TransientError)."""

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        check_cluster(executor)

    return Pause(sleep=sleep)
