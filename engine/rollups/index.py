"""The index of the rollup store: which unit of the log is in which files, and what became of its rows.

The index is one JSON file that is replaced as a whole; a file of the store that it does not name does not count. So a
run that is killed leaves the store as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from engine.errors import IntegrityError
from engine.quality.unit import UnitQuality
from engine.rollups.units import SourceFile
from engine.tables.durable import durable_json
from engine.tables.manifest import FileRecord

FORMAT: Final = 2
"""Version of the store: of its files, of the user key and of what is counted. Another one is rolled up anew."""
INDEX_NAME: Final = "index.json"
_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class DayCount:
    """Rows of one event type and day of a unit: rows = kept + duplicates + lines where the type was rolled up.

    Attributes:
        event_type: As it is in the log.
        day: Days since 1970-01-01 in the configured zone: of the event; of the first line where rows are one order.
        rows: Good rows.
        kept: Events.
        duplicates: Rows dropped because their event was there already.
        lines: Rows added to the event of their order.
        priced: Events with an amount.
        zero: Events with an amount of zero.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    event_type: str
    day: int
    rows: int
    kept: int = 0
    duplicates: int = 0
    lines: int = 0
    priced: int = 0
    zero: int = 0


@dataclass(frozen=True)
class Entry:
    """One unit in the store.

    Attributes:
        source: Name of the source.
        label: Label of the unit.
        fingerprint: sha256 of everything that decides the numbers: its files, those of the units it looks back to, and
            the settings of the source.
        coded: Codes of the event types that were rolled up, present in the unit or not.
        event_types: Those whose events are kept one by one, too.
        event_columns: The columns these have.
        sources: The source files as they were.
        user_dtype: Type of the source's user ids.
        read: Rows of the source files.
        left_out: Rows outside the source's `where`.
        excluded: Rows of users who are excluded.
        rejected: Rows per reject rule.
        examples: The first rejected rows: file, row in it, rule.
        counts: Good rows by type and day.
        unlisted: Good rows, by day, of the event types that are too many to list.
        daily, events, ids, rejects: Files of the store, by grain.
        quarantined: Source files that could not be read and were left out: path and problem.
        erased: Rows of people who were erased.
        quality: What else was counted of its rows.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    source: str
    label: str
    fingerprint: str
    coded: tuple[int, ...]
    event_types: tuple[str, ...]
    event_columns: tuple[str, ...]
    sources: tuple[SourceFile, ...]
    user_dtype: str
    read: int
    left_out: int
    excluded: int
    rejected: dict[str, int]
    examples: tuple[tuple[str, int, str], ...]
    counts: tuple[DayCount, ...]
    unlisted: tuple[tuple[int, int], ...]
    daily: tuple[FileRecord, ...]
    events: tuple[FileRecord, ...] = ()
    ids: tuple[FileRecord, ...] = ()
    rejects: tuple[FileRecord, ...] = ()
    quarantined: tuple[tuple[str, str], ...] = ()
    erased: int = 0
    quality: UnitQuality = field(default_factory=UnitQuality)

    @property
    def name(self) -> tuple[str, str]:
        """Source and label: what the unit is, whatever its content."""
        return self.source, self.label

    @property
    def days(self) -> tuple[int, int] | None:
        """First and last day with an event, or a line of one (days since 1970-01-01); None without."""
        days = [count.day for count in self.counts if count.kept or count.lines]
        return (min(days), max(days)) if days else None

    def files(self) -> Iterator[FileRecord]:
        """Every file of the store that belongs to it."""
        yield from (*self.daily, *self.events, *self.ids, *self.rejects)


@dataclass(frozen=True)
class Code:
    """What a number in the column `type` of the store stands for: an event type, or its events under a condition."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    event_type: str
    where: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """Totals of all users as of a day, to be brought forward; see `engine.rollups.checkpoint`.

    Attributes:
        day: Days since 1970-01-01.
        windows, codes, priced, purchase: What they are about; see `Terms`.
        units: The units they are made of: source, label, and the files of partials.
        files: One table per bucket.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    day: int
    windows: tuple[int, ...]
    codes: tuple[int, ...]
    priced: tuple[int, ...]
    purchase: int | None
    units: tuple[tuple[str, str, tuple[str, ...]], ...]
    files: tuple[FileRecord, ...]


@dataclass(frozen=True)
class Index:
    """What is in the store.

    Attributes:
        codes: The position is the code; entries are only ever added.
        entries: The units.
        users: Files that tell the user id of every key: `user_key`, `user_id`.
        rekeyed: User ids that share a key with another one, and the salt that gives them one of their own.
        links: File with the links of ids under which all entries were rolled up; None without.
        checkpoint: Totals of an earlier run; None without.
        key: Id of the key that the users' pseudonyms were made with; None where they have the ids of the sources.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    codes: tuple[Code, ...] = ()
    entries: tuple[Entry, ...] = ()
    users: tuple[FileRecord, ...] = ()
    rekeyed: dict[str, int] = field(default_factory=dict)
    links: FileRecord | None = None
    checkpoint: Checkpoint | None = None
    key: str | None = None
    format: int = FORMAT

    def by_name(self) -> dict[tuple[str, str], Entry]:
        """The entries by source and label."""
        return {entry.name: entry for entry in self.entries}

    def files(self) -> Iterator[FileRecord]:
        """Every file that counts."""
        yield from self.users
        if self.links is not None:
            yield self.links
        if self.checkpoint is not None:
            yield from self.checkpoint.files
        for entry in self.entries:
            yield from entry.files()


_INDEX = TypeAdapter(Index)


def read_index(store: Path) -> Index:
    """The index of a store; an empty one where there is none.

    Raises:
        IntegrityError: It is damaged, or of another version.
    """
    path = store / INDEX_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Index()
    except IsADirectoryError as error:
        raise IntegrityError(
            f"{path} is a folder, expected a file", code="rollup-index", hint="Take it away; the store is made anew."
        ) from error
    try:
        index = _INDEX.validate_json(text)
    except (ValidationError, ValueError) as error:
        raise IntegrityError(
            f"{path} is no index of this version's rollups",
            code="rollup-index",
            hint="The store is made anew from the log when it is taken away; nothing in it is needed for that.",
        ) from error
    if index.format != FORMAT:
        raise IntegrityError(
            f"{path} is of format {index.format}, expected {FORMAT}",
            code="rollup-index",
            hint="The store is made anew from the log when it is taken away; nothing in it is needed for that.",
        )
    return index


def write_index(index: Index, store: Path) -> None:
    """Replace the index, durably: what it names must be on stable storage already."""
    durable_json(_plain(index), store / INDEX_NAME)


def _plain(index: Index) -> Mapping[str, object]:
    return dataclasses.asdict(index)
