"""Units of the log: the source files that are rolled up together, and rolled again when one of them changes.

A unit is a source's files of one day: those whose path names the same date. Files whose path names none are one unit
together. Nothing is read here but names, sizes and times of change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from engine.remote.address import RemoteFile

_DATE = re.compile(r"(?<!\d)(\d{4})(?:([-_/.]?)(\d{2})\2(\d{2})|/?(?<=/)month=(\d{1,2})/day=(\d{1,2}))(?!\d)")
UNDATED = ""


@dataclass(frozen=True)
class SourceFile:
    """A source file as it was found.

    Attributes:
        path: Absolute path, or address.
        size: Bytes.
        modified_ns: Time of change of its content (ns since 1970 UTC).
        inode: Number of its inode: another one when a file of the same size and age takes its name. The time of change
            of the inode would tell more, but it moves with every backup by hard links.
        parquet: The file to read: itself, or what a text file was converted to.
    """

    path: str
    size: int
    modified_ns: int
    inode: int
    parquet: str


@dataclass(frozen=True)
class Unit:
    """Files that are rolled up together.

    Attributes:
        source: Position of the source in the configuration.
        label: ISO date that the paths name; empty for the files that name none, or their path where they are apart.
        files: The files, sorted by path.
    """

    source: int
    label: str
    files: tuple[SourceFile, ...]

    def identity(self) -> str:
        """sha256 of the identity of its files."""
        plain = [[file.path, file.size, file.modified_ns, file.inode, file.parquet] for file in self.files]
        return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def source_file(path: Path | RemoteFile) -> SourceFile:
    """What the file system says of a file, or the listing of an object store, which knows no inodes.

    Raises:
        FileNotFoundError: It is not there any more.
    """
    if isinstance(path, RemoteFile):
        return SourceFile(path.url, path.size, path.modified_ns, 0, path.url)
    status = path.stat()
    return SourceFile(str(path), status.st_size, status.st_mtime_ns, status.st_ino, str(path))


def date_in(path: str) -> str:
    """The last date that a path names, in ISO form; empty when it names none.

    `2026-11-22`, `20261122`, `2026/11/22`, `year=2026/month=11/day=22` are dates.
    """
    found = UNDATED
    for match in _DATE.finditer(path.replace("year=", "")):
        year, _, month, day, hive_month, hive_day = match.groups()
        try:
            found = date(int(year), int(month or hive_month), int(day or hive_day)).isoformat()
        except ValueError:
            continue
    return found


def units_of(source: int, files: Iterable[SourceFile], *, apart: bool) -> tuple[Unit, ...]:
    """The units of one source, by label.

    Args:
        source: Position of the source in the configuration.
        files: Its files.
        apart: Whether each undated file is a unit of its own, as it may be where no event spans two files.
    """
    by_label: defaultdict[str, list[SourceFile]] = defaultdict(list)
    for file in files:
        by_label[date_in(file.path) or (file.path if apart else UNDATED)].append(file)
    return tuple(
        Unit(source, label, tuple(sorted(group, key=lambda file: file.path)))
        for label, group in sorted(by_label.items())
    )


def look_back(unit: Unit, by_label: Mapping[str, Unit], days: int) -> tuple[Unit, ...]:
    """The units in which an event of `unit` may have come before, the latest last: at most `days` days earlier.

    Args:
        unit: The unit.
        by_label: The units of its source. The undated one, if there is one, comes before every dated one.
        days: How far to look back.
    """
    if unit.label == UNDATED or not days:
        return ()
    today = date.fromisoformat(unit.label)
    first = (today - timedelta(days=min(days, (today - date.min).days))).isoformat()
    if days < len(by_label):
        labels = [(today - timedelta(days=ago)).isoformat() for ago in range(days, 0, -1) if today.toordinal() > ago]
    else:
        labels = sorted(label for label in by_label if first <= label < unit.label)
    return tuple(by_label[label] for label in (UNDATED, *labels) if label in by_label)


def by_source(units: Iterable[Unit]) -> dict[int, dict[str, Unit]]:
    """The units by the position of their source and by label."""
    grouped: dict[int, dict[str, Unit]] = {}
    for unit in units:
        grouped.setdefault(unit.source, {})[unit.label] = unit
    return grouped
