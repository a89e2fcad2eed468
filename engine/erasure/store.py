"""The rollup store without some people: no unit is rolled up again, and what the index counts still adds up.

Files that have their keys are written again under a new name, and the index that names them is replaced as a whole;
what it names no more is swept. Their events leave `kept` and come to `erased`, by event type and day.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from engine.erasure.held import Held, Place, Removed
from engine.erasure.journal import Journal
from engine.erasure.parquet import is_held, rows_held
from engine.quality.unit import UnitQuality, added
from engine.rollups.index import Checkpoint, Code, DayCount, Entry, Index, write_index
from engine.rollups.roll import ROW_GROUP_ROWS
from engine.rollups.update import open_index, store_folder, sweep
from engine.tables import disk
from engine.tables.durable import durable_parquet_at
from engine.tables.manifest import FileRecord

_KEY: Final = "user_key"
_DIGITS: Final = 8
_NAME: Final = re.compile(r"(.*?)(?:-e[0-9a-f]{8})?(-\d{5,}-of-\d{5,})?\.parquet")
_EPOCH: Final = date(1970, 1, 1)


def find_in_store(place: Place) -> Iterator[Held]:
    """Rows of the people in the rollups: daily sums and single events with their source, ids, links and totals."""
    store = store_folder(place.out)
    index, _ = open_index(store)
    keys = place.people.keys
    for grain in ("daily", "events"):
        parts, paths = [], []
        for entry in index.entries:
            for file in getattr(entry, grain):
                if (store / file.path).is_file() and is_held(store / file.path, _KEY, keys):
                    rows = rows_held(store / file.path, _KEY, keys)
                    parts.append(_told(rows, entry, index.codes))
                    paths.append(_relative(store / file.path, place))
        if parts:
            yield Held(f"rollups {grain}", pl.concat(parts, how="diagonal_relaxed"), tuple(paths))
    others = {"users": index.users, "totals": () if index.checkpoint is None else index.checkpoint.files}
    for name, files in others.items():
        found = [file for file in files if (store / file.path).is_file() and is_held(store / file.path, _KEY, keys)]
        if found:
            rows = pl.concat((rows_held(store / file.path, _KEY, keys) for file in found), how="diagonal_relaxed")
            yield Held(f"rollups {name}", rows, tuple(_relative(store / file.path, place) for file in found))
    if index.links is not None and (store / index.links.path).is_file():
        links = pl.read_parquet(store / index.links.path, glob=False, hive_partitioning=False)
        own = links.filter(_is_linked(links, place))
        if own.height:
            yield Held("rollups links", own, (_relative(store / index.links.path, place),))
    rekeyed = sorted(set(index.rekeyed) & set(place.people.ids))
    if rekeyed:
        yield Held("rollups rekeyed", pl.DataFrame({"user_id": rekeyed}), (_relative(store / "index.json", place),))


def erase_in_store(place: Place, journal: Journal) -> Removed:
    """Take the people out of the store, and sweep what the index does not name."""
    store = store_folder(place.out)
    if not store.is_dir():
        return Removed()
    index, problem = open_index(store)
    if problem is not None:
        # Nothing is known of such a store; the next run makes it anew, without the people.
        removed = len(disk.list_files(store))
        disk.remove_tree(store)
        return Removed(removed=removed)
    eraser = _Eraser(store, place.people.keys, journal.work.erasure)
    entries = tuple(eraser.entry(entry, index.codes) for entry in index.entries)
    changed = replace(
        index,
        entries=entries,
        users=eraser.files(index.users),
        links=_links(index, store, place),
        checkpoint=None if index.checkpoint is None else eraser.checkpoint(index.checkpoint),
        rekeyed={name: salt for name, salt in index.rekeyed.items() if name not in set(place.people.ids)},
    )
    links = int(changed.links != index.links)
    if changed != index:
        write_index(changed, store)
    sweep(store)
    return Removed(rows=eraser.rows + links, rewritten=len(eraser.renamed) + links)


def store_users(out: Path) -> int:
    """About how many users there are."""
    index, _ = open_index(store_folder(out))
    return sum(file.rows for file in index.users)


def sources_with(place: Place) -> dict[str, list[str]]:
    """Files of the sources that may hold rows of the people, by source: those of the units that hold their events."""
    store = store_folder(place.out)
    index, _ = open_index(store)
    found: dict[str, list[str]] = {}
    for entry in index.entries:
        if any(
            (store / file.path).is_file() and is_held(store / file.path, _KEY, place.people.keys)
            for file in entry.daily
        ):
            found.setdefault(entry.source, []).extend(file.path for file in entry.sources)
    return found


def first_event(place: Place) -> date | None:
    """The first day on which the people have an event; None without any."""
    store = store_folder(place.out)
    keys = place.people.keys
    files = [store / file.path for entry in open_index(store)[0].entries for file in entry.daily]
    days = [rows_held(path, _KEY, keys)["day"].min() for path in files if path.is_file() and is_held(path, _KEY, keys)]
    known = [int(day) for day in days if isinstance(day, int)]
    return _EPOCH + timedelta(days=min(known)) if known else None


class _Eraser:
    """Writes files of the store again without some keys."""

    def __init__(self, store: Path, keys: pl.Series, erasure: str) -> None:
        self._store = store
        self._keys = keys
        self._mark = hashlib.sha256(erasure.encode()).hexdigest()[:_DIGITS]
        self.rows = 0
        self.renamed: dict[str, str] = {}

    def files(self, files: Sequence[FileRecord], row_group_rows: int = 64_000) -> tuple[FileRecord, ...]:
        return tuple(self._file(file, row_group_rows) for file in files)

    def entry(self, entry: Entry, codes: Sequence[Code]) -> Entry:
        lost = self._events_of(entry, codes)
        daily, events = self.files(entry.daily, ROW_GROUP_ROWS), self.files(entry.events, ROW_GROUP_ROWS)
        if (daily, events) == (entry.daily, entry.events):
            return entry
        counts = tuple(_without(count, lost[count.event_type, count.day]) for count in entry.counts)
        by_day: Counter[int] = Counter()
        for (_, day), number in lost.items():
            by_day[day] += number
        went = UnitQuality(lost=tuple(("erased", day, number) for day, number in sorted(by_day.items())))
        return replace(
            entry,
            daily=daily,
            events=events,
            counts=counts,
            erased=entry.erased + sum(lost.values()),
            quality=added([entry.quality, went]),
        )

    def checkpoint(self, checkpoint: Checkpoint) -> Checkpoint:
        units = tuple(
            (source, label, tuple(self.renamed.get(name, name) for name in names))
            for source, label, names in checkpoint.units
        )
        return replace(checkpoint, units=units, files=self.files(checkpoint.files))

    def _file(self, file: FileRecord, row_group_rows: int) -> FileRecord:
        path = self._store / file.path
        if not path.is_file() or not is_held(path, _KEY, self._keys):
            return file
        rows = pl.read_parquet(path, glob=False, hive_partitioning=False)
        left = rows.filter(~rows[_KEY].is_in(self._keys.implode()))
        found = _NAME.fullmatch(file.path)
        stem, portion = (file.path.removesuffix(".parquet"), None) if found is None else found.groups()
        name = f"{stem}-e{self._mark}{portion or ''}.parquet"
        written = durable_parquet_at(
            left, self._store / name, root=self._store, row_group_rows=row_group_rows, compression="lz4"
        )
        self.rows += rows.height - left.height
        self.renamed[file.path] = name
        return written

    def _events_of(self, entry: Entry, codes: Sequence[Code]) -> Counter[tuple[str, int]]:
        """The people's events by type and day; events under a condition count with their type."""
        lost: Counter[tuple[str, int]] = Counter()
        for file in entry.daily:
            path = self._store / file.path
            if path.is_file() and is_held(path, _KEY, self._keys):
                rows = rows_held(path, _KEY, self._keys).group_by("type", "day").agg(pl.col("events").sum())
                for code, day, events in rows.iter_rows():
                    if codes[code].where is None:
                        lost[codes[code].event_type, day] += events
        return lost


def _without(count: DayCount, events: int) -> DayCount:
    """Counts without some events. Of these it is not known which had an amount: no more can have one than are left."""
    kept = count.kept - events
    return replace(
        count, rows=count.rows - events, kept=kept, priced=min(count.priced, kept), zero=min(count.zero, kept)
    )


def _is_linked(links: pl.DataFrame, place: Place) -> pl.Series:
    names = pl.Series(place.people.ids).implode()
    return links.select(
        pl.col("from_id").cast(pl.String).is_in(names) | pl.col("to_id").cast(pl.String).is_in(names)
    ).to_series()


def _links(index: Index, store: Path, place: Place) -> FileRecord | None:
    """The links without those of the people, under the name that the next run gives to what is left."""
    if index.links is None or not (store / index.links.path).is_file():
        return index.links
    links = pl.read_parquet(store / index.links.path, glob=False, hive_partitioning=False)
    own = _is_linked(links, place)
    if not own.any():
        return index.links
    left = links.filter(~own)
    name = f"links/{hashlib.sha256(left.write_csv().encode()).hexdigest()[:12]}.parquet"
    return durable_parquet_at(left, store / name, root=store)


def _told(rows: pl.DataFrame, entry: Entry, codes: Sequence[Code]) -> pl.DataFrame:
    """Rows with the names of what the store has numbers for."""
    names: Mapping[int, str] = {
        code: one.event_type if one.where is None else f"{one.event_type} WHERE {one.where}"
        for code, one in enumerate(codes)
    }
    return rows.with_columns(
        source=pl.lit(entry.source),
        unit=pl.lit(entry.label),
        event_type=pl.col("type").replace_strict(names, default=None, return_dtype=pl.String),
        day=pl.col("day").cast(pl.Date),
    )


def _relative(path: Path, place: Place) -> str:
    return path.relative_to(place.out).as_posix()
