"""What `tamis rollup` does: the store of a configuration against its log, and units that are rolled up anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from engine.config import Config
from engine.config_file import config_hash
from engine.events.files import locate_files, text_kind
from engine.execution.journal import journalled
from engine.execution.protocol import Executor
from engine.identity import run_identity
from engine.privacy.links import settle
from engine.privacy.tombstones import tombstones_file
from engine.progress import Progress
from engine.remote.fetch import cache_folder, clear
from engine.rollups.compare import UnitState, compare
from engine.rollups.index import Index
from engine.rollups.maintain import Dropped, Name, Selection, check_selection, drop, to_drop, without
from engine.rollups.rolling import Found
from engine.rollups.units import SourceFile, Unit, units_of
from engine.rollups.update import Updated, find_units, open_index, store_folder, sweep, update
from engine.stages.features import provisional_wants
from engine.stages.input import as_found, kept_links, open_unit, unit_name
from engine.stages.opening import Opened, open_run
from engine.stages.preparation import types_in_use
from engine.tables import disk
from engine.tables.workspace import workspace


@dataclass(frozen=True)
class Listed:
    """The units of a selection.

    Attributes:
        store: Folder of the store.
        units: By source and label.
        problem: Why the index cannot be read, so that every unit counts as new; None when it can.
        files, bytes: All files of the store, the user ids of all units among them.
    """

    store: Path
    units: tuple[UnitState, ...]
    problem: str | None
    files: int
    bytes: int


def store_of(config: Config) -> Path:
    """Folder of a configuration's store."""
    return store_folder(Path(config.out).absolute())


def list_units(config: Config, selection: Selection) -> Listed:
    """Compare the store with the log as it is now; only names, sizes and times of change are looked at.

    Raises:
        ConfigError: A path without files, or a selection that can have no unit.
        IntegrityError: Files that are removed while they are looked at.
    """
    store = store_of(config)
    index, problem = open_index(store)
    _check(config, selection, index)
    units = compare(_log(config, index), index)
    sizes = disk.list_files(store)
    selected = tuple(unit for unit in units if selection.has((unit.source, unit.label)))
    return Listed(store, selected, problem, len(sizes), sum(sizes.values()))


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild did.

    Attributes:
        store: Folder of the store.
        units: Units of the selection, which were rolled up again.
        others: Number of other units that were rolled up, for they were new, changed or damaged.
        gone: Units that the log does not have any more.
        rows: Rows that were read.
        problem: Why the index before could not be read; None when it could.
        files, bytes: All files of the store.
    """

    store: Path
    units: tuple[Name, ...]
    others: int
    gone: tuple[Name, ...]
    rows: int
    problem: str | None
    files: int
    bytes: int


def rebuild(config: Config, selection: Selection, *, executor: Executor, progress: Progress | None = None) -> Rebuilt:
    """Roll up the units of a selection again, whatever the store has of them, and bring the others up to date.

    What counts is what a fit would need, and for each unit what runs before needed of it. A rebuild that fails leaves
    the store as it was; one that is interrupted goes on when it is called again.

    Args:
        config: The configuration.
        selection: The units; every unit with the user ids when it names nothing.
        executor: Where the tasks run.
        progress: Told how far each stage is.

    Raises:
        ConfigError: The configuration names what does not exist, or the selection can have no unit.
        ConflictError: Another run is writing to the same output.
        DataError: The log cannot be used.
        IntegrityError: The input was changed during the run.
        ResourceError: The disk of the store is full or failing.
    """
    opened = open_run(config)
    config, given = opened.config, opened.given
    out = Path(config.out)
    store = store_folder(out)
    _check(config, selection, open_index(store)[0])
    run_id = run_identity("rollup", None, opened.fingerprints)
    with workspace(out, run_id) as work:
        with journalled(executor, work) as journal:
            before, problem = open_index(store)
            updated = bring_up_to_date(
                opened, work=work, executor=journal, progress=progress, without=lambda index: without(index, selection)
            )
        # Until here, files that the index does not name stayed for a rebuild that goes on.
        sweep(store)
    names = tuple(name for found in given.units if selection.has(name := unit_name(config, found)))
    there = updated.index.by_name()
    sizes = disk.list_files(store)
    return Rebuilt(
        store=store,
        units=names,
        others=updated.rolled - len(names),
        gone=tuple(entry.name for entry in before.entries if entry.name not in there),
        rows=updated.rows,
        problem=problem,
        files=len(sizes),
        bytes=sum(sizes.values()),
    )


def bring_up_to_date(
    opened: Opened,
    *,
    work: Path,
    executor: Executor,
    progress: Progress | None,
    without: Callable[[Index], Index] = lambda index: index,
) -> Updated:
    """Roll up what is new or changed, as far as a fit would need it; call it in a `workspace`.

    Args:
        opened: The configuration and its input.
        work: The work folder.
        executor: Where the tasks run.
        progress: Told how far each stage is.
        without: Takes units out of the index first, so that they are rolled up again.

    Raises:
        DataError: The log cannot be used.
        ResourceError: The disk of the store is full or failing.
    """
    config, given, out = opened.config, opened.given, Path(opened.config.out)
    types = types_in_use(config, given, date.max - timedelta(days=1), executor, progress)
    linked = kept_links(config, given, work)
    updated = update(
        config,
        given.units,
        provisional_wants(config, types, opened.contacts),
        store=store_folder(out),
        work=work,
        executor=executor,
        open_unit=lambda found: open_unit(config, found),
        progress=progress,
        links=linked.links,
        ids=linked.ids,
        gone=linked.gone.to_list(),
        without=without,
    )
    settle(linked, tombstones_file(out))
    clear(cache_folder(out))
    return updated


def drop_units(config: Config, selection: Selection, *, confirmed: bool) -> Dropped:
    """Take units out of the store, or only say what would go when it is not confirmed.

    Raises:
        ConfigError: A selection that can have no unit.
        ConflictError: Another run is writing to the same output.
        IntegrityError: The index cannot be read, and not everything is to go.
    """
    store = store_of(config)
    _check(config, selection, open_index(store)[0])
    if not confirmed or not store.exists():
        return to_drop(store, selection)
    with workspace(store.parent, run_identity("rollup", None, {"config": config_hash(config)})):
        return drop(store, selection)


def _check(config: Config, selection: Selection, index: Index) -> None:
    names = {source.name for source in config.sources} | {entry.source for entry in index.entries}
    check_selection(selection, names)


def _log(config: Config, index: Index) -> dict[Name, Found]:
    """The units of the log, without reading or converting anything."""
    # Of a text file it is known what it was converted to; converting it again would give the same.
    converted = {replace(file, parquet=file.path): file.parquet for entry in index.entries for file in entry.sources}
    units: list[Unit] = []
    for position, source in enumerate(config.sources):
        files: list[SourceFile] = []
        for path in locate_files(source.name, source.path, text=True):
            file = as_found(source, path)
            files.append(replace(file, parquet=converted.get(file, file.parquet)) if text_kind(path) else file)
        units += units_of(position, files, apart=source.columns.event_id is None)
    return {unit_name(config, found): found for found in find_units(config, units)}
