"""Which tasks roll up which units: small ones together, large ones in pieces.

In: the units that the store lacks. Out: their entries, and the files with the ids of users that were new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine.config import Config
from engine.events.ingest import Piece, Roles
from engine.events.read import input_changed
from engine.events.untrusted import Quarantined
from engine.execution.plan import TASK_ROWS, plan_pieces
from engine.execution.protocol import Executor, TaskSize
from engine.execution.sizes import reading_size
from engine.privacy.ids import IdRules
from engine.progress import Progress, track
from engine.rollups.index import Entry, Index
from engine.rollups.ranges import Files, key_ranges, portion_name
from engine.rollups.roll import (
    PartTask,
    RangeTask,
    Rolled,
    RollTask,
    encode_part,
    large_entry,
    roll,
    roll_range,
)
from engine.rollups.units import Unit, by_source, look_back
from engine.rollups.work import LookBack, RollSettings, UnitWork
from engine.tables.manifest import FileRecord

WHOLE_ROWS: Final = 4_000_000
"""Rows of a unit that are rolled up together: cutting them by rows and then by users takes twice as long."""
MOST_PORTIONS: Final = 32
"""Tasks that small units are put together for, or a few more."""


@dataclass(frozen=True)
class Found:
    """A unit of the log as it is now.

    Attributes:
        unit: Its files.
        fingerprint: Of everything that decides its numbers.
        pieces: Its rows; empty while its entry is believed to fit.
        user_dtype: Type of the source's user ids.
        quarantined: Its files that cannot be read; `pieces` has no row of them.
    """

    unit: Unit
    fingerprint: str
    pieces: tuple[Piece, ...] = ()
    user_dtype: str = ""
    quarantined: tuple[Quarantined, ...] = ()


@dataclass(frozen=True)
class Rolling:
    """What all tasks of one update have in common.

    Attributes:
        config: The configuration.
        store: Folder of the store.
        work: Folder for parts of large units.
        index: The index, with every code that is wanted.
        had: The entries that were there, by source and label.
        known: Those of them that can be relied on.
        event_types, event_columns: What is wanted of single events.
        codes: What is wanted of the partials.
        open_unit: Gives a unit its `pieces`: reads the footers of its files.
        ids: What becomes of ids.
    """

    config: Config
    store: Path
    work: Path
    index: Index
    had: Mapping[tuple[str, str], Entry]
    known: Mapping[tuple[str, str], Entry]
    event_types: tuple[str, ...]
    event_columns: tuple[str, ...]
    codes: tuple[int, ...]
    open_unit: Callable[[Found], Found]
    ids: IdRules


@dataclass(frozen=True)
class _Log:
    """All units of the log, to look back to."""

    found: Mapping[Unit, Found]
    labels: Mapping[int, Mapping[str, Unit]]


def roll_units(
    rolling: Rolling, stale: Sequence[Found], found: Sequence[Found], executor: Executor, progress: Progress | None
) -> Rolled:
    """Roll up the units of `stale`; `found` are all units of the log.

    Raises:
        TamisError: As `engine.rollups.roll`.
    """
    every = {item.unit: item for item in found} | {item.unit: item for item in stale}
    log = _Log(every, by_source(every))
    tasks: list[RollTask] = []
    entries: list[Entry] = []
    users: list[FileRecord] = []
    limit = min(rolling.config.execution.rows_per_task, TASK_ROWS)
    whole = min(rolling.config.execution.rows_per_task, WHOLE_ROWS)
    large = [item for item in stale if _rows(item) > whole]
    stem = _users_stem(rolling, stale)
    small = [item for item in stale if _rows(item) <= whole]
    # Each task reads the users that are known: their number must not grow with that of the users.
    portions = list(_portions(rolling, small, max(limit, sum(map(_rows, small)) // MOST_PORTIONS)))
    done = track(progress, "read events", len(portions) + len(large), executor.tally)
    # Large ones come first: the ids of one are read from its files and not from the log.
    for number, item in enumerate(large):
        known = Files([file.path for file in (*rolling.index.users, *users)])
        rolled = _roll_large(rolling, item, log, known, f"users/{stem}-L{number:04d}", executor, limit)
        entries += rolled.entries
        users += rolled.users
        rolling = replace(rolling, known={**rolling.known, **{entry.name: entry for entry in rolled.entries}})
        if done is not None:
            done(rolled)
    names_known = tuple(file.path for file in (*rolling.index.users, *users))
    for number, (settings, items) in enumerate(portions):
        works = tuple(_work(rolling, settings, item, log) for item in items)
        names = names_known + tuple(task.new_users for task in tasks)
        tasks.append(RollTask(settings, works, names, f"users/{stem}-{number:05d}.parquet"))
    sizes = [_size(items) for _, items in portions]
    for rolled in executor.map(roll, tasks, on_done=done, sizes=sizes):
        entries += rolled.entries
        users += rolled.users
    promised = {(rolling.config.sources[item.unit.source].name, item.unit.label): item for item in stale}
    for entry in entries:
        rows = _rows(promised[entry.name])
        if entry.read != rows:
            raise input_changed(f"{entry.read} rows were read; the footers of the files promised {rows}")
    complete = tuple(
        replace(
            entry,
            user_dtype=promised[entry.name].user_dtype,
            quarantined=tuple((bad.file, bad.problem) for bad in promised[entry.name].quarantined),
        )
        for entry in entries
    )
    return Rolled(complete, tuple(users), sum(entry.read for entry in complete))


def _users_stem(rolling: Rolling, stale: Sequence[Found]) -> str:
    """The start of the names of new files of users: of none that the index has."""
    wanted = [item.fingerprint for item in stale]
    known = [file.sha256 for file in rolling.index.users]
    links = None if rolling.index.links is None else rolling.index.links.sha256
    what = repr((wanted, known, rolling.codes, sorted(rolling.index.rekeyed.items()), links))
    return hashlib.sha256(what.encode()).hexdigest()[:12]


def _size(items: Sequence[Found]) -> TaskSize:
    return reading_size(sum(map(_rows, items)), sum(file.size for item in items for file in item.unit.files))


def _rows(item: Found) -> int:
    return sum(piece.rows for piece in item.pieces)


def _portions(rolling: Rolling, items: Sequence[Found], limit: int) -> Iterator[tuple[RollSettings, list[Found]]]:
    """Units of one source and one set of settings, in their order, up to `limit` rows."""
    portion: list[Found] = []
    current: RollSettings | None = None
    for item in items:
        settings = _settings(rolling, item)
        if current is not None and (settings != current or sum(map(_rows, portion)) + _rows(item) > limit):
            yield current, portion
            portion = []
        current = settings
        portion.append(item)
    if current is not None:
        yield current, portion


def _settings(rolling: Rolling, item: Found) -> RollSettings:
    source = rolling.config.sources[item.unit.source]
    entry = rolling.had.get((source.name, item.unit.label))
    # What another run wanted of the unit stays: two runs in turn would roll it up each time.
    coded = {*rolling.codes, *(() if entry is None else entry.coded)}
    types = {*rolling.event_types, *(() if entry is None else entry.event_types)}
    columns = {*rolling.event_columns, *(() if entry is None else entry.event_columns)}
    return RollSettings(
        store=str(rolling.store),
        source=source,
        timezone=rolling.config.timezone,
        currency_digits=rolling.config.currency_digits,
        codes=rolling.index.codes,
        coded=tuple(sorted(coded)),
        event_types=tuple(sorted(types)),
        event_columns=tuple(sorted(columns)),
        rekeyed=tuple(sorted(rolling.index.rekeyed.items())),
        machines=rolling.config.machines,
        roles=Roles(rolling.config.events.send, rolling.config.events.open, rolling.config.events.click),
        exclude=rolling.config.exclude,
        links=None if rolling.index.links is None else rolling.index.links.path,
        ids=rolling.ids,
    )


def _work(rolling: Rolling, settings: RollSettings, item: Found, log: _Log) -> UnitWork:
    source = settings.source
    before = look_back(item.unit, log.labels[item.unit.source], source.look_back_days)
    return UnitWork(
        unit=item.unit,
        pieces=item.pieces,
        fingerprint=item.fingerprint,
        ids=_ids_name(settings, item),
        before=tuple(_look_back(rolling, settings, log.found[unit]) for unit in before),
        keeps_ids=source.look_back_days > 0,
    )


def _look_back(rolling: Rolling, settings: RollSettings, item: Found) -> LookBack:
    entry = rolling.known.get((settings.source.name, item.unit.label))
    is_current = entry is not None and entry.fingerprint == item.fingerprint
    if entry is not None and is_current and entry.ids and set(settings.coded) <= set(entry.coded):
        return LookBack(item.unit.label, tuple(file.path for file in entry.ids), ())
    opened = item if item.pieces else rolling.open_unit(item)
    return LookBack(item.unit.label, (_ids_name(settings, item),), opened.pieces)


def _ids_name(settings: RollSettings, item: Found) -> str:
    return f"ids/{settings.stem(item.unit, item.fingerprint)}.parquet"


def _roll_large(
    rolling: Rolling,
    item: Found,
    log: _Log,
    known: Files,
    new_users: str,
    executor: Executor,
    limit: int,
) -> Rolled:
    settings = _settings(rolling, item)
    work = _work(rolling, settings, item, log)
    stem = settings.stem(item.unit, item.fingerprint)
    parts = [
        PartTask(settings, work, pieces, str(rolling.work / f"{stem}-{number:05d}.parquet"))
        for number, pieces in enumerate(plan_pieces(item.pieces, limit))
    ]
    sizes = [reading_size(sum(piece.rows for piece in part.pieces)) for part in parts]
    rows = executor.map(encode_part, parts, sizes=sizes)
    cut = key_ranges(-(-_rows(item) // limit))
    ranges = [
        RangeTask(
            settings,
            work,
            tuple(part.part for part in parts),
            keys,
            number,
            len(cut),
            known.within(keys),
            portion_name(new_users, number, len(cut)),
        )
        for number, keys in enumerate(cut)
    ]
    finished = executor.map(roll_range, ranges, sizes=[reading_size(-(-_rows(item) // len(ranges)))] * len(ranges))
    users = tuple(file for record in finished for file in record.users)
    return Rolled((large_entry(work, settings, rows, finished),), users)
