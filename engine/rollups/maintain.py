"""Look after the rollup store: check its files, and take units out of it.

Nothing in the store is needed to make it: whatever is taken out, or damaged, is rolled up again from the log.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.errors import ConfigError, ConflictError, IntegrityError
from engine.progress import Progress, track
from engine.rollups.index import INDEX_NAME, Index, read_index, write_index
from engine.rollups.units import date_in
from engine.rollups.update import sweep
from engine.rollups.verify import is_whole
from engine.suggest import did_you_mean
from engine.tables import disk
from engine.tables.manifest import FileRecord

Name = tuple[str, str]
"""Source and label of a unit."""
_LISTED: Final = 100


@dataclass(frozen=True)
class Selection:
    """Units: those of one source, with a date in `[start, end)`; None stands for any.

    Units without a date belong to it only where it names no date.
    """

    source: str | None = None
    start: date | None = None
    end: date | None = None

    @property
    def is_everything(self) -> bool:
        """Whether every unit belongs to it."""
        return self == Selection()

    def has(self, name: Name) -> bool:
        """Whether a unit belongs to it."""
        source, label = name
        if self.source not in {None, source}:
            return False
        if self.start is None and self.end is None:
            return True
        if not label or date_in(label) != label:
            return False
        day = date.fromisoformat(label)
        return (self.start is None or self.start <= day) and (self.end is None or day < self.end)


def check_selection(selection: Selection, sources: Collection[str]) -> None:
    """Check that a selection can have units.

    Args:
        selection: The selection.
        sources: Sources of the configuration and of the store.

    Raises:
        ConfigError: A source that neither has, or a range without a day.
    """
    if selection.source is not None and selection.source not in sources:
        raise ConfigError(
            f"no source {selection.source!r} in the configuration or in the store"
            f"{did_you_mean(selection.source, sources)}",
            code="rollup-source",
            hint=f"Sources: {', '.join(sorted(sources))}.",
        )
    if selection.start is not None and selection.end is not None and selection.start >= selection.end:
        raise ConfigError(
            f"no day is in [{selection.start}, {selection.end})",
            code="rollup-range",
            hint="The range ends before its last day: one day is --from 2026-01-31 --to 2026-02-01.",
        )


# ----------------------------------------------------------------------------------------------------------- verifying


@dataclass(frozen=True)
class Verified:
    """A store that is whole.

    Attributes:
        units: Units in the index.
        files, bytes: Files that the index names.
        unindexed: Files that it does not name: of a run that was killed, or of one that is writing now.
    """

    units: int
    files: int
    bytes: int
    unindexed: tuple[str, ...]


def verify_store(store: Path, *, progress: Progress | None = None) -> Verified:
    """Read every file of the store and compare it with what was written.

    Raises:
        ConflictError: A run changed the store meanwhile.
        IntegrityError: The index or files are not what was written, or files are missing; all of them are told.
    """
    index = read_index(store)
    owners = _owners(index)
    records = list(index.files())
    advance = track(progress, "verify", len(records))
    problems: list[tuple[FileRecord, str]] = []
    for record in records:
        problem = _problem(store / record.path, record)
        problems += [(record, problem)] if problem else []
        if advance is not None:
            advance(record)
    if problems and read_index(store) != index:
        raise ConflictError(
            f"a run changed the store {store} while it was verified",
            code="rollup-busy",
            hint="Verify it again when no run is writing.",
        )
    if problems:
        lines = [f"  {owners[record.path]}: {record.path}: {problem}" for record, problem in problems]
        more = f"\n  and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
        raise IntegrityError(
            f"{len(lines)} of {len(records)} files of the store {store} are not what was written\n"
            + "\n".join(lines[:_LISTED])
            + more,
            code="rollup-damaged",
            hint="The next run rolls these units up again by itself; `tamis rollup rebuild` does it now. "
            "Check the disk.",
        )
    named = {record.path for record in records} | {INDEX_NAME}
    unindexed = tuple(name for name in disk.list_files(store) if name not in named)
    return Verified(len(index.entries), len(records), sum(record.bytes for record in records), unindexed)


def _owners(index: Index) -> dict[str, str]:
    """What each file of the store belongs to."""
    owners = {file.path: "user ids of all units" for file in index.users}
    if index.links is not None:
        owners[index.links.path] = "links of ids"
    if index.checkpoint is not None:
        owners.update((file.path, "totals of the last run") for file in index.checkpoint.files)
    for entry in index.entries:
        owners.update((file.path, f"{entry.source} {entry.label}".strip()) for file in entry.files())
    return owners


def _problem(path: Path, record: FileRecord) -> str:
    try:
        size = path.stat().st_size
    except OSError as error:
        return "missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    if size != record.bytes:
        return f"{record.bytes:,} bytes expected, {size:,} found"
    if not is_whole(path, record):
        return "other bytes than were written"
    # Only now: a damaged footer can end the process that reads it.
    rows = pl.scan_parquet(path, glob=False, hive_partitioning=False).select(pl.len()).collect().item()
    return "" if rows == record.rows else f"{record.rows:,} rows expected, {rows:,} found"


# ------------------------------------------------------------------------------------------------------------- dropping


@dataclass(frozen=True)
class Dropped:
    """What leaves the store.

    Attributes:
        units: Source and label of the units.
        files, bytes: Files that nothing else needs.
    """

    units: tuple[Name, ...]
    files: int
    bytes: int


def without(index: Index, selection: Selection) -> Index:
    """The index without the units of a selection and totals made of them; user ids stay as long as there is a unit."""
    entries = tuple(entry for entry in index.entries if not selection.has(entry.name))
    if index.entries and not entries:
        return Index(codes=index.codes)
    return index if len(entries) == len(index.entries) else replace(index, entries=entries, checkpoint=None)


def to_drop(store: Path, selection: Selection) -> Dropped:
    """What `drop` would take out of the store.

    Raises:
        IntegrityError: The index cannot be read, and not everything is to go.
    """
    if selection.is_everything:
        sizes = disk.list_files(store)
        return Dropped(_units(store), len(sizes), sum(sizes.values()))
    index = read_index(store)
    left = without(index, selection)
    gone = [entry.name for entry in index.entries if selection.has(entry.name)]
    kept = {file.path for file in left.files()}
    files = [file for file in index.files() if file.path not in kept]
    return Dropped(tuple(gone), len(files), sum(file.bytes for file in files))


def drop(store: Path, selection: Selection) -> Dropped:
    """Take units out of the store, and the files that nothing else needs; its writer lock is held.

    Raises:
        IntegrityError: The index cannot be read, and not everything is to go.
        ResourceError: The disk is full or failing.
    """
    dropped = to_drop(store, selection)
    left = Index() if selection.is_everything else without(read_index(store), selection)
    if left.entries or not (selection.is_everything or dropped.units):
        if dropped.units:
            write_index(left, store)
        sweep(store)
    elif store.exists():
        # The index goes first: what it names must be there.
        disk.remove_file(store / INDEX_NAME)
        disk.sync_folder(store)
        disk.remove_tree(store)
    return dropped


def _units(store: Path) -> tuple[Name, ...]:
    try:
        return tuple(entry.name for entry in read_index(store).entries)
    except IntegrityError:
        return ()
