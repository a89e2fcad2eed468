"""Room for files: bytes and names, where tables and temporary files go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.doctor.finding import Finding, Subject, failed, ok, size_text, warning
from engine.doctor.folders import nearest
from engine.errors import ExitCode, TamisError
from engine.tables.layout import manifests_folder
from engine.tables.manifest import read_manifest

_TEMPORARY_BYTES: Final = 64 << 20
_TEMPORARY_COMFORTABLE: Final = 1 << 30
_OUTPUT_BYTES: Final = 100 << 20
_OUTPUT_COMFORTABLE: Final = 1 << 30
_OUTPUT_FILES: Final = 1_000
# A date is written beside the one that it replaces, and rollups and work files are about as large again.
_TIMES: Final = 3


@dataclass(frozen=True)
class Room:
    """Bytes and names of files that this user can still take; names are None where the file system does not count."""

    bytes: int
    files: int | None


def check_output_space(subject: Subject) -> Iterator[Finding]:
    """Free room at the output root, against what the last published date took."""
    place = nearest(subject.out)
    room, (last_bytes, last_files) = room_at(place), _last_published(subject.out)
    needed_bytes, needed_files = max(_OUTPUT_BYTES, last_bytes), max(_OUTPUT_FILES, last_files)
    comfortable = max(_OUTPUT_COMFORTABLE, _TIMES * last_bytes)
    said = f"{size_text(room.bytes)} free at {place}"
    if last_bytes:
        said += f"; the last date took {size_text(last_bytes)} in {last_files:,} files"
    measured = {
        "path": str(place),
        "free_bytes": room.bytes,
        "free_files": room.files,
        "last_bytes": last_bytes,
        "last_files": last_files,
    }
    fix = "Free some, remove old dates with `tamis gc --keep-dates N`, or choose another folder with --out"
    if room.files is not None and room.files < needed_files:
        said = f"{room.files:,} names of files (inodes) free at {place}, and {needed_files:,} are needed"
        yield failed("output_space", said, fix, ExitCode.RESOURCES, **measured)
    elif room.bytes < needed_bytes:
        yield failed("output_space", said, fix, ExitCode.RESOURCES, **measured)
    elif room.bytes < comfortable:
        yield warning("output_space", said, fix, **measured)
    else:
        yield ok("output_space", said, **measured)


def check_temporary_space(subject: Subject) -> Iterator[Finding]:
    """Free room for temporary files: remote files on their way, and what a local Ray spills."""
    surroundings = subject.surroundings
    of_ray = surroundings.environment.get("RAY_TMPDIR") if subject.execution.executor == "ray" else None
    for folder in dict.fromkeys(nearest(Path(path).absolute()) for path in (surroundings.temporary, of_ray) if path):
        room = room_at(folder)
        said, measured = f"{size_text(room.bytes)} free at {folder}", {"path": str(folder), "free_bytes": room.bytes}
        fix = "Free some, or set TMPDIR (RAY_TMPDIR for Ray) to a folder with more"
        if room.bytes < _TEMPORARY_BYTES or room.files == 0:
            yield failed("temporary_space", said, fix, ExitCode.RESOURCES, **measured)
        elif room.bytes < _TEMPORARY_COMFORTABLE:
            yield warning("temporary_space", said, fix, **measured)
        else:
            yield ok("temporary_space", said, **measured)


def room_at(folder: Path) -> Room:
    """What is free on the file system of a folder, without what is reserved for the administrator."""
    found = os.statvfs(folder)
    return Room(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def _last_published(out: Path) -> tuple[int, int]:
    """Bytes and files of the newest date; 0 when nothing is published, or its manifest cannot be read."""
    manifests = sorted(manifests_folder(out).glob("as_of=*.json"))
    if not manifests:
        return 0, 0
    try:
        tables = read_manifest(manifests[-1]).tables
    except (TamisError, OSError):
        return 0, 0
    return sum(table.bytes for table in tables), sum(table.files for table in tables)
