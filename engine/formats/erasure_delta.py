"""Erase people from a Delta table: from the files it has now, from all files of before, and from its log.

The files that hold them are written again without them, and one commit puts these in their place: by the paths of
files, never by a predicate, as the log would keep it. Then a checkpoint takes the place of the log before it, and what
the newest version does not need is removed at once. The versions before are gone with it.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import unquote

import polars as pl

from engine.formats.delta import ATTEMPTS, DeltaTables, new_name
from engine.formats.failures import give_up
from engine.formats.people import People, Place, copy_without, is_table_file, rows_held
from engine.formats.upkeep import Erased

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction

_LOG: Final = "_delta_log/"
_VERSION: Final = re.compile(r"_delta_log/(\d{20})\.")
_SILENT: Final = {"delta.dataSkippingNumIndexedCols": "0"}
_ATTEMPT: Final = re.compile("-[0-9a-f]{16}$")
_PAUSE: Final = 0.05


def table_names(tables: DeltaTables) -> list[str]:
    """The tables below the address."""
    names = {name.partition("/")[0] for name in Place.at(tables.url).files() if name.split("/")[1:2] == ["_delta_log"]}
    return sorted(names)


def held_files(tables: DeltaTables, name: str, people: People) -> dict[str, int]:
    """Every file below a table that holds some of the people, current or not: rows by path, 0 for a log."""
    with tables.errors():
        place = Place.at(tables.uri(name))
        found = {}
        for path in place.files():
            if is_table_file(path):
                rows = rows_held(place, path, people)
                if rows:
                    found[path] = max(rows, 0)
            elif people.are_named_in(_text(place, path), path):
                found[path] = 0
        return found


def _text(place: Place, path: str) -> bytes:
    content = place.read(path)
    if not path.endswith(".parquet"):
        return content
    # A checkpoint, which is compressed.
    return pl.read_parquet(content, hive_partitioning=False).write_json().encode()


def current_files(tables: DeltaTables, name: str) -> set[str]:
    """Paths of the files that the newest version has."""
    table = tables.open(name)
    return set() if table is None else {path for path, _ in _files(table)}


def erase(tables: DeltaTables, name: str, people: People) -> Erased:
    """Erase people from one table; nothing happens when no file below it holds any of them.

    Raises:
        ConflictError: Other writers were faster each time.
        TamisError: The store refuses, or cannot be reached.
    """
    held = held_files(tables, name, people)
    if not held:
        return Erased("delta", name)
    rows, rewritten = _rewrite(tables, name, people)
    removed = _forget(tables, name)
    return Erased("delta", name, rows=rows, rewritten=rewritten, removed=removed)


def _rewrite(tables: DeltaTables, name: str, people: People) -> tuple[int, int]:
    from deltalake.exceptions import CommitFailedError
    from deltalake.transaction import RemoveAction

    place = Place.at(tables.uri(name))
    for attempt in range(ATTEMPTS):
        table = tables.open(name)
        if table is None:
            return 0, 0
        with tables.errors():
            _keep_silent(table)
            held = {path: values for path, values in _files(table) if rows_held(place, path, people) > 0}
            if not held:
                return 0, 0
            rows = sum(rows_held(place, path, people) for path in held)
            added = [one for path, values in held.items() if (one := _without(tables, name, path, values, people))]
            now = int(time.time() * 1000)
            removed = [RemoveAction(path, True, now, place.size(path), values) for path, values in held.items()]
            before = table.version()
            try:
                _commit(table, [*added, *removed])
            except CommitFailedError:
                tables.discard(name, added)
                time.sleep(_PAUSE * (attempt + 1))
                continue
            table.update_incremental()
        tables.sync_log(table, since=before)
        return rows, len(held)
    raise give_up(name, ATTEMPTS)


def _keep_silent(table: DeltaTable) -> None:
    """Tables that were made with statistics get no more of them."""
    known = table.metadata().configuration
    if any(known.get(key) != value for key, value in _SILENT.items()):
        table.alter.set_table_properties(_SILENT)
        table.update_incremental()


def _files(table: DeltaTable) -> list[tuple[str, dict[str, str | None]]]:
    """Path and partition of each file of the newest version, by path."""
    import pyarrow as pa

    actions = pa.table(table.get_add_actions(flatten=True))
    keys = [name for name in actions.column_names if name.startswith("partition.")]
    found = []
    for row in actions.select(["path", *keys]).to_pylist():
        values = {key.removeprefix("partition."): None if row[key] is None else str(row[key]) for key in keys}
        # The log has addresses: what is special in a name is encoded once more.
        found.append((unquote(str(row["path"])), values))
    return sorted(found, key=lambda one: one[0])


def _without(
    tables: DeltaTables, name: str, path: str, values: dict[str, str | None], people: People
) -> AddAction | None:
    """A file again without the people, under a new name; None when nobody is left in it."""
    from deltalake.transaction import AddAction

    place = Place.at(tables.uri(name))
    # The end of the name tells attempts apart; the other parts stay.
    new = new_name(_ATTEMPT.sub("", path.removesuffix(".parquet")))
    rows = 0

    def write(sink: BinaryIO) -> None:
        nonlocal rows
        rows = copy_without(place, path, people, sink)

    tables.put(name, new, write)
    action = AddAction(
        path=new,
        size=place.size(new),
        partition_values=values,
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": rows}),
    )
    if not rows:
        tables.discard(name, [action])
        return None
    return action


def _commit(table: DeltaTable, actions: list[Any]) -> None:
    from deltalake import CommitProperties

    table.create_write_transaction(
        actions,
        "append",
        table.schema(),
        partition_by=list(table.metadata().partition_columns),
        commit_properties=CommitProperties(custom_metadata={"tamis.operation": "erase"}, max_commit_retries=0),
    )


def _forget(tables: DeltaTables, name: str) -> int:
    """Leave nothing of a table but its newest version; returns how many files went."""
    table = tables.open(name)
    place = Place.at(tables.uri(name))
    with tables.errors():
        if table is None:
            return 0
        # The log as it was goes once a checkpoint tells the same; the data last, so that a kill is made good.
        tables.checkpoint(table)
        version, needed = table.version(), {path for path, _ in _files(table)}
        files = list(place.files())
        logs = [path for path in files if path.startswith(_LOG) and not _is_needed(path, version)]
        data = [path for path in files if not path.startswith(_LOG) and path not in needed]
        for path in [*sorted(logs), *data]:
            place.remove(path)
        place.sync()
    return len(logs) + len(data)


def _is_needed(path: str, version: int) -> bool:
    if path == f"{_LOG}_last_checkpoint":
        return True
    found = _VERSION.match(path)
    return found is not None and int(found[1]) >= version
