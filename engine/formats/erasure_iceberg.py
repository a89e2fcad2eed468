"""Erase people from an Iceberg table: from the files it has now, from all snapshots before, and from what they left.

The files that hold them are written again without them, and one commit puts these in their place. Then all snapshots
but the new one expire, and what it does not need is removed at once. The snapshots before are gone with it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from engine.errors import ConfigError
from engine.formats.failures import give_up
from engine.formats.iceberg import ATTEMPTS, NAMESPACE, SILENT, IcebergTables, replace_files, write_batches
from engine.formats.iceberg_upkeep import batches_of, files_of_table, needed_files, partition_values, remove_unneeded
from engine.formats.people import People, Place, is_table_file, others, rows_held
from engine.formats.upkeep import Erased

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

_PAUSE: Final = 0.05
_EVER: Final = datetime.max.replace(tzinfo=UTC)


def table_names(tables: IcebergTables) -> list[str]:
    """The tables of the catalogue's namespace."""
    from pyiceberg.exceptions import NoSuchNamespaceError

    with tables.errors():
        try:
            return sorted(name for _, name in tables.catalog.list_tables(NAMESPACE))
        except NoSuchNamespaceError:
            return []


def held_files(tables: IcebergTables, name: str, people: People) -> dict[str, int]:
    """Every file below a table that holds some of the people, current or not: rows by path, 0 for metadata."""
    table = tables.open(name)
    if table is None:
        return {}
    with tables.errors():
        place = Place.at(table.location())
        found = {}
        for path in place.files():
            if is_table_file(path):
                rows = rows_held(place, path, people)
                if rows:
                    found[path] = max(rows, 0)
            elif people.are_named_in(place.read(path), path):
                found[path] = 0
        return found | dict.fromkeys(_manifests_naming(table, people), 0)


def _manifests_naming(table: Table, people: People) -> list[str]:
    """Manifests with smallest or largest values that are ids of people: they are compressed, so bytes tell nothing."""
    naming, seen = [], set()
    for snapshot in table.snapshots():
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            values = [
                value
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False)
                for bounds in (entry.data_file.lower_bounds, entry.data_file.upper_bounds)
                for value in (bounds or {}).values()
            ]
            if people.are_named_in(b"\0".join(values)):
                naming.append(Place.relative(manifest.manifest_path, table.location()))
    return naming


def current_files(tables: IcebergTables, name: str) -> set[str]:
    """Paths of the files that the current snapshot has."""
    table = tables.open(name)
    if table is None:
        return set()
    with tables.errors():
        return {_path(table, file) for file in files_of_table(table)}


def erase(tables: IcebergTables, name: str, people: People) -> Erased:
    """Erase people from one table; nothing happens when no file below it holds any of them.

    Raises:
        ConfigError: A branch or tag of the table keeps a snapshot.
        ConflictError: Other writers were faster each time.
        TamisError: The store or the catalogue refuses, or cannot be reached.
    """
    if not held_files(tables, name, people):
        return Erased("iceberg", name)
    rows, rewritten = _rewrite(tables, name, people)
    return Erased("iceberg", name, rows=rows, rewritten=rewritten, removed=_forget(tables, name))


def _rewrite(tables: IcebergTables, name: str, people: People) -> tuple[int, int]:
    for attempt in range(ATTEMPTS):
        table = tables.open(name)
        if table is None:
            return 0, 0
        with tables.errors():
            place = Place.at(table.location())
            held = [file for file in files_of_table(table) if rows_held(place, _path(table, file), people) > 0]
            if not held:
                return 0, 0
            rows = sum(rows_held(place, _path(table, file), people) for file in held)
            written = [one for file in held if (one := _without(table, file, people)).record_count]
            with tables.contested() as won:
                replace_files(table, held, written, {"tamis.operation": "erase"}, SILENT)
                won.append(True)
        if won:
            return rows, len(held)
        tables.discard(table, written)
        time.sleep(_PAUSE * (attempt + 1))
    raise give_up(name, ATTEMPTS)


def _without(table: Table, file: DataFile, people: People) -> DataFile:
    return write_batches(
        table, others(batches_of(table, [file]), people), partition_values(table, file), "part-rewritten"
    )


def _forget(tables: IcebergTables, name: str) -> int:
    """Leave nothing of a table but its current snapshot; returns how many files went."""
    table = tables.open(name)
    if table is None:
        return 0
    with tables.errors():
        others_kept = sorted(ref for ref in table.metadata.refs if ref != "main")
        if others_kept:
            raise ConfigError(
                f"table {name}: the branches or tags {', '.join(others_kept)} keep snapshots with people to be erased",
                code="erasure-kept",
                hint="Remove them from the table, then erase again: the current snapshot holds these people no more.",
            )
        current = table.current_snapshot()
        old = [one.snapshot_id for one in table.snapshots() if current is None or one != current]
        if old:
            table.maintenance.expire_snapshots().by_ids(old).commit()
            table.refresh()
        needed = set(needed_files(table, [] if current is None else [current]))
        removed = remove_unneeded(table, needed, _EVER, dry_run=False)
        Place.at(table.location()).sync()
    return len(removed)


def _path(table: Table, file: DataFile) -> str:
    return Place.relative(file.file_path, table.location())
