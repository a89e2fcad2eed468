"""The first stage of every run: bring the rollups up to date with the log, or only count its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Config, Contacts
from engine.contacts.duplicates.links import stage_merged
from engine.contacts.read import ContactsRecord, ContactsTask, read_contacts
from engine.events.checks import (
    check_all_read,
    check_rejects,
    check_some_passed,
    check_types,
    missing_types,
    optional_types,
)
from engine.events.discover import DiscoverTask, discover_types
from engine.events.ingest import REJECT_SCHEMA, Piece, tells_machines
from engine.events.machines import machine_type
from engine.events.record import IngestRecord
from engine.execution.plan import plan_buckets, plan_pieces
from engine.execution.protocol import Executor, TaskSize
from engine.execution.sizes import reading_size
from engine.features.windows import day_number, midnight_us
from engine.identity import run_mark
from engine.privacy.links import settle
from engine.privacy.objections import opposed_users
from engine.privacy.tombstones import tombstones_file
from engine.progress import Progress, track
from engine.remote.fetch import cache_folder, clear
from engine.rollups.bucket import Shelf, shelves
from engine.rollups.counting import CountTask, count
from engine.rollups.index import Code, Entry, Index
from engine.rollups.ranges import KeyRange, key_ranges
from engine.rollups.totals import ingested
from engine.rollups.update import Wanted, store_folder, update
from engine.stages.damaged import naming_damaged
from engine.stages.input import Input, kept_links, open_unit, unit_name
from engine.stages.permitting import Asked, check_consent, read_permits
from engine.tables.durable import durable_parquet
from engine.tables.manifest import FileRecord

_REJECT_FILE_ROWS: Final = 500_000


@dataclass(frozen=True)
class Prepared:
    """A store that covers the whole log, and what became of its rows.

    Attributes:
        shelf: Where the rows of the run are.
        index: The store.
        contacts: What was read of the contacts; None without contacts.
        buckets: The user ranges to work on.
        ingested: What became of every row.
        types: Event types by code; without derived ones.
        rejects: Published files of the rejected rows.
        rolled: Units that were rolled up for this run, and the rows that were read for it.
        damaged: Units whose files in the store were not what they were.
        asked: What users agreed to, and who objects.
    """

    shelf: Shelf
    index: Index
    contacts: ContactsRecord | None
    buckets: tuple[KeyRange, ...]
    ingested: IngestRecord
    types: tuple[str, ...]
    rejects: tuple[FileRecord, ...] = ()
    rolled: tuple[int, int] = (0, 0)
    damaged: tuple[tuple[str, str], ...] = ()
    asked: Asked = field(default_factory=Asked)

    def portions(self, shelf: Shelf) -> list[tuple[KeyRange, Shelf]]:
        """The range of users of each bucket, and the part of a shelf that a task over them has to know."""
        return list(zip(self.buckets, shelves(shelf, self.buckets), strict=True))


def prepare(  # noqa: PLR0913 - the one entry to a stage with two callers
    config: Config,
    given: Input,
    as_of: date,
    *,
    work: Path,
    executor: Executor,
    progress: Progress | None,
    wanted: Wanted | None = None,
    types: tuple[str, ...] | None = None,
    rejects: Path | None = None,
) -> Prepared:
    """Bring the rollups up to date with the log.

    Args:
        config: The configuration.
        given: The checked input.
        as_of: First day that is not in the data of the run.
        work: Folder for what is only needed by this run.
        executor: Where the reading is done.
        progress: Told of each finished task.
        wanted: What is needed of the log beside the event types.
        types: Event types by code; discovered when None.
        rejects: Folder for the rejected rows, below `work`.

    Raises:
        ConfigError: The data has no event of a configured type.
        DataError: Unreadable files, too many rejects, no events.
        IntegrityError: Files that changed since `open_input`.
    """
    types = types or types_in_use(config, given, as_of, executor, progress)
    more = wanted or Wanted(())
    needed = replace(more, codes=more.codes or tuple(Code(name) for name in types))
    store, end_day = store_folder(Path(config.out)), day_number(as_of)
    linked = kept_links(config, given, work)

    def checked(index: Index) -> None:
        total = ingested(index.entries, end_day, types)
        check_all_read(total, sum(entry.read for entry in index.entries))
        check_rejects(config, total)
        check_types(config, total, types)
        check_some_passed(total, types)

    with naming_damaged(config, given.units):
        updated = update(
            config,
            given.units,
            needed,
            store=store,
            work=work,
            executor=executor,
            open_unit=lambda found: open_unit(config, found),
            progress=progress,
            links=linked.links,
            ids=linked.ids,
            gone=linked.gone.to_list(),
            check=checked,
        )
    settle(linked, tombstones_file(Path(config.out)))
    index = updated.index
    total = ingested(index.entries, end_day, types)
    contacts = None
    if config.contacts is not None:
        task = _contacts_task(config, config.contacts, work, end_day, lists_rejects=rejects is not None)
        merged = stage_merged(linked.links, linked.known, Path(config.out), work)
        [contacts] = executor.map(
            read_contacts,
            [replace(task, ids=linked.ids, merged=merged)],
            on_done=track(progress, "read contacts", 1),
        )
    asked = read_permits(
        config,
        as_of,
        user_dtype=given.user_dtype,
        index=index,
        ids=linked.ids,
        links=linked.links,
        opposed=opposed_users(config, [str(store / file.path) for file in index.users], linked.links, linked.ids),
        work=work,
        executor=executor,
        progress=progress,
    )
    # Nothing is read of the sources from here on.
    clear(cache_folder(Path(config.out)))
    return Prepared(
        shelf=_shelf(index, needed, store, end_day),
        index=index,
        contacts=contacts,
        buckets=tuple(key_ranges(plan_buckets(sum(total.read.values()), config.execution.rows_per_task))),
        ingested=replace(
            total,
            missing_types=missing_types(total, _expected(config, types)),
            quarantined=(*given.quarantined, *total.quarantined),
        ),
        types=types,
        rejects=() if rejects is None else _publish_rejects(index.entries, contacts, store, rejects, work),
        rolled=(updated.rolled, updated.rows),
        damaged=updated.damaged,
        asked=asked,
    )


def _shelf(index: Index, wanted: Wanted, store: Path, end_day: int) -> Shelf:
    days = {entry.name: entry.days for entry in index.entries}
    past = [entry for entry in index.entries if (span := days[entry.name]) is not None and span[0] < end_day]
    codes = {code: position for position, code in enumerate(index.codes)}
    plain = {code.event_type: position for position, code in enumerate(wanted.codes) if code.where is None}
    return Shelf(
        users=tuple(str(store / file.path) for file in index.users),
        daily=tuple(str(store / file.path) for entry in past for file in entry.daily),
        events=tuple(str(store / file.path) for entry in past for file in entry.events) if wanted.event_types else (),
        event_columns=wanted.event_columns,
        codes=tuple(codes[code] for code in wanted.codes),
        event_types=tuple(sorted(plain[name] for name in wanted.event_types)),
        end_day=end_day,
        kinds=wanted.codes,
    )


def _contacts_task(
    config: Config, contacts: Contacts, work: Path, end_day: int, *, lists_rejects: bool
) -> ContactsTask:
    return ContactsTask(
        contacts,
        part=str(work / "contacts.parquet"),
        cache=str(cache_folder(Path(config.out))),
        timezone=config.timezone,
        before=end_day,
        rejects=str(work / "contacts-rejects.parquet") if lists_rejects else None,
    )


def _publish_rejects(
    entries: Sequence[Entry], contacts: ContactsRecord | None, store: Path, folder: Path, work: Path
) -> tuple[FileRecord, ...]:
    """Files of the rejected rows of all units and of the contacts, sorted by source, file and row."""
    files = [store / file.path for entry in entries for file in entry.rejects]
    files += [Path(contacts.rejects)] if contacts is not None and contacts.rejects is not None else []
    if not files:
        return ()
    rows = pl.read_parquet(files, glob=False, hive_partitioning=False).select(REJECT_SCHEMA.names())
    ordered = rows.sort("source", "file", "row")
    return tuple(
        durable_parquet(portion, folder, f"part-{number:05d}-{run_mark(work.name)}", root=work)
        for number, portion in enumerate(ordered.iter_slices(_REJECT_FILE_ROWS))
    )


def count_rows(
    config: Config, given: Input, as_of: date, *, executor: Executor, progress: Progress | None
) -> tuple[IngestRecord, tuple[str, ...]]:
    """Read the whole log and count what would become of every row, without writing anything; and the event types.

    Raises:
        ConfigError: The data has no event of a configured type.
        DataError: Unreadable files, too many rejects, no events, contacts that are repeated.
        IntegrityError: Files that changed since `open_input`.
    """
    types = types_in_use(config, given, as_of, executor, progress)
    tasks = [
        CountTask(config, pieces, types, given.ids)
        for pieces in plan_pieces(_all_pieces(given), config.execution.rows_per_task)
    ]
    with naming_damaged(config, given.units):
        on_done = track(progress, "read events", len(tasks), executor.tally)
        entries = executor.map(count, tasks, on_done=on_done, sizes=[_size(task.pieces) for task in tasks])
    total = ingested([entry for listed in entries for entry in listed], day_number(as_of), types)
    check_all_read(total, given.rows(config))
    check_rejects(config, total)
    check_types(config, total, types)
    check_some_passed(total, types)
    if config.contacts is not None:
        executor.map(
            read_contacts,
            [ContactsTask(config.contacts, None, timezone=config.timezone, before=day_number(as_of), ids=given.ids)],
        )
    check_consent(config, given, as_of, executor)
    # Nothing was read of files without rows.
    read = dict.fromkeys((source.name for source in config.sources), 0) | total.read
    lost = (*given.quarantined, *(bad for item in given.units for bad in item.quarantined))
    return replace(
        total, read=read, missing_types=missing_types(total, _expected(config, types)), quarantined=lost
    ), types


def _size(pieces: Sequence[Piece]) -> TaskSize:
    return reading_size(sum(piece.rows for piece in pieces))


def _all_pieces(given: Input) -> list[Piece]:
    return [piece for item in given.units for piece in item.pieces]


def types_in_use(
    config: Config, given: Input, as_of: date, executor: Executor, progress: Progress | None
) -> tuple[str, ...]:
    """The configured event types, else those that the log has before `as_of`."""
    machines = _machine_types(config)
    if config.events.types:
        return tuple(dict.fromkeys((*config.events.types, *machines)))
    day = day_number(as_of)
    known = {
        count.event_type
        for item in given.units
        if not item.pieces
        for count in given.known[unit_name(config, item)].counts
        if count.day < day
    }
    tasks = [
        DiscoverTask(config.sources, pieces, config.currency_digits, midnight_us(as_of, config.timezone))
        for pieces in plan_pieces(_all_pieces(given), config.execution.rows_per_task)
    ]
    with naming_damaged(config, given.units):
        on_done = track(progress, "find event types", len(tasks), executor.tally)
        found = discover_types(tasks, known, executor=executor, on_done=on_done)
    return tuple(sorted({*found, *machines, *optional_types(config.events)}))


def _expected(config: Config, types: Iterable[str]) -> list[str]:
    """The types whose absence is worth a word: the log may well be without machines and complaints."""
    unexpected = {*optional_types(config.events), *_machine_types(config)}
    return [name for name in types if name not in unexpected]


def _machine_types(config: Config) -> tuple[str, ...]:
    """The types under which the opens and clicks of machines are counted; none where none can be told."""
    if not any(tells_machines(source, config.machines) for source in config.sources):
        return ()
    return tuple(machine_type(name) for name in (config.events.open, config.events.click) if name is not None)
