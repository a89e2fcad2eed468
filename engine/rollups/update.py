"""Bring the store up to date with the log: what is new or changed is rolled up, the rest is left as it is.

In: the units of the log as they were found, and the store. Out: an index in which every unit has an entry that fits it.
New, late, changed and deleted files are one case: the fingerprint of their unit, and of the units that look back to it,
is another one, and these are rolled up again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.config import Config, Source
from engine.errors import IntegrityError, TamisError
from engine.events.ingest import tells_machines
from engine.execution.journal import files_of, goes_on
from engine.execution.protocol import Executor
from engine.privacy.ids import IdRules, pseudonym_key
from engine.progress import Progress
from engine.rollups.bucket import colliding_ids
from engine.rollups.index import FORMAT, INDEX_NAME, Code, Entry, Index, read_index, write_index
from engine.rollups.packed import MAX_TYPES
from engine.rollups.ranges import Files, KeyRange, key_ranges
from engine.rollups.relink import Linked, relink
from engine.rollups.rolling import Found, Rolling, roll_units
from engine.rollups.units import UNDATED, Unit, by_source, look_back
from engine.rollups.verify import whole_part
from engine.tables import disk

if TYPE_CHECKING:
    import polars as pl

STORE_NAME: Final = "_rollups"
MAX_CODES: Final = MAX_TYPES
_ATTEMPTS: Final = 3
_COLLISION_USERS: Final = 5_000_000


def store_folder(out: Path) -> Path:
    """Where the rollups of an output root are kept."""
    return out / STORE_NAME


@dataclass(frozen=True)
class Wanted:
    """What a run needs of the log.

    Attributes:
        codes: Event types, and conditions over them.
        event_types: Event types whose single events are needed.
        event_columns: Canonical columns these need.
    """

    codes: tuple[Code, ...]
    event_types: tuple[str, ...] = ()
    event_columns: tuple[str, ...] = ()


def settings_hash(config: Config, source: Source, key: str | None = None) -> str:
    """Hash of the settings that decide the numbers of a source's rollups; where its files lie does not.

    Args:
        config: The configuration.
        source: One of its sources.
        key: Id of the key that pseudonyms are made with; None without.
    """
    plain: dict[str, object] = {
        "format": FORMAT,
        "timezone": config.timezone,
        "currency_digits": config.currency_digits,
        "source": source.model_dump(mode="json", exclude={"path"}),
        "exclude": config.exclude.model_dump(mode="json"),
        "identity": config.identity is not None,
    }
    if tells_machines(source, config.machines):
        plain["machines"] = config.machines.model_dump(mode="json")
        plain["roles"] = [config.events.send, config.events.open, config.events.click]
    if key is not None:
        plain["key"] = key
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def find_units(config: Config, units: Sequence[Unit]) -> tuple[Found, ...]:
    """The units with their fingerprints.

    Raises:
        ConfigError: Pseudonyms are asked for, and there is no key for them.
    """
    key = pseudonym_key(config)
    hashes = [settings_hash(config, source, key) for source in config.sources]
    labels = by_source(units)
    found = []
    for unit in units:
        before = look_back(unit, labels[unit.source], config.sources[unit.source].look_back_days)
        parts = [hashes[unit.source], unit.identity(), *(other.identity() for other in before)]
        found.append(Found(unit, hashlib.sha256("\n".join(parts).encode()).hexdigest()))
    return tuple(found)


def fits(entry: Entry | None, found: Found, index: Index, wanted: Wanted) -> bool:
    """Whether an entry of the store is what rolling the unit up again would give, at least in what is wanted."""
    if entry is None or entry.fingerprint != found.fingerprint:
        return False
    there = {count.event_type for count in entry.counts}
    listed = not entry.unlisted
    coded = {index.codes[code] for code in entry.coded}
    if any(code not in coded and (code.event_type in there or not listed) for code in wanted.codes):
        return False
    kept = set(entry.event_types)
    if any(name not in kept and name in there for name in wanted.event_types):
        return False
    return not wanted.event_types or set(wanted.event_columns) <= set(entry.event_columns)


def open_index(store: Path) -> tuple[Index, str | None]:
    """The index of a store, and what was wrong with it when it has to be made anew."""
    try:
        return read_index(store), None
    except IntegrityError as error:
        return Index(), error.message


@dataclass(frozen=True)
class Updated:
    """A store that is up to date.

    Attributes:
        index: One entry per unit of the log, in the order of the units.
        rolled: Units that were rolled up.
        rows: Rows that were read for it.
        damaged: Units whose files were missing or not what they were.
    """

    index: Index
    rolled: int
    rows: int
    damaged: tuple[tuple[str, str], ...]


def update(  # noqa: PLR0913 - the one way into the store
    config: Config,
    found: Sequence[Found],
    wanted: Wanted,
    *,
    store: Path,
    work: Path,
    executor: Executor,
    open_unit: Callable[[Found], Found],
    progress: Progress | None,
    links: pl.DataFrame | None = None,
    ids: IdRules | None = None,
    gone: Collection[str | int] = (),
    check: Callable[[Index], None] = lambda _: None,
    without: Callable[[Index], Index] = lambda index: index,
) -> Updated:
    """Roll up what the store does not have, and replace its index.

    Args:
        config: The configuration.
        found: The units of the log.
        wanted: What the run needs.
        store: Folder of the store; its writer lock is held.
        work: Folder for parts of large units.
        executor: Where the tasks run.
        open_unit: Gives a unit its `pieces`: reads the footers of its files.
        progress: Told how far it is.
        links: `from_id`, `to_id`: links of user ids, as `engine.privacy.links` keeps them.
        ids: What becomes of ids; nothing when None.
        gone: Ids that only now are known to be of somebody who was erased: units that hold them are rolled up again.
        check: Called with the new index before it counts; what it raises leaves the store as it was.
        without: Takes entries out of the index first, so that they are rolled up again; it keeps the codes.

    Raises:
        DataError: Files that cannot be read, or whose schema does not fit the mapping.
        IntegrityError: Files that changed since they were found.
        ResourceError: The disk of the store is full or failing.
    """
    before, _ = open_index(store)
    had = before.by_name()
    index = without(before)
    codes = (*index.codes, *(code for code in dict.fromkeys(wanted.codes) if code not in index.codes))
    if len(codes) > MAX_CODES:
        # Used up by event types and conditions that were tried out and given up.
        had, codes = {}, tuple(dict.fromkeys(wanted.codes))
        index = replace(index, entries=(), checkpoint=None)
    index = replace(index, codes=codes)
    told = {item.user_dtype for item in found if item.user_dtype}
    if told and any(entry.user_dtype not in told for entry in index.entries):
        # Equal as text, ids of another type have the same keys: the store would go on telling the old ones.
        index = replace(index, entries=(), users=(), checkpoint=None)
    rules = ids or IdRules()
    if index.key != rules.pseudonyms_of:
        # No id of the store is an id of the run.
        index = replace(index, entries=(), users=(), links=None, checkpoint=None, rekeyed={}, key=rules.pseudonyms_of)
    wanted_codes = tuple(codes.index(code) for code in dict.fromkeys(wanted.codes))
    # What another update left behind is not to be taken for the work of this one.
    sweep(store, files_of(executor))
    index, damaged = whole_part(index, store, executor)
    try:
        log = Linked(_before(config, found), config.exclude, tuple(gone))
        index, moved = relink(index, links, store, log)
        for _ in range(_ATTEMPTS):
            known = {name: entry for name, entry in index.by_name().items() if name not in moved}
            names = [(config.sources[item.unit.source].name, item.unit.label) for item in found]
            stale = [
                item if item.pieces else open_unit(item)
                for item, name in zip(found, names, strict=True)
                if not fits(known.get(name), item, index, wanted)
            ]
            rolling = Rolling(
                config,
                store,
                work,
                index,
                had,
                known,
                wanted.event_types,
                wanted.event_columns,
                wanted_codes,
                open_unit,
                rules,
            )
            rolled = roll_units(rolling, stale, found, executor, progress)
            fresh = {entry.name: entry for entry in rolled.entries}
            entries = tuple(fresh.get(name) or known[name] for name in names)
            updated = replace(index, entries=entries, users=(*index.users, *rolled.users))
            shared = _collisions(updated, store, executor) if rolled.users else []
            if not shared:
                break
            # Ids that share a key get another one; everything is rolled up again, which happens once in a lifetime.
            salts = {name: index.rekeyed.get(name, 0) + 1 for name in shared}
            index = replace(index, entries=(), users=(), checkpoint=None, rekeyed={**index.rekeyed, **salts})
        else:
            raise IntegrityError(
                "user ids share keys, however they are made", code="key-collision", hint="Report this as a bug."
            )
        updated = replace(updated, entries=_without_old_ids(config, updated.entries))
        check(updated)
        if updated != before:
            write_index(updated, store)
    except BaseException as error:
        with suppress(TamisError, OSError):
            sweep(store, files_of(executor) if goes_on(error) else ())
        raise
    sweep(store, files_of(executor))
    return Updated(updated, len(stale), rolled.rows, tuple(sorted(damaged)))


def sweep(store: Path, more: Collection[Path] = ()) -> int:
    """Remove the files that neither the index names nor `more` has; their number."""
    kept = {file.path for file in open_index(store)[0].files()} | {INDEX_NAME}
    gone = [name for name in disk.list_files(store) if name not in kept and (store / name).absolute() not in more]
    for name in gone:
        disk.remove_file(store / name)
    if store.exists() and not disk.list_files(store):
        disk.remove_tree(store)
    return len(gone)


def _before(config: Config, found: Sequence[Found]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """The units that each unit looks back to, by source and label."""
    labels = by_source(item.unit for item in found)
    before: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for item in found:
        source = config.sources[item.unit.source]
        earlier = look_back(item.unit, labels[item.unit.source], source.look_back_days)
        before[source.name, item.unit.label] = [(source.name, unit.label) for unit in earlier]
    return before


def _collisions(index: Index, store: Path, executor: Executor) -> list[str]:
    """User ids that need another key."""
    files = Files([str(store / file.path) for file in index.users])
    rows = sum(file.rows for file in index.users)
    tasks = [CollisionTask(files.within(keys), keys) for keys in key_ranges(1 + rows // _COLLISION_USERS)]
    return sorted({name for names in executor.map(find_collisions, tasks) for name in names})


@dataclass(frozen=True)
class CollisionTask:
    """Users of one range of keys, to be looked through for two ids of one key."""

    files: tuple[str, ...]
    keys: KeyRange


def find_collisions(task: CollisionTask) -> list[str]:
    """See `colliding_ids`."""
    return colliding_ids(task.files, task.keys)


def _without_old_ids(config: Config, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Entries without the ids that no day to come looks back to: they are found in the log if ever they are needed."""
    kept = []
    by_name = {source.name: source for source in config.sources}
    newest = {name: max((entry.label for entry in entries if entry.source == name), default="") for name in by_name}
    for entry in entries:
        last, days = newest[entry.source], by_name[entry.source].dedup_days
        is_old = UNDATED not in (entry.label, last) and _days_between(entry.label, last) >= days
        kept.append(replace(entry, ids=()) if is_old else entry)
    return tuple(kept)


def _days_between(first: str, last: str) -> int:
    try:
        return (date.fromisoformat(last) - date.fromisoformat(first)).days
    except ValueError:
        return 0
