"""From sizes to tasks: which rows a task reads, and into how many ranges of users the work is cut.

Both depend on the data and the configuration alone, never on the executor or its workers, so that every executor
writes the same files.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.events.ingest import Piece
from engine.events.probe import Footer

_INGEST_ROWS = 2_000_000
"""Rows of one ingest task: a few hundred MB while it is encoded."""


def plan_pieces(footers: Sequence[tuple[int, Footer]], rows_per_task: int) -> list[tuple[Piece, ...]]:
    """Pack the rows of all files, in order, into tasks of about equal size.

    Args:
        footers: Source position and footer of every file.
        rows_per_task: `execution.rows_per_task`.
    """
    limit = min(rows_per_task, _INGEST_ROWS)
    tasks: list[tuple[Piece, ...]] = []
    current: list[Piece] = []
    room = limit
    for source, footer in footers:
        start = 0
        while start < footer.rows:
            rows = min(room, footer.rows - start)
            current.append(Piece(source, str(footer.file), start, rows))
            start += rows
            room -= rows
            if room == 0:
                tasks.append(tuple(current))
                current, room = [], limit
    if current:
        tasks.append(tuple(current))
    return tasks


def plan_buckets(rows: int, rows_per_task: int) -> int:
    """Number of user ranges: a power of two, so that it rarely moves from one day to the next."""
    needed = max(1, -(-rows // rows_per_task))
    return 1 << (needed - 1).bit_length()
