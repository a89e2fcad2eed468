"""Source rows to encoded rows: with the key of their user, and the ids that units before have.

In: pieces of source files, or files of ids in the store. Out: rows as `engine.events.ingest` gives them with `user_key`
and `check`, and the ids of the units that a unit looks back to.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import polars as pl

from engine.events.duplicates import event_ids
from engine.events.ingest import Reading, needs_whole_units, read_rows
from engine.events.keys import check_hash, user_key
from engine.execution.plan import TASK_ROWS, plan_pieces
from engine.rollups.work import LookBack, RollSettings, UnitWork

VALUED: Final = ("amount", "quantity")
"""Canonical columns whose values are measured where the source has them."""


def reading_of(settings: RollSettings, columns: Iterable[str] | None = None) -> Reading:
    """How the rows of a source are read; with `columns` instead of those that the settings need."""
    codes = tuple(settings.plain().items())
    if columns is None:
        columns = sorted({*needed_columns(settings), *valued_columns(settings)})
    named = dict.fromkeys(["event_id", "amount", *columns])
    return Reading(
        source=settings.source,
        timezone=settings.timezone,
        currency_digits=settings.currency_digits,
        codes=codes,
        columns=tuple(named),
        machines=settings.machines,
        roles=settings.roles,
        exclude=settings.exclude,
        links=None if settings.links is None else str(Path(settings.store, settings.links)),
        ids=settings.ids,
    )


def needed_columns(settings: RollSettings) -> set[str]:
    """Canonical columns that the store is made of, beside those of every event."""
    conditions = {name for _, _, names in settings.derived() for name in names}
    return {*conditions, *settings.event_columns} - {"order"}


def valued_columns(settings: RollSettings) -> tuple[str, ...]:
    """Canonical columns of which it is counted how large their values are."""
    columns = settings.source.columns
    return tuple(name for name in VALUED if getattr(columns, name) is not None)


def encode(rows: pl.DataFrame, settings: RollSettings) -> pl.DataFrame:
    """Rows with `user_key` and `check` (UInt32, a second hash of the id)."""
    key = user_key(pl.col("user_id"), settings.rekeyed)
    return rows.with_columns(user_key=key, check=check_hash(pl.col("user_id")))


def ids_before(settings: RollSettings, work: UnitWork, known: dict[str, pl.DataFrame]) -> list[pl.DataFrame]:
    """The ids of the units that a unit looks back to, in their order.

    Args:
        settings: Of the source.
        work: The unit.
        known: Ids that were found already, by the name of their file; those that were not are added.
    """
    found = []
    for other in work.before:
        if other.ids[0] not in known:
            known[other.ids[0]] = _find_ids(settings, other)
        found.append(known[other.ids[0]])
    return found


def _find_ids(settings: RollSettings, other: LookBack) -> pl.DataFrame:
    files = [Path(settings.store, name) for name in other.ids]
    if all(file.is_file() for file in files):
        frame = pl.read_parquet(files, glob=False, hive_partitioning=False)
        return frame.sort("id") if len(files) > 1 else frame
    # Not rolled up yet, or so long ago that its ids were given up: they are found in the log.
    reading, lines = reading_of(settings, ()), settings.source.same_id == "lines"
    portions = [other.pieces] if needs_whole_units(reading) else plan_pieces(other.pieces, TASK_ROWS)
    frames = [
        event_ids(encode(read_rows(reading, portion).good, settings), lines=lines)
        for portion in portions or [other.pieces]
    ]
    if len(frames) == 1:
        return frames[0]
    joined = pl.concat(frames)
    firsts = joined.group_by("id").min() if lines else joined.unique()
    return firsts.sort("id")
