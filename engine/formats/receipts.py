"""What is known to be committed: a note beside the tables that saves asking the store about every date again.

It is never the truth. A date counts as committed when the note and the table's own identity agree; a note that is
missing, damaged or of another table only means that the table itself is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from engine.tables.durable import durable_json

VERSION = 1


def receipts_path(out: Path) -> Path:
    """The note of one output root."""
    return out / "_formats" / "committed.json"


@dataclass
class Receipts:
    """Marks by table and date, of the tables at one address.

    Attributes:
        url: Address of the tables.
        tables: Identity of each table, and mark by date.
    """

    url: str
    tables: dict[str, tuple[str, dict[str, int]]] = field(default_factory=dict)

    def knows(self, table: str, identity: str | None, as_of: date, mark: int) -> bool:
        """Whether a date of a table is known to hold what `mark` stands for."""
        noted, marks = self.tables.get(table, ("", {}))
        return identity is not None and noted == identity and marks.get(as_of.isoformat()) == mark

    def note(self, table: str, identity: str | None, as_of: date, mark: int) -> None:
        """Remember that a date of a table holds what `mark` stands for."""
        if identity is None:
            return
        noted, marks = self.tables.get(table, ("", {}))
        kept = marks if noted == identity else {}
        self.tables[table] = (identity, {**kept, as_of.isoformat(): mark})


def read_receipts(out: Path, url: str) -> Receipts:
    """The note of an output root; an empty one when there is none of these tables."""
    try:
        found = json.loads(receipts_path(out).read_bytes())
        if found["version"] != VERSION or found["url"] != url:
            return Receipts(url)
        return Receipts(url, {name: _entry(entry) for name, entry in found["tables"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Receipts(url)


def write_receipts(out: Path, receipts: Receipts) -> None:
    """Write the note.

    Raises:
        ResourceError: The disk is full or failing.
    """
    tables = {name: {"identity": known, "dates": marks} for name, (known, marks) in receipts.tables.items()}
    durable_json({"version": VERSION, "url": receipts.url, "tables": tables}, receipts_path(out))


def _entry(entry: Mapping[str, object]) -> tuple[str, dict[str, int]]:
    dates = entry["dates"]
    if not isinstance(dates, dict):
        raise TypeError
    return str(entry["identity"]), {str(day): int(mark) for day, mark in dates.items()}
