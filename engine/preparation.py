"""The first stage of every run: find the files, check them, read them into parts, and account for every row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl

from engine.config import Config, Source
from engine.errors import ConfigError, DataError
from engine.events.contacts import ContactsRecord, ContactsTask, read_contacts
from engine.events.files import find_files, hive_values
from engine.events.ingest import (
    EXAMPLES,
    IngestRecord,
    IngestTask,
    TypeCount,
    first_examples,
    ingest,
    reading,
    scan,
    source_mapping,
)
from engine.events.probe import Footer, read_footers
from engine.execution.plan import plan_buckets, plan_pieces
from engine.execution.protocol import Executor
from engine.features.windows import midnight_us
from engine.identity import run_mark
from engine.progress import Progress, track
from engine.rollups.bucket import KeyRange, key_ranges
from engine.suggest import did_you_mean

_MAX_DISCOVERED_TYPES = 200
_TYPE = "__type"


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


def discover_types(config: Config, given: Input) -> tuple[str, ...]:
    """The distinct event types of the log, sorted.

    Raises:
        DataError: So many that the mapping is probably wrong.
    """
    found: set[str] = set()
    for index, footer in given.footers:
        source = config.sources[index]
        with reading(f"source {source.name!r}", str(footer.file)):
            frame = scan(str(footer.file))
            mapping = source_mapping(source, frame, config.currency_digits)
            # Beside a column, a constant has as many rows as there are.
            typed = frame.filter(mapping.keep).with_columns(mapping.canonical["event_type"].alias(_TYPE))
            names = typed.select(pl.col(_TYPE).unique()).collect()[_TYPE]
            found.update(name for name in names if name)
    if len(found) > _MAX_DISCOVERED_TYPES:
        raise DataError(
            f"the log has {len(found)} different event types, such as {', '.join(repr(n) for n in sorted(found)[:5])}",
            code="event-types-too-many",
            hint="Check columns.event_type, or list the types to use in events.types.",
        )
    return tuple(sorted(found))


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
    """
    types = types or config.events.types or discover_types(config, given)
    as_of_us = midnight_us(as_of, config.timezone)
    pieces = plan_pieces(given.footers, config.execution.rows_per_task)
    tasks = [
        IngestTask(
            index=index,
            sources=config.sources,
            pieces=batch,
            types=types,
            extras=extras,
            timezone=config.timezone,
            currency_digits=config.currency_digits,
            as_of_us=as_of_us,
            part=str(work / f"events-{index:05d}.parquet"),
            rejects=None if rejects is None else str(rejects),
            staging=str(work),
            mark=run_mark(work.name),
        )
        for index, batch in enumerate(pieces)
    ]
    records = executor.map(ingest, tasks, on_done=track(progress, "read events", len(tasks)))
    total = add_records(records)
    check_rejects(config, total)
    check_types(config, total, types)
    check_some_passed(total)
    contacts = None
    if config.contacts is not None:
        [contacts] = executor.map(
            read_contacts,
            [ContactsTask(config.contacts, str(work / "contacts.parquet"))],
            on_done=track(progress, "read contacts", 1),
        )
    buckets = key_ranges(plan_buckets(given.rows, config.execution.rows_per_task))
    parts = tuple(record.part for record in records if record.part is not None)
    return Prepared(parts, contacts, tuple(buckets), total, types, as_of_us)


def count_rows(
    config: Config, given: Input, as_of: date, *, executor: Executor, progress: Progress | None
) -> tuple[IngestRecord, tuple[str, ...]]:
    """Read the whole log and count what would become of every row, without writing anything; and the event types.

    Raises:
        ConfigError: The data has no event of a configured type.
        DataError: Unreadable files, too many rejects, no events, contacts that are repeated.
    """
    types = config.events.types or discover_types(config, given)
    as_of_us = midnight_us(as_of, config.timezone)
    pieces = plan_pieces(given.footers, config.execution.rows_per_task)
    tasks = [
        IngestTask(
            index=index,
            sources=config.sources,
            pieces=batch,
            types=types,
            extras=(),
            timezone=config.timezone,
            currency_digits=config.currency_digits,
            as_of_us=as_of_us,
            part=None,
            rejects=None,
            staging=None,
            mark="",
        )
        for index, batch in enumerate(pieces)
    ]
    total = add_records(executor.map(ingest, tasks, on_done=track(progress, "read events", len(tasks))))
    check_rejects(config, total)
    check_types(config, total, types)
    check_some_passed(total)
    if config.contacts is not None:
        executor.map(read_contacts, [ContactsTask(config.contacts, None)])
    return total, types


def input_fingerprint(config: Config, given: Input) -> str:
    """sha256 of the identity of every input file: name, size and time of change."""
    files = [(config.sources[index].name, footer.file) for index, footer in given.footers]
    if config.contacts is not None:
        files += [("contacts", file) for file in find_files("contacts", config.contacts.path)]
    lines = (f"{name}\0{file}\0{file.stat().st_size}\0{file.stat().st_mtime_ns}" for name, file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def add_records(records: Iterable[IngestRecord]) -> IngestRecord:
    """The sum of ingest records."""
    read: Counter[str] = Counter()
    rejected: Counter[tuple[str, str]] = Counter()
    total = IngestRecord()
    merged: dict[tuple[str, str], tuple[int, int, int]] = {}
    for record in records:
        read.update(record.read)
        rejected.update(record.rejected)
        days = [day for day in (total.first_day, record.first_day) if day is not None]
        total = replace(
            total,
            left_out=total.left_out + record.left_out,
            after_as_of=total.after_as_of + record.after_as_of,
            passed=total.passed + record.passed,
            examples=first_examples((*total.examples, *record.examples)),
            reject_files=(*total.reject_files, *record.reject_files),
            first_day=min(days, default=None),
        )
        for count in record.types:
            key = (count.source, count.event_type)
            rows, priced, future = merged.get(key, (0, 0, 0))
            merged[key] = (rows + count.rows, priced + count.priced, future + count.after_as_of)
    types = tuple(TypeCount(*key, *values) for key, values in sorted(merged.items()))
    return replace(total, read=dict(read), rejected=dict(rejected), types=types)


def rows_read(total: IngestRecord) -> int:
    """Rows of all sources."""
    return sum(total.read.values())


def check_types(config: Config, total: IngestRecord, types: tuple[str, ...]) -> None:
    """Stop when the configuration names an event type that no row has.

    Raises:
        ConfigError: The names, where they stand, and the nearest ones in the data.
    """
    rows: Counter[str] = Counter()
    for count in total.types:
        rows[count.event_type] += count.rows
    events = config.events
    named = [("events.types", name) for name in events.types]
    named += [
        (f"events.{role}", name) for role in ("purchase", "send", "open", "click") if (name := getattr(events, role))
    ]
    named += [("engagement.weights", name) for name in config.engagement.weights]
    named += [(f"targets.{target.name}.event", target.event) for target in config.targets]
    unknown = [
        f"  {key}: no row has the event type {name!r}{did_you_mean(name, rows)}"
        for key, name in named
        if not rows[name]
    ]
    unknown += [
        f"  {key}: {name!r} is not listed in events.types" for key, name in named if rows[name] and name not in types
    ]
    if unknown:
        found = ", ".join(f"{name} ({count:,})" for name, count in rows.most_common(20))
        raise ConfigError(
            "event types of the configuration that the data does not have\n" + "\n".join(unknown),
            code="event-type-unknown",
            hint=f"The data has: {found or 'no event at all'}.",
        )


def check_rejects(config: Config, total: IngestRecord) -> None:
    """Stop when a source has more rejected rows than allowed.

    Raises:
        DataError: Counts per rule and where the first such rows are.
    """
    limit = config.checks.max_reject_share
    lines = []
    failing = set()
    for source, rows in total.read.items():
        rules = {rule: count for (name, rule), count in total.rejected.items() if name == source}
        rejected = sum(rules.values())
        if rejected and rejected / rows > limit:
            failing.add(source)
            listed = ", ".join(f"{rule} {count:,}" for rule, count in sorted(rules.items()))
            lines.append(f"  source {source!r}: {rejected:,} of {rows:,} rows ({rejected / rows:.2%}): {listed}")
    if lines:
        examples = [example for example in total.examples if example.source in failing][:EXAMPLES]
        places = "; ".join(f"{example.file} row {example.row} ({example.rule})" for example in examples)
        raise DataError(
            f"more than {limit:.2%} of the rows are rejected\n" + "\n".join(lines) + f"\n  first: {places}",
            code="rejects-too-many",
            hint="Mend the mapping, leave such rows out with the source's `where`, or raise checks.max_reject_share.",
        )


def check_some_passed(total: IngestRecord) -> None:
    """Stop when nothing is left to work with.

    Raises:
        DataError: What became of the rows.
    """
    if not total.passed:
        raise DataError(
            f"no event before as_of: {rows_read(total)} rows were read, {total.left_out} left out, "
            f"{sum(total.rejected.values())} rejected, {total.after_as_of} at or after as_of",
            code="events-empty",
            hint="Check --as-of, the source's `where` and events.types.",
        )
