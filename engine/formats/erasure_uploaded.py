"""Erase people from tables that were uploaded to an object store as plain Parquet.

The files that hold them are uploaded again without them, under names that follow from what they hold now; then the
manifest that names the new ones takes the place of the old one, and the old files go, those of earlier runs too.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from io import BytesIO
from pathlib import PurePosixPath
from typing import Final

from engine.formats.failures import store_errors
from engine.formats.people import People, Place, copy_without, is_table_file, rows_held
from engine.formats.upkeep import Erased
from engine.remote.upload import manifest_content, put
from engine.tables.layout import TABLES, table_path
from engine.tables.manifest import FileRecord, Manifest, manifest_from_json, table_record

_MANIFEST: Final = re.compile(r"_manifests/as_of=\d{4}-\d{2}-\d{2}\.json")
_HASH: Final = re.compile("-[0-9a-f]{12}$")


def held_files(url: str, people: People) -> dict[str, int]:
    """Files of tables that hold some of the people, named by a manifest or not: rows by path."""
    with store_errors(url):
        place = Place.at(url.rstrip("/"))
        paths = [path for path in place.files() if is_table_file(path) and path.partition("/")[0] in TABLES]
        return {path: max(rows, 0) for path in paths if (rows := rows_held(place, path, people))}


def current_files(url: str) -> set[str]:
    """Paths of the files that manifests name."""
    place = Place.at(url.rstrip("/"))
    with store_errors(url):
        manifests = [manifest for _, manifest in _manifests(place)]
    return {record.path for manifest in manifests for table in manifest.tables for record in table.records}


def erase(url: str, people: People) -> list[Erased]:
    """Erase people from all tables below an address; nothing happens when no file holds any of them.

    Raises:
        IntegrityError: A manifest in the store is damaged.
        TamisError: The store refuses, or cannot be reached.
    """
    url = url.rstrip("/")
    held = held_files(url, people)
    found: defaultdict[str, Erased] = defaultdict(lambda: Erased("parquet", ""))
    with store_errors(url):
        place = Place.at(url)
        for name, manifest in _manifests(place):
            changed = replace(manifest, tables=())
            for table in manifest.tables:
                records = [
                    _without(place, record, people) if record.path in held else record for record in table.records
                ]
                kept = [record for record in records if record.rows]
                before = [record for record in table.records if record.path in held]
                if before:
                    told = found[table.name]
                    rows = told.rows + sum(held[record.path] for record in before)
                    found[table.name] = replace(told, rows=rows, rewritten=told.rewritten + len(before))
                if kept or not before:
                    again = table_record(table.name, manifest.as_of, table.schema, kept)
                    changed = replace(changed, tables=(*changed.tables, again))
            if changed != manifest:
                put(f"{url}/{name}", manifest_content(changed))
        for path in held:
            place.remove(path)
            table_name = path.partition("/")[0]
            found[table_name] = replace(found[table_name], removed=found[table_name].removed + 1)
    return [replace(one, table=name) for name, one in sorted(found.items())]


def _manifests(place: Place) -> Iterator[tuple[str, Manifest]]:
    for name in place.files():
        if _MANIFEST.fullmatch(name):
            yield name, manifest_from_json(place.read(name), f"{place.url}/{name}")


def _without(place: Place, record: FileRecord, people: People) -> FileRecord:
    """Upload a file again without the people; a record of no rows when nobody is left in it."""
    sink = BytesIO()
    rows = copy_without(place, record.path, people, sink)
    content = sink.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    old = PurePosixPath(record.path)
    path = str(old.with_name(f"{_HASH.sub('', old.stem)}-{sha256[:12]}.parquet"))
    if rows:
        put(f"{place.url}/{path}", content)
    return FileRecord(path, rows, len(content), sha256)


def remove_tables(url: str, dropped: Sequence[tuple[str, date]]) -> int:
    """Remove the files of tables of dates that the manifests in a store do not name any more; returns how many."""
    url = url.rstrip("/")
    gone = 0
    with store_errors(url):
        named = current_files(url)
        for table, day in dropped:
            folder = table_path(table, day)
            place = Place.at(f"{url}/{folder}")
            for path in place.files():
                if f"{folder}/{path}" not in named:
                    place.remove(path)
                    gone += 1
    return gone
