"""Whose turn it is: a run that finds another one writing to the same output waits for its end, or stops.

The lock itself is only tried by a run that would go on with it. In between, the name that its holder has left beside it
is looked at: that costs nothing, takes the lock from nobody, and works across machines. A holder that died elsewhere
leaves its name behind, so the lock is tried from time to time all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from engine.config_schedule import Schedule
from engine.errors import ConflictError
from engine.schedule.pause import Pause
from engine.tables.lock import present_holder

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""Between two looks at the name of the holder."""
TRY_SECONDS: Final = 30.0
"""Between two tries at the lock while the same holder stays."""
_LOCKED: Final = "out-locked"


def in_turn(
    action: Callable[[], T],
    out: Path,
    schedule: Schedule,
    *,
    tell: Callable[[str], None],
    pause: Pause | None = None,
) -> T:
    """The result of a run, begun again as long as another one holds the lock of the output and the wait lasts.

    Args:
        action: The run; when the lock is not free it must do nothing and raise the error of `writer_lock`.
        out: The output root.
        schedule: Whether to wait, and how long.
        tell: Given a line to read for each holder that is waited for.
        pause: How time passes; the system's when None.

    Raises:
        ConflictError: Another run holds the lock still.
        TamisError: What the run itself raises.
    """
    how = pause or Pause()
    limit = schedule.overlap_wait_minutes * 60 if schedule.overlap == "wait" else 0.0
    started = how.clock()
    told = ""
    while True:
        try:
            return action()
        except ConflictError as error:
            spent = how.clock() - started
            if error.code != _LOCKED or limit == 0:
                raise
            if spent >= limit:
                raise ConflictError(
                    f"{error.message}; waited {spent:.0f} seconds for it", code="out-locked", hint=error.hint
                ) from error
            if error.message != told:
                tell(f"waiting up to {limit - spent:.0f} seconds: {error.message}")
                told = error.message
        _wait(out, min(TRY_SECONDS, limit - spent), how)


def _wait(out: Path, seconds: float, how: Pause) -> None:
    """Until another holder's name stands there, or none, or the time is over."""
    started = how.clock()
    holder = present_holder(out)
    while (left := seconds - (how.clock() - started)) > 0:
        how.sleep(min(LOOK_SECONDS, left))
        if present_holder(out) != holder or holder is None:
            return
