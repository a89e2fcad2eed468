"""Roll up units of the log: from source rows to the files of the store, in one pass.

In: pieces of the source files of some units, and the ids of the units they look back to. Out: per unit a file of daily
partials, of single events where they are wanted, of event ids and of rejected rows, and the entry that tells what is in
them. A unit that is too large for one task is cut by rows first (`encode_part`) and by users then (`roll_range`), so
that all rows of a user meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from engine.events.duplicates import Merged, merge_repeats
from engine.events.ingest import Piece, Rows, code_rows, needs_whole_units, read_rows
from engine.quality.unit import UnitQuality, added
from engine.quality.values import value_bins
from engine.rollups.encode import VALUED, encode, ids_before, needed_columns, reading_of, valued_columns
from engine.rollups.index import DayCount, Entry
from engine.rollups.partials import daily_partials, day_counts, single_events
from engine.rollups.parts import write_part
from engine.rollups.ranges import KeyRange, portion_name
from engine.rollups.user_ids import UserIds
from engine.rollups.work import RollSettings, UnitWork
from engine.tables.durable import Compression, durable_parquet_at
from engine.tables.manifest import FileRecord

ROW_GROUP_ROWS: Final = 16_000
"""Rows that a reader of a range of users decodes at the least; smaller groups take longer to find than to decode."""
AHEAD_ROWS: Final = 2_000_000
"""Rows of two units that are held at once, at the most."""
EXAMPLES: Final = 3
"""Rejected rows of a unit that are kept as examples."""
LISTED_TYPES: Final = 1_000
"""Event types not in use that a unit counts by name; the most frequent ones."""


@dataclass(frozen=True)
class RollTask:
    """Units to roll up one after the other.

    Attributes:
        settings: Of their source.
        units: The units, by label.
        users: Files of user ids that may be there: what they tell is not written again.
        new_users: The file for the ids of users that are new, relative to the store.
    """

    settings: RollSettings
    units: tuple[UnitWork, ...]
    users: tuple[str, ...]
    new_users: str


@dataclass(frozen=True)
class Rolled:
    """The entries of some units, and the ids of the users that were new."""

    entries: tuple[Entry, ...]
    users: tuple[FileRecord, ...] = ()
    rows: int = 0


def roll(task: RollTask) -> Rolled:
    """Roll up whole units.

    Raises:
        DataError: A file that cannot be read, or whose schema does not fit the mapping.
        IntegrityError: A file that changed since its footer was read.
        ResourceError: The disk of the store is full or failing.
        TransientError: Storage that does not answer.
    """
    settings = task.settings
    ids: dict[str, pl.DataFrame] = {}
    entries: list[tuple[UnitWork, RowsRecord, Future[Finished]]] = []
    users = UserIds.read(settings.store, task.users)
    with ThreadPoolExecutor(1) as writer:
        for work, record, encoded in _read_ahead(settings, task.units):
            made = _make(encoded, settings, ids_before(settings, work, ids))
            ids[work.ids] = made.merged.ids
            if entries:
                # One unit at a time is held for writing.
                entries[-1][2].result()
            name = f"{settings.stem(work.unit, work.fingerprint)}.parquet"
            kept = work.ids if work.keeps_ids else None
            # In this context, so that the files are known as those of this task.
            future = writer.submit(copy_context().run, _write, made, settings, users, name, kept)
            entries.append((work, record, future))
            # The rows of a large unit go before those of the next one come.
            if work.rows > AHEAD_ROWS // 2:
                future.result()
            del encoded, made
        written = [_entry(work, settings, [record], [future.result()]) for work, record, future in entries]
    return Rolled(tuple(written), users.write(task.new_users), sum(entry.read for entry in written))


def _read_ahead(
    settings: RollSettings, units: Sequence[UnitWork]
) -> Iterator[tuple[UnitWork, RowsRecord, pl.DataFrame]]:
    """The rows of each unit; those of the next one are read while the caller is busy with one, if both are small."""
    with ThreadPoolExecutor(1) as reader:
        ahead = None
        for work, following in zip(units, (*units[1:], None), strict=True):
            record, rows = _read(settings, work) if ahead is None else ahead.result()
            ahead = None
            if following is not None and work.rows + following.rows <= AHEAD_ROWS:
                ahead = reader.submit(_read, settings, following)
            yield work, record, rows
            del rows


def _read(settings: RollSettings, work: UnitWork) -> tuple[RowsRecord, pl.DataFrame]:
    rows = read_rows(reading_of(settings), work.pieces)
    return rows_record(rows), encode(rows.good, settings)


# ------------------------------------------------------------------------------------------ units larger than a task


@dataclass(frozen=True)
class PartTask:
    """Rows of a large unit, to be encoded into a part."""

    settings: RollSettings
    work: UnitWork
    pieces: tuple[Piece, ...]
    part: str


@dataclass(frozen=True)
class RowsRecord:
    """What became of the rows that were read; see `Rows`."""

    read: int
    left_out: int
    excluded: int
    rejects: pl.DataFrame
    unused: pl.DataFrame
    quality: UnitQuality
    erased: int = 0


def rows_record(rows: Rows) -> RowsRecord:
    """The counts of what was read."""
    return RowsRecord(rows.read, rows.left_out, rows.excluded, rows.rejects, rows.unused, rows.quality, rows.erased)


def encode_part(task: PartTask) -> RowsRecord:
    """Read rows of a large unit into a part that is sorted by user key.

    Raises:
        TamisError: As `roll`.
    """
    rows = read_rows(reading_of(task.settings), task.pieces, whole=False)
    write_part(encode(rows.good, task.settings).sort("user_key"), task.part)
    return rows_record(rows)


@dataclass(frozen=True)
class RangeTask:
    """The users of one range of keys of a large unit, to be rolled up from its parts."""

    settings: RollSettings
    work: UnitWork
    parts: tuple[str, ...]
    keys: KeyRange
    index: int
    ranges: int
    users: tuple[str, ...]
    new_users: str


@dataclass(frozen=True)
class Finished:
    """What some rows of a unit became.

    Attributes:
        files: Files of the store by grain.
        counts: Rows by type and day.
        quality: How large the values of the rows are.
        users: The file with the ids of users that were new, where it was written for these rows alone.
        unused: Rows of the event types not in use, where only now it is known which ones they are.
    """

    files: dict[str, tuple[FileRecord, ...]]
    counts: tuple[DayCount, ...]
    quality: UnitQuality
    users: tuple[FileRecord, ...] = ()
    unused: pl.DataFrame | None = None


def roll_range(task: RangeTask) -> Finished:
    """Roll up one range of the users of a large unit.

    Raises:
        TamisError: As `roll`.
    """
    settings, work = task.settings, task.work
    rows = pl.scan_parquet(list(task.parts), glob=False, hive_partitioning=False).filter(task.keys.contains()).collect()
    reading, unused = reading_of(settings), None
    if needs_whole_units(reading):
        rows, unused = code_rows(reading, rows)
    before = ids_before(settings, work, {})
    users = UserIds.read(settings.store, task.users, task.keys)
    name = portion_name(settings.stem(work.unit, work.fingerprint), task.index, task.ranges)
    ids = f"ids/{name}" if work.keeps_ids else None
    finished = _write(_make(rows, settings, before), settings, users, name, ids)
    return replace(finished, users=users.write(task.new_users), unused=unused)


def large_entry(
    work: UnitWork, settings: RollSettings, rows: Sequence[RowsRecord], ranges: Sequence[Finished]
) -> Entry:
    """The entry of a large unit from what its tasks gave."""
    return _entry(work, settings, rows, ranges)


# ----------------------------------------------------------------------------------------------------------- finishing


@dataclass(frozen=True)
class _Made:
    """What some rows became, to be written."""

    rows: pl.DataFrame
    merged: Merged
    partials: pl.DataFrame
    quality: UnitQuality


def _make(rows: pl.DataFrame, settings: RollSettings, before: Sequence[pl.DataFrame]) -> _Made:
    names = {code: name for name, code in settings.plain().items()}
    quality = UnitQuality(values=value_bins(rows, valued_columns(settings), names))
    # What is only measured has no part in which of two rows is the repeat.
    measured = set(VALUED) - {"amount", *needed_columns(settings)}
    events = rows.drop("user_id", *measured.intersection(rows.columns))
    merged = merge_repeats(events, lines=settings.source.same_id == "lines", before=before)
    return _Made(rows.select("user_key", "check", "user_id"), merged, daily_partials(merged.events, settings), quality)


def _write(made: _Made, settings: RollSettings, users: UserIds, name: str, ids: str | None) -> Finished:
    """Write the files of some rows, the ids only where they have a name, and take up the users that are new."""
    daily = made.partials.select("user_key", "type", "day", "events", "amount_minor")
    files: dict[str, tuple[FileRecord, ...]] = {"daily": (_store(daily, settings, f"daily/{name}"),)}
    single = single_events(made.merged, settings)
    if single is not None:
        files["events"] = (_store(single, settings, f"events/{name}"),)
    if ids is not None:
        # Hashes do not compress.
        files["ids"] = (_store(made.merged.ids, settings, ids, "uncompressed"),)
    users.add(made.partials.select("user_key", "check"), made.rows)
    return Finished(files, day_counts(made.partials, made.merged, settings), made.quality)


def _store(frame: pl.DataFrame, settings: RollSettings, name: str, compression: Compression = "lz4") -> FileRecord:
    store = Path(settings.store)
    return durable_parquet_at(frame, store / name, root=store, row_group_rows=ROW_GROUP_ROWS, compression=compression)


def _entry(work: UnitWork, settings: RollSettings, rows: Sequence[RowsRecord], parts: Sequence[Finished]) -> Entry:
    told = [*(record.unused for record in rows), *(part.unused for part in parts if part.unused is not None)]
    unused = pl.concat(told).group_by("event_type", "day").sum()
    largest = (
        unused.group_by("event_type").agg(pl.col("rows").sum()).sort("rows", "event_type", descending=[True, False])
    )
    listed = largest.head(LISTED_TYPES)["event_type"]
    is_listed = pl.col("event_type").is_in(listed.implode())
    counts: dict[tuple[str, int], list[int]] = {}
    for count in (count for part in parts for count in part.counts):
        sums = counts.setdefault((count.event_type, count.day), [0] * 6)
        values = (count.rows, count.kept, count.duplicates, count.lines, count.priced, count.zero)
        counts[count.event_type, count.day] = [total + value for total, value in zip(sums, values, strict=True)]
    for event_type, day, number in unused.filter(is_listed).select("event_type", "day", "rows").iter_rows():
        counts[event_type, day] = [number, 0, 0, 0, 0, 0]
    unlisted = unused.filter(~is_listed).group_by("day").agg(pl.col("rows").sum()).sort("day")
    rejects = pl.concat([record.rejects for record in rows]).sort("file", "row")
    files: dict[str, tuple[FileRecord, ...]] = {
        grain: tuple(file for part in parts for file in part.files.get(grain, ()))
        for grain in ("daily", "events", "ids")
    }
    if rejects.height:
        stem = settings.stem(work.unit, work.fingerprint)
        files["rejects"] = (_store(rejects, settings, f"rejects/{stem}.parquet"),)
    by_rule = rejects.group_by("rule").len().sort("rule")
    return Entry(
        source=settings.source.name,
        label=work.unit.label,
        fingerprint=work.fingerprint,
        coded=settings.coded,
        event_types=settings.event_types,
        event_columns=settings.event_columns,
        sources=work.unit.files,
        user_dtype="",
        read=sum(record.read for record in rows),
        left_out=sum(record.left_out for record in rows),
        excluded=sum(record.excluded for record in rows),
        erased=sum(record.erased for record in rows),
        rejected=dict(by_rule.iter_rows()),
        examples=tuple(rejects.select("file", "row", "rule").head(EXAMPLES).iter_rows()),
        counts=tuple(DayCount(*key, *values) for key, values in sorted(counts.items())),
        unlisted=tuple(unlisted.iter_rows()),
        daily=files["daily"],
        events=files["events"],
        ids=files["ids"],
        rejects=files.get("rejects", ()),
        quality=added([*(record.quality for record in rows), *(part.quality for part in parts)]),
    )
