"""From sizes to tasks: which rows a task reads, and into how many ranges of users the work is cut.

Both depend on the data and the configuration alone, never on the executor or its workers, so that every executor
writes the same files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.events.ingest import Piece

TASK_ROWS = 2_000_000
"""Rows of one ingest task: a few hundred MB while it is encoded."""
_MAX_BUCKETS = 1 << 16
"""More would be files of a few rows each, and more tasks than a scheduler likes."""


def plan_pieces(pieces: Sequence[Piece], rows_per_task: int) -> list[tuple[Piece, ...]]:
    """Pack the rows of all files, in order, into tasks of about equal size.

    Args:
        pieces: The rows.
        rows_per_task: `execution.rows_per_task`.
    """
    limit = min(rows_per_task, TASK_ROWS)
    tasks: list[tuple[Piece, ...]] = []
    current: list[Piece] = []
    room = limit
    for piece in pieces:
        start = 0
        while start < piece.rows:
            rows = min(room, piece.rows - start)
            current.append(replace(piece, start=piece.start + start, rows=rows))
            start += rows
            room -= rows
            if room == 0:
                tasks.append(tuple(current))
                current, room = [], limit
    if current:
        tasks.append(tuple(current))
    return tasks


def plan_buckets(rows: int, rows_per_task: int) -> int:
    """Number of user ranges, at most 65,536: a power of two, so that it rarely moves from one day to the next."""
    needed = min(max(1, -(-rows // rows_per_task)), _MAX_BUCKETS)
    return 1 << (needed - 1).bit_length()
