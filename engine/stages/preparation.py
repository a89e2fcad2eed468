"""The first stage of every run: find the files, check them, and read them into parts, or only count their rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from engine.config import Config, Source
from engine.errors import DataError
from engine.events.checks import (
    add_records,
    check_all_read,
    check_rejects,
    check_some_passed,
    check_types,
    missing_types,
    rows_read,
)
from engine.events.contacts import ContactsRecord, ContactsTask, read_contacts
from engine.events.discover import DiscoverTask, discover_types
from engine.events.files import find_files, hive_values
from engine.events.ingest import IngestRecord, IngestTask, ingest
from engine.events.probe import Footer, read_footers
from engine.events.read import reading, scan, source_mapping
from engine.execution.plan import plan_buckets, plan_pieces
from engine.execution.protocol import Executor
from engine.features.windows import midnight_us
from engine.identity import run_mark
from engine.progress import Progress, track
from engine.rollups.bucket import KeyRange, key_ranges

__all__ = [
    "Input",
    "Prepared",
    "count_rows",
    "input_fingerprint",
    "line_sources",
    "open_input",
    "prepare",
    "rows_read",
]


@dataclass(frozen=True)
class Input:
    """The checked input of a run: files, their footers, and the type of user ids."""

    footers: tuple[tuple[int, Footer], ...]
    user_dtype: str

    @property
    def rows(self) -> int:
        return sum(footer.rows for _, footer in self.footers)


@dataclass(frozen=True)
class Prepared:
    """Parts that cover the whole log, and what became of its rows.

    Attributes:
        parts: Part files of the events.
        contacts: What was read of the contacts; None without contacts.
        buckets: The user ranges to work on.
        ingested: The sum of all ingest records.
        types: Event types by code.
        as_of_us: The instant at which the future begins.
    """

    parts: tuple[str, ...]
    contacts: ContactsRecord | None
    buckets: tuple[KeyRange, ...]
    ingested: IngestRecord
    types: tuple[str, ...]
    as_of_us: int


def line_sources(config: Config) -> frozenset[int]:
    """Positions of the sources whose rows are lines of orders."""
    return frozenset(index for index, source in enumerate(config.sources) if source.same_id == "lines")


def open_input(config: Config) -> Input:
    """Find and open every file of every source.

    Raises:
        ConfigError: A path without files.
        DataError: Unreadable files, schemas that do not fit the mapping, user ids of different types.
        TransientError: Storage that does not answer.
    """
    files = [
        (index, file) for index, source in enumerate(config.sources) for file in find_files(source.name, source.path)
    ]
    footers = list(zip((index for index, _ in files), read_footers([file for _, file in files]), strict=True))
    bad = [(config.sources[index].name, footer) for index, footer in footers if footer.problem]
    if bad:
        listed = "\n".join(f"  source {name!r}: {footer.file}: {footer.problem}" for name, footer in bad[:20])
        more = f"\n  and {len(bad) - 20} more" if len(bad) > 20 else ""
        raise DataError(
            f"{len(bad)} of {len(footers)} files cannot be read\n{listed}{more}",
            code="input-unreadable",
            hint="Restore the files, or take them out of the source's path.",
        )
    user_dtypes: dict[str, str] = {}
    for index, source in enumerate(config.sources):
        for file in _one_per_schema(footer for position, footer in footers if position == index):
            user_dtypes[_check_schema(source, file, config.currency_digits)] = source.name
    if len(user_dtypes) > 1:
        listed = ", ".join(f"{dtype} in source {name!r}" for dtype, name in sorted(user_dtypes.items()))
        raise DataError(
            f"user ids have different types: {listed}",
            code="user-id-types",
            hint='Cast one of them in its mapping: user_id = { sql = "CAST(… AS VARCHAR)" }.',
        )
    return Input(tuple(footers), next(iter(user_dtypes)))


def _one_per_schema(footers: Iterable[Footer]) -> list[Footer]:
    first: dict[tuple[object, ...], Footer] = {}
    for footer in footers:
        first.setdefault((footer.columns, *hive_values(footer.file)), footer)
    return list(first.values())


def _check_schema(source: Source, footer: Footer, currency_digits: int) -> str:
    with reading(f"source {source.name!r}", str(footer.file)):
        return str(source_mapping(source, scan(str(footer.file)), currency_digits).user_dtype)


def prepare(  # noqa: PLR0913 - the one entry to a stage with two callers
    config: Config,
    given: Input,
    as_of: date,
    *,
    work: Path,
    executor: Executor,
    progress: Progress | None,
    types: tuple[str, ...] | None = None,
    extras: tuple[str, ...] = (),
    rejects: Path | None = None,
) -> Prepared:
    """Read the whole log into parts under `work`.

    Args:
        config: The configuration.
        given: The checked input.
        as_of: First day that is not in the data of the run.
        work: Folder for the parts.
        executor: Where the reading is done.
        progress: Told of each finished task.
        types: Event types by code; discovered when None.
        extras: Canonical columns to carry beside amount.
        rejects: Folder for the rejected rows.

    Raises:
        ConfigError: The data has no event of a configured type.
        DataError: Unreadable files, too many rejects, no events.
        IntegrityError: Files that changed since `open_input`.
    """
    types = types or _types_in_use(config, given, as_of, executor, progress)
    tasks = _ingest_tasks(config, given, as_of, types, work=work, extras=extras, rejects=rejects)
    records, total = _ingest(config, given, types, tasks, executor, progress)
    contacts = None
    if config.contacts is not None:
        [contacts] = executor.map(
            read_contacts,
            [ContactsTask(config.contacts, str(work / "contacts.parquet"))],
            on_done=track(progress, "read contacts", 1),
        )
    buckets = key_ranges(plan_buckets(given.rows, config.execution.rows_per_task))
    parts = tuple(record.part for record in records if record.part is not None)
    return Prepared(parts, contacts, tuple(buckets), total, types, midnight_us(as_of, config.timezone))


def count_rows(
    config: Config, given: Input, as_of: date, *, executor: Executor, progress: Progress | None
) -> tuple[IngestRecord, tuple[str, ...]]:
    """Read the whole log and count what would become of every row, without writing anything; and the event types.

    Raises:
        ConfigError: The data has no event of a configured type.
        DataError: Unreadable files, too many rejects, no events, contacts that are repeated.
        IntegrityError: Files that changed since `open_input`.
    """
    types = _types_in_use(config, given, as_of, executor, progress)
    tasks = _ingest_tasks(config, given, as_of, types)
    _, total = _ingest(config, given, types, tasks, executor, progress)
    if config.contacts is not None:
        executor.map(read_contacts, [ContactsTask(config.contacts, None)])
    return total, types


def _types_in_use(
    config: Config, given: Input, as_of: date, executor: Executor, progress: Progress | None
) -> tuple[str, ...]:
    """The configured event types, else those that the log has before `as_of`."""
    if config.events.types:
        return config.events.types
    tasks = [
        DiscoverTask(config.sources, pieces, config.currency_digits, midnight_us(as_of, config.timezone))
        for pieces in plan_pieces(given.footers, config.execution.rows_per_task)
    ]
    return discover_types(tasks, executor=executor, on_done=track(progress, "find event types", len(tasks)))


def _ingest_tasks(
    config: Config,
    given: Input,
    as_of: date,
    types: tuple[str, ...],
    *,
    work: Path | None = None,
    extras: tuple[str, ...] = (),
    rejects: Path | None = None,
) -> list[IngestTask]:
    """Tasks that read the whole log once; they write parts under `work`, or nothing."""
    return [
        IngestTask(
            index=index,
            sources=config.sources,
            pieces=pieces,
            types=types,
            extras=extras,
            timezone=config.timezone,
            currency_digits=config.currency_digits,
            as_of_us=midnight_us(as_of, config.timezone),
            part=None if work is None else str(work / f"events-{index:05d}.parquet"),
            rejects=None if rejects is None else str(rejects),
            staging=None if work is None else str(work),
            mark="" if work is None else run_mark(work.name),
        )
        for index, pieces in enumerate(plan_pieces(given.footers, config.execution.rows_per_task))
    ]


def _ingest(
    config: Config,
    given: Input,
    types: tuple[str, ...],
    tasks: list[IngestTask],
    executor: Executor,
    progress: Progress | None,
) -> tuple[list[IngestRecord], IngestRecord]:
    """The record of each task and their sum, which passed every check."""
    records = executor.map(ingest, tasks, on_done=track(progress, "read events", len(tasks)))
    total = add_records(records)
    check_all_read(total, given.rows)
    check_rejects(config, total)
    check_types(config, total, types)
    check_some_passed(total, types)
    return records, replace(total, missing_types=missing_types(total, types))


def input_fingerprint(config: Config, given: Input) -> str:
    """sha256 of the identity of every input file: name, size and time of change."""
    files = [(config.sources[index].name, footer.file) for index, footer in given.footers]
    if config.contacts is not None:
        files += [("contacts", file) for file in find_files("contacts", config.contacts.path)]
    lines = (f"{name}\0{file}\0{file.stat().st_size}\0{file.stat().st_mtime_ns}" for name, file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
