"""Which event types a log has, where the configuration does not list them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import polars as pl

from engine.config import Source
from engine.errors import DataError
from engine.events.ingest import Piece
from engine.events.read import reading, scan, source_mapping, unchanged
from engine.execution.protocol import Executor
from engine.execution.sizes import reading_size
from engine.remote.fetch import at_hand

MAX_TYPES = 200
_TYPE = "__type"
_TIME = "__time"


@dataclass(frozen=True)
class DiscoverTask:
    """Rows to look at; types whose rows are all at or after `as_of_us` (µs since 1970 UTC) are not seen."""

    sources: tuple[Source, ...]
    pieces: tuple[Piece, ...]
    currency_digits: int
    as_of_us: int


def discover_types(
    tasks: Sequence[DiscoverTask],
    known: Collection[str] = (),
    *,
    executor: Executor,
    on_done: Callable[[object], None] | None = None,
) -> tuple[str, ...]:
    """The distinct event types of the log before `as_of`, sorted; `known` are those of the rows that no task reads.

    Raises:
        DataError: So many that the mapping is probably wrong.
    """
    sizes = [reading_size(sum(piece.rows for piece in task.pieces)) for task in tasks]
    found = {*known, *(name for names in executor.map(discover, tasks, on_done=on_done, sizes=sizes) for name in names)}
    if len(found) > MAX_TYPES:
        raise DataError(
            f"the log has more than {MAX_TYPES} different event types, such as "
            + ", ".join(repr(name) for name in sorted(found)[:5]),
            code="event-types-too-many",
            hint="Check columns.event_type, or list the types to use in events.types.",
        )
    return tuple(sorted(found))


def discover(task: DiscoverTask) -> tuple[str, ...]:
    """The distinct event types of one task's rows, sorted; a few more than `MAX_TYPES` when there are more.

    Raises:
        DataError: A file that cannot be read, or whose schema does not fit the mapping.
        IntegrityError: A file that changed since its footer was read.
        TransientError: Storage that does not answer.
    """
    found: set[str] = set()
    for piece in task.pieces:
        found.update(_names(task, piece))
        if len(found) > MAX_TYPES:
            break
    return tuple(sorted(found)[: MAX_TYPES + 1])


def _names(task: DiscoverTask, piece: Piece) -> list[str]:
    source = task.sources[piece.source]
    owner = f"source {source.name!r}"
    with (
        at_hand(piece.file, piece.stamp, piece.cache) as file,
        unchanged(owner, file, piece.stamp),
        reading(owner, piece.file),
    ):
        frame = scan(file)
        mapping = source_mapping(source, frame, task.currency_digits)
        # Beside a column, a constant has as many rows as there are.
        typed = (
            frame.slice(piece.start, piece.rows)
            .filter(mapping.keep)
            .with_columns(
                mapping.canonical["event_type"].alias(_TYPE),
                mapping.canonical["event_time"].dt.epoch("us").alias(_TIME),
            )
            .filter((pl.col(_TIME) < task.as_of_us) & (pl.col(_TYPE) != ""))
        )
        return typed.select(pl.col(_TYPE).unique()).collect()[_TYPE].to_list()
