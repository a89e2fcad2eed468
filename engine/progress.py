"""How far a run is, told to whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProgressEvent:
    """`done` of `total` units of a stage are finished; the first event of a stage has `done` 0."""

    stage: str
    done: int
    total: int


Progress = Callable[[ProgressEvent], None]


def track(progress: Progress | None, stage: str, total: int) -> Callable[[object], None] | None:
    """A callback that counts finished tasks of a stage; None when nobody wants to know."""
    if progress is None:
        return None
    done = 0
    progress(ProgressEvent(stage, done, total))

    def advance(_: object) -> None:
        nonlocal done
        done += 1
        progress(ProgressEvent(stage, done, total))

    return advance
