"""How far a run is, told to whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Tally:
    """What an executor has done so far, over all of its stages.

    Attributes:
        rows: Rows that finished tasks have read, of those whose size was known.
        bytes: Bytes that they have read.
        retried: Tasks that were started again: their worker was lost, the storage failed, or they were far slower than
            the others.
        spilled: Bytes that Ray's object store has written to disk.
    """

    rows: int = 0
    bytes: int = 0
    retried: int = 0
    spilled: int = 0


@dataclass(frozen=True)
class ProgressEvent:
    """`done` of `total` units of a stage are finished; the first event of a stage has `done` 0.

    Attributes:
        rows, bytes: What the finished tasks of the stage have read; None when none is known of.
        retried: Tasks of the stage that were started again; None when none was.
        spilled: Bytes that were written to disk for want of memory during the stage; None when there were none.
    """

    stage: str
    done: int
    total: int
    rows: int | None = None
    bytes: int | None = None
    retried: int | None = None
    spilled: int | None = None


Progress = Callable[[ProgressEvent], None]


def track(
    progress: Progress | None, stage: str, total: int, tally: Tally | None = None
) -> Callable[[object], None] | None:
    """A callback that counts finished tasks of a stage; None when nobody wants to know.

    Args:
        progress: Who is told.
        stage: Name of the stage.
        total: Tasks of the stage.
        tally: `Executor.tally`, when rows, bytes, retries and spills are to be told too.
    """
    if progress is None:
        return None
    done = 0
    before = (0, 0, 0, 0) if tally is None else _figures(tally)

    def tell() -> None:
        if tally is None:
            progress(ProgressEvent(stage, done, total))
            return
        rows, read, retried, spilled = (now - then for now, then in zip(_figures(tally), before, strict=True))
        progress(ProgressEvent(stage, done, total, rows or None, read or None, retried or None, spilled or None))

    def advance(_: object) -> None:
        nonlocal done
        done += 1
        tell()

    tell()
    return advance


def _figures(tally: Tally) -> tuple[int, int, int, int]:
    return tally.rows, tally.bytes, tally.retried, tally.spilled
