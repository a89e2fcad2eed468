"""How time passes while something is waited for; a test brings its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pause:
    """A clock and a way to let time pass.

    Attributes:
        clock: Seconds, from any moment on.
        sleep: Lets so many seconds pass.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
