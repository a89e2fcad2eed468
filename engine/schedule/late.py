"""What of the input a date was made from: the marks by which it is known later whether late data came for it.

A run of a date counts the events before it. A file that was added since, and has no such event, changes nothing of what
is published for the date but the number of rows that came too late to count; so the mark of a date is made of those
units of the log alone that have events before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from engine.config import Config
from engine.contacts.duplicates.decisions import merges_digest
from engine.events.files import locate_files, stamp_of
from engine.features.windows import day_number
from engine.privacy.opposed import objections_digest
from engine.rollups.index import Entry
from engine.rollups.units import SourceFile
from engine.stages.input import side_tables

EVENTS = "events"
BESIDE = "beside"


def input_marks(config: Config, entries: Iterable[Entry], as_of: date) -> dict[str, str]:
    """Marks of what a run of a date counts, for the fingerprints of its manifest.

    Args:
        config: The configuration.
        entries: One per unit of the log.
        as_of: First day that is not used.

    Returns:
        `events`: sha256 of name, size and time of change of the files of all units with an event before `as_of`;
        `beside`: the same of the tables beside the log, of merged contacts and of who objects, if there are any.

    Raises:
        TamisError: As `engine.events.files.locate_files`.
    """
    end = day_number(as_of)
    units = [
        (entry.source, entry.label, _plain(entry.sources))
        for entry in entries
        if (span := entry.days) is not None and span[0] < end
    ]
    return {EVENTS: _sha256(sorted(units)), **_beside(config)}


def _beside(config: Config) -> dict[str, str]:
    tables = side_tables(config)
    merges = merges_digest(Path(config.out))
    objections = objections_digest(Path(config.out), config.privacy.opposed)
    if not tables and merges is None and objections is None:
        return {}
    files = [
        (owner, str(file), *stamp_of(file)) for owner, path in tables for file in locate_files(owner, path, text=True)
    ]
    more = [digest for digest in (merges, objections) if digest is not None]
    return {BESIDE: _sha256([files, *more] if more else files)}


def _plain(files: Iterable[SourceFile]) -> list[tuple[str, int, int]]:
    return sorted((file.path, file.size, file.modified_ns) for file in files)


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
