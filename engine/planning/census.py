"""How large a run is: the files of the log, what of it is rolled up already, and the users behind it.

In: a configuration. Out: numbers from names, sizes and footers, from the index of the rollups, and from a few rows of
what is not rolled up yet. Nothing is written: text files are not converted, files of object stores are not fetched.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.config import Config, Source
from engine.errors import ConfigError, DataError
from engine.events.files import locate_files, text_kind
from engine.events.ingest import Piece
from engine.events.probe import Footer, read_footers
from engine.events.untrusted import Quarantined, unreadable
from engine.features.windows import EPOCH, day_number, midnight_us
from engine.planning.sample import Sample, take_sample
from engine.privacy.opposed import read_opposed
from engine.remote.address import RemoteFile, is_remote
from engine.rollups.index import Entry, Index
from engine.rollups.rolling import Found
from engine.rollups.units import SourceFile, Unit, date_in, units_of
from engine.rollups.update import find_units, fits, open_index, store_folder
from engine.stages.features import provisional_wants
from engine.stages.input import as_found, unit_name
from engine.stages.opening import check_names
from engine.tables.manifest import FileRecord

if TYPE_CHECKING:
    import polars as pl

_BYTES_PER_ROW: Final = 25
"""Of a remote Parquet file whose footer is not fetched, when the store knows no other of its source."""
_LINES_READ: Final = 1 << 16
_PARTIALS_PER_ROW: Final = 0.7
_FUTURE_DAYS: Final = 31
_ROWS_PER_USER: Final = 30


@dataclass(frozen=True)
class StaleUnit:
    """A unit of the log that is to be rolled up.

    Attributes:
        source, label: What it is; see `engine.rollups.units`.
        files, bytes, rows: Of its source files.
        found: The unit, to be compared with what the store has of it.
    """

    source: str
    label: str
    files: int
    bytes: int
    rows: int
    found: Found


@dataclass(frozen=True)
class Census:
    """How large a run is.

    Attributes:
        files, bytes, rows: Of all source files.
        units: Units of the log.
        stale: Those that are to be rolled up.
        gone: Units of the store that the log does not have any more.
        users: Users with an event.
        counted: How users and their days are known: `store`, `rows` (all were looked at), `sample`, `assumed`, `given`.
        partials: Rows of the store: one per user, event type and day.
        daily_files: Files of partials of the units that stay.
        daily_cuts: Units that stay, by their number of such files: each has a range of users.
        store_files, store_bytes: All files of the store.
        new_partials: Of `partials`, those that are to be rolled up.
        contacts, contact_bytes: Rows and bytes of the contacts.
        consents, consent_bytes: Rows and bytes of the log of consents.
        asks: Whether consents or objections are read.
        types: Event types that are known, by name; `priced` have amounts.
        attributes: Contact attributes and their types.
        user_dtype: Type of user ids, Int64 or String; empty where it is not known yet.
        first_day: First day of the log (days since 1970-01-01), as far as it is known.
        last_day: Last day that files are dated with, or the store has an event of; None when it is not known.
        exact: Whether rows are those of footers; those of text and of remote files are guessed from their bytes.
        found: All units, by source and label.
        index: The store.
    """

    files: int
    bytes: int
    rows: int
    units: int
    stale: tuple[StaleUnit, ...]
    gone: int
    users: int
    counted: str
    partials: int
    daily_files: int
    daily_cuts: Mapping[int, int]
    store_files: int
    store_bytes: int
    new_partials: int
    contacts: int
    contact_bytes: int
    consents: int
    consent_bytes: int
    asks: bool
    types: tuple[str, ...]
    priced: frozenset[str]
    attributes: Mapping[str, pl.DataType]
    user_dtype: str
    first_day: int
    last_day: int | None
    exact: bool
    found: Mapping[tuple[str, str], Found]
    index: Index

    @property
    def stale_rows(self) -> int:
        """Rows that are to be rolled up."""
        return sum(unit.rows for unit in self.stale)

    @property
    def stale_bytes(self) -> int:
        """Bytes of the files with these rows."""
        return sum(unit.bytes for unit in self.stale)


def take_census(config: Config, as_of: date) -> Census:
    """Look at a log and at what is rolled up of it.

    Raises:
        ConfigError: A path without files, or names that do not exist.
        DataError: Files that cannot be read, or a log whose every event is at or after `as_of`.
    """
    attributes = check_names(config)
    index, _ = open_index(store_folder(Path(config.out).absolute()))
    units = _units(config, index)
    found = {unit_name(config, item): item for item in find_units(config, units)}
    entries = {name: entry for name, entry in index.by_name().items() if name in found}
    types = config.events.types or tuple(
        sorted({count.event_type for entry in entries.values() for count in entry.counts})
    )
    wanted = provisional_wants(config, types, attributes) if types else None
    stale = {
        name: item
        for name, item in found.items()
        if wanted is None or not fits(entries.get(name), replace(item, pieces=()), index, wanted)
    }
    contact_files = [] if config.contacts is None else list(locate_files("contacts", config.contacts.path))
    consent_files = [] if config.consent is None else list(locate_files("consent", config.consent.path, text=True))
    opened = [file for file in contact_files if isinstance(file, Path)]
    readable = [file for file in consent_files if isinstance(file, Path) and text_kind(file) is None]
    rows, exact, pieces, others = _rows_of(config, stale, index, [*opened, *readable])
    sample = take_sample(config.sources, pieces, config.currency_digits, midnight_us(as_of, config.timezone))
    current = {name: entry for name, entry in entries.items() if name not in stale}
    stale_rows = sum(rows.values())
    total = stale_rows + sum(entry.read for entry in current.values())
    daily = [file for entry in current.values() for file in entry.daily]
    contact_bytes, contact_rows = _rows_beside(contact_files, opened, others[: len(opened)])
    consent_bytes, consent_rows = _rows_beside(consent_files, readable, others[len(opened) :])
    users, counted = _users(index, current, sample, stale_rows, total, contact_rows)
    new_partials = sample.partials if sample.rows else round(stale_rows * _PARTIALS_PER_ROW)
    first, last = _span(found, current, sample)
    if first is None and sample.rows:
        raise _no_events("no row that was looked at is an event", as_of)
    _check_dates(first, last, as_of)
    seen = {count.event_type for entry in entries.values() for count in entry.counts} | set(sample.types)
    priced = {count.event_type for entry in entries.values() for count in entry.counts if count.priced}
    sizes = [file.size for item in found.values() for file in item.unit.files]
    store = list(index.files())
    return Census(
        files=len(sizes),
        bytes=sum(sizes),
        rows=total,
        units=len(found),
        stale=tuple(_stale_unit(name, item, rows[name]) for name, item in stale.items()),
        gone=len(index.entries) - len(entries),
        users=users,
        counted=counted,
        partials=_sum_rows(daily) + new_partials,
        daily_files=len(daily),
        daily_cuts=Counter(len(entry.daily) for entry in current.values()),
        store_files=len(store),
        store_bytes=sum(file.bytes for file in store),
        new_partials=new_partials,
        contacts=contact_rows,
        contact_bytes=contact_bytes,
        consents=consent_rows,
        consent_bytes=consent_bytes,
        asks=config.consent is not None
        or bool(config.privacy.opposed)
        or len(read_opposed(Path(config.out).absolute())) > 0,
        types=config.events.types or tuple(sorted(seen)),
        priced=frozenset(priced or ({config.events.purchase} if config.events.purchase else set())),
        attributes=attributes,
        user_dtype=next((entry.user_dtype for entry in entries.values()), sample.user_dtype),
        first_day=day_number(as_of) if first is None else first,
        last_day=last,
        exact=exact,
        found=found,
        index=index,
    )


def _stale_unit(name: tuple[str, str], item: Found, rows: int) -> StaleUnit:
    files = item.unit.files
    return StaleUnit(*name, len(files), sum(file.size for file in files), rows, item)


def _sum_rows(files: Sequence[FileRecord]) -> int:
    return sum(file.rows for file in files)


def _units(config: Config, index: Index) -> list[Unit]:
    """The units of the log, without reading or converting anything."""
    converted = {replace(file, parquet=file.path): file.parquet for entry in index.entries for file in entry.sources}
    units: list[Unit] = []
    for position, source in enumerate(config.sources):
        files: list[SourceFile] = []
        for path in locate_files(source.name, source.path, text=True):
            file = as_found(source, path)
            files.append(replace(file, parquet=converted.get(file, file.parquet)) if text_kind(path) else file)
        units += units_of(position, files, apart=source.columns.event_id is None)
    return units


def _rows_of(
    config: Config, stale: Mapping[tuple[str, str], Found], index: Index, others: Sequence[Path]
) -> tuple[dict[tuple[str, str], int], bool, list[Piece], list[Footer]]:
    """Rows of each unit, whether they are exact, those that can be read here, and the footers of other files."""
    known = [(item.unit.source, file) for item in stale.values() for file in item.unit.files]
    plain = [(position, file) for position, file in known if _is_plain(file)]
    # All at once: most of what a few footers take is the start of the process that reads them.
    read = read_footers([*(Path(file.path) for _, file in plain), *others])
    footers = dict(zip(plain, read[: len(plain)], strict=True))
    if config.checks.bad_files == "refuse":
        _check_footers(config, footers)
    per_byte = {position: _rows_per_byte(source, index) for position, source in enumerate(config.sources)}
    rows: dict[tuple[str, str], int] = {}
    pieces: list[Piece] = []
    for name, item in stale.items():
        rows[name] = 0
        for file in item.unit.files:
            footer = footers.get((item.unit.source, file))
            if footer is None:
                rows[name] += _guessed_rows(file, per_byte[item.unit.source])
            elif not footer.problem:
                rows[name] += footer.rows
                pieces.append(Piece(item.unit.source, file.path, 0, footer.rows))
    return rows, len(plain) == len(known), pieces, read[len(plain) :]


def _check_footers(config: Config, footers: Mapping[tuple[int, SourceFile], Footer]) -> None:
    bad = [
        Quarantined(config.sources[position].name, file.path, footer.problem)
        for (position, file), footer in footers.items()
        if footer.problem
    ]
    if bad:
        raise unreadable(bad, len(footers))


def _is_plain(file: SourceFile) -> bool:
    return not is_remote(file.path) and text_kind(Path(file.path)) is None


def _rows_per_byte(source: Source, index: Index) -> float:
    of_source = [entry for entry in index.entries if entry.source == source.name]
    size = sum(file.size for entry in of_source for file in entry.sources)
    return sum(entry.read for entry in of_source) / size if size else 1 / _BYTES_PER_ROW


def _guessed_rows(file: SourceFile, per_byte: float) -> int:
    path = Path(file.path)
    if is_remote(file.path) or text_kind(path) is None:
        return round(file.size * per_byte)
    is_packed = path.name.casefold().endswith(".gz")
    try:
        with gzip.open(path) if is_packed else path.open("rb") as opened:
            head = opened.read(_LINES_READ)
            # How far that is in the file: of a compressed one, what had to be read of it.
            taken = min(file.size, opened.fileobj.tell()) if isinstance(opened, gzip.GzipFile) else len(head)  # type: ignore[union-attr]
    except (OSError, EOFError):
        return round(file.size * per_byte)
    return round(head.count(b"\n") * file.size / taken) if taken else 0


def _users(
    index: Index,
    current: Mapping[tuple[str, str], Entry],
    sample: Sample,
    stale_rows: int,
    total: int,
    contacts: int,
) -> tuple[int, str]:
    known = len(index.rekeyed) + sum(file.rows for file in index.users) if current else 0
    if not stale_rows:
        return known, "store"
    if current:
        # Who comes in new rows is mostly known: the list of users only ever grows.
        return max(known, sample.users), "store"
    if sample.is_whole:
        return sample.users, "rows"
    if sample.rows:
        return min(sample.users, contacts) if contacts > sample.users // 2 else sample.users, "sample"
    return contacts or max(1, total // _ROWS_PER_USER), "assumed"


def _rows_beside(
    files: Sequence[Path | RemoteFile], opened: Sequence[Path], footers: Sequence[Footer]
) -> tuple[int, int]:
    """Bytes and rows of a table beside the log; rows of files that were not opened are guessed from their bytes."""
    sizes = {file: file.size if isinstance(file, RemoteFile) else file.stat().st_size for file in files}
    guessed = sum(sizes.values()) - sum(sizes[file] for file in opened)
    return sum(sizes.values()), sum(footer.rows for footer in footers) + guessed // _BYTES_PER_ROW


def _span(
    found: Mapping[tuple[str, str], Found], current: Mapping[tuple[str, str], Entry], sample: Sample
) -> tuple[int | None, int | None]:
    """First and last day of the log (days since 1970-01-01), as far as they are known."""
    labels = [day_number(date.fromisoformat(label)) for _, label in found if label and date_in(label) == label]
    spans = [entry.days for entry in current.values() if entry.days is not None]
    firsts = [*(first for first, _ in spans), *([] if sample.first_day is None else [sample.first_day])]
    lasts = [] if sample.last_day is None else [sample.last_day]
    return (
        min(firsts) if firsts else min(labels, default=None),
        max([*labels, *(last for _, last in spans), *lasts], default=None),
    )


def _check_dates(first: int | None, last: int | None, as_of: date) -> None:
    if first is not None and first >= day_number(as_of):
        raise _no_events(f"the log begins on {EPOCH + timedelta(days=first)}: it has no event", as_of)
    if last is not None and day_number(as_of) > last + 1 + _FUTURE_DAYS:
        raise ConfigError(
            f"{as_of} is {day_number(as_of) - last - 1} days after the last day of the log, "
            f"{EPOCH + timedelta(days=last)}",
            code="plan-date-future",
            hint="Plan the day after the last one of the log, or later ones once their files are there.",
        )


def _no_events(what: str, as_of: date) -> DataError:
    return DataError(
        f"{what} before {as_of}",
        code="plan-no-events",
        hint="Take a later --as-of, or a log that goes further back.",
    )
