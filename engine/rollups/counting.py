"""Count what would become of the rows of a log, without writing anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

import polars as pl

from engine.config import Config
from engine.events.ingest import Piece, Reading, Roles, read_rows
from engine.privacy.ids import IdRules
from engine.rollups.index import DayCount, Entry
from engine.rollups.roll import EXAMPLES


@dataclass(frozen=True)
class CountTask:
    """Rows to count; `types` are the event types in use, `ids` what becomes of ids."""

    config: Config
    pieces: tuple[Piece, ...]
    types: tuple[str, ...]
    ids: IdRules = field(default_factory=IdRules)


def count(task: CountTask) -> tuple[Entry, ...]:
    """What would become of the rows, one entry per source; every good row of a type in use counts as an event.

    Raises:
        DataError: A file that cannot be read, or whose schema does not fit the mapping.
        IntegrityError: A file that changed since its footer was read.
        TransientError: Storage that does not answer.
    """
    return tuple(
        _count(task, position, tuple(pieces))
        for position, pieces in groupby(task.pieces, key=lambda piece: piece.source)
    )


def _count(task: CountTask, position: int, pieces: tuple[Piece, ...]) -> Entry:
    config, source = task.config, task.config.sources[position]
    codes = tuple((name, code) for code, name in enumerate(task.types))
    how = Reading(
        source=source,
        timezone=config.timezone,
        currency_digits=config.currency_digits,
        codes=codes,
        columns=("amount",),
        machines=config.machines,
        roles=Roles(config.events.send, config.events.open, config.events.click),
        exclude=config.exclude,
        ids=task.ids,
    )
    rows = read_rows(how, pieces)
    used = rows.good.group_by("type", "day").agg(
        rows=pl.len().cast(pl.Int64),
        priced=pl.col("amount").count().cast(pl.Int64),
        zero=(pl.col("amount") == 0).sum().cast(pl.Int64),
    )
    counts = [
        DayCount(task.types[code], day, number, number, 0, 0, priced, zero)
        for code, day, number, priced, zero in used.select("type", "day", "rows", "priced", "zero")
        .sort("type", "day")
        .iter_rows()
    ]
    counts += [DayCount(*row) for row in rows.unused.select("event_type", "day", "rows").iter_rows()]
    return Entry(
        source=source.name,
        label="",
        fingerprint="",
        coded=(),
        event_types=(),
        event_columns=(),
        sources=(),
        user_dtype="",
        read=rows.read,
        left_out=rows.left_out,
        excluded=rows.excluded,
        erased=rows.erased,
        rejected=dict(rows.rejects.group_by("rule").len().sort("rule").iter_rows()),
        examples=tuple(rows.rejects.select("file", "row", "rule").head(EXAMPLES).iter_rows()),
        counts=tuple(counts),
        unlisted=(),
        daily=(),
        quality=rows.quality,
    )
