"""Files of exports that are still where they were written, without some people; and the exports they were in."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.erasure.held import Held, Place, Removed
from engine.erasure.journal import Journal
from engine.erasure.parquet import rows_held
from engine.erasure.store import first_event
from engine.exports.listing import (
    ListedExport,
    ListedFile,
    change_files,
    listed_exports,
    standing_files,
    unfinished_folders,
)
from engine.tables import disk
from engine.tables.durable import sha256_of
from engine.tables.layout import manifest_path
from engine.tables.manifest import read_manifest

_USER_ID: Final = "user_id"


def find_in_exports(place: Place) -> Iterator[Held]:
    """Lines about the people in files of exports that are where they were written."""
    for path in standing_files(listed_exports(place.out)):
        own, _ = _lines(Path(path), place)
        if own:
            yield Held(f"export {Path(path).name}", pl.DataFrame({"line": own}), (path,))
    for folder in unfinished_folders(listed_exports(place.out)):
        rows = pl.DataFrame({"folder": [str(folder)]})
        yield Held(f"export {folder.name}", rows, (str(folder),), is_about_people=False)


def erase_in_exports(place: Place, _: Journal) -> Removed:
    """Write such files again without the people; the list of exports tells their new sizes and hashes."""
    removed = Removed()
    for folder in unfinished_folders(listed_exports(place.out)):
        removed += Removed(removed=len(disk.list_files(folder)))
        disk.remove_tree(folder)
    standing = standing_files(listed_exports(place.out))
    for left in (
        one for folder in sorted({Path(path).parent for path in standing}) for one in disk.list_folder(folder)
    ):
        if disk.is_temporary(left.name):
            disk.remove_file(left)
    for path, listed in standing.items():
        own, others = _lines(Path(path), place)
        if not own:
            continue
        content = "".join(others).encode()
        # Told before it is done: an erasure that dies between the two finds the lines again, and not the list.
        _note(place.out, listed, path, content, len(own))
        _replace(Path(path), content)
        removed += Removed(len(own), rewritten=1)
    return removed


def _replace(path: Path, content: bytes) -> None:
    """Write a file again for the readers that it has, who are nobody else for an instant."""
    mode = path.stat().st_mode & 0o777
    with disk.replacing(path) as handle:
        disk.set_mode(Path(handle.name), mode)
        handle.write(content)
        disk.sync_file(handle, path)
    disk.sync_folder(path.parent)


def exports_of(place: Place) -> list[dict[str, Any]]:
    """The exports that may have had the people, wherever their files are now: by the segments they were in on its date.

    Returns:
        One entry per export, sorted: `export`, `at`, `tool`, `as_of`, `to`, and `segments` that held some of them; all
        of its segments where the memberships of the date are not kept any more and they had events before it.
    """
    every = listed_exports(place.out)
    members = {day: _segments(place, day) for day in sorted({listed.as_of for listed in every})}
    first = first_event(place) if None in members.values() else None
    found = []
    for listed in every:
        known, own = members[listed.as_of], sorted({one.segment for one in listed.segments})
        if known is not None:
            own = [segment for segment in own if segment in known]
        elif first is None or first >= listed.as_of:
            own = []
        if own:
            found.append(
                {
                    "export": listed.export,
                    "at": listed.at.isoformat(),
                    "tool": listed.tool,
                    "as_of": listed.as_of.isoformat(),
                    "to": listed.to,
                    "segments": own,
                }
            )
    return found


def _segments(place: Place, day: date) -> set[str] | None:
    """Segments that some of the people are in on a date, or entered or left on it; None when nothing tells that."""
    path = manifest_path(place.out, day)
    tables = read_manifest(path).tables if path.exists() else ()
    if "memberships" not in {table.name for table in tables}:
        return None
    found: set[str] = set()
    for table in tables:
        if table.name in {"memberships", "membership_changes"}:
            for record in table.records:
                found |= set(rows_held(place.out / record.path, _USER_ID, place.people.values)["segment"])
    return found


def _note(out: Path, listed: ListedExport, path: str, content: bytes, gone: int) -> None:
    digest, before = hashlib.sha256(content).hexdigest(), sha256_of(Path(path))

    def now(file: ListedFile) -> ListedFile:
        # A file that has changed since it was written is not that of the export any more.
        if file.path != path or file.sha256 != before:
            return file
        return replace(file, sha256=digest, rows=file.rows - gone, bytes=len(content))

    change_files(out, listed, now)


def _lines(path: Path, place: Place) -> tuple[list[str], list[str]]:
    """The lines of a CSV file that are about the people, and all others with the header; with their ends."""
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return [], []
    physical = io.StringIO(text, newline="").readlines()
    own: list[str] = []
    others: list[str] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(physical, place))
    ids = frozenset((*place.people.ids, *place.people.clear))
    columns: list[int] = []
    before = 0
    for number, cells in enumerate(reader):
        lines, before = "".join(physical[before : reader.line_num]), reader.line_num
        if number == 0:
            exports = place.config.exports
            named = {**exports.attributes, **exports.csv.columns}
            headers = {_USER_ID, *(key for key, name in named.items() if name == _USER_ID)}
            columns = [at for at, header in enumerate(cells) if header.lstrip("\ufeff") in headers]
            others.append(lines)
            continue
        theirs = any(place.people.is_cell(cell) for cell in cells) or any(
            at < len(cells) and cells[at] in ids for at in columns
        )
        (own if theirs else others).append(lines)
    return own, others


def _delimiter(physical: list[str], place: Place) -> str:
    header = physical[0] if physical else ""
    configured = place.config.exports.csv.separator
    return max(",", ";", "\t", configured, key=header.count)
