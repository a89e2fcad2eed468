"""What upkeep of a table format says of its tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

TARGET_BYTES = 128 << 20
"""Size of files that small ones are put together to."""


@dataclass(frozen=True)
class TableState:
    """A table as it is now; `version` is None when there is none."""

    table: str
    url: str
    version: int | None = None
    dates: int = 0
    last: str | None = None
    rows: int = 0
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Version:
    """A version (Delta) or snapshot (Iceberg) of a table, and the run that made it; None for upkeep."""

    version: int
    at: datetime
    operation: str
    as_of: str | None
    run_id: str | None


@dataclass(frozen=True)
class Compaction:
    """Files that were put together, and those that took their place."""

    table: str
    removed: int = 0
    added: int = 0


@dataclass(frozen=True)
class Erased:
    """What was erased from a table: rows of its newest version, the files that held them, and what was removed.

    Attributes:
        format: `delta`, `iceberg`, or `parquet` for files in an object store.
        table: Its name in the format.
        rows: Rows of the people.
        rewritten: Files that were written again without them.
        removed: Files that went: those, and all of earlier versions.
    """

    format: str
    table: str
    rows: int = 0
    rewritten: int = 0
    removed: int = 0
