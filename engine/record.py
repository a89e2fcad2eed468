"""What a run says of itself: the typed record that notebooks get and the command line prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from engine.tables.manifest import TableRecord


@dataclass(frozen=True)
class TableSummary:
    """A published table: its folder, and how much is in it."""

    path: str
    rows: int
    files: int
    bytes: int

    @classmethod
    def of(cls, record: TableRecord, out: str) -> TableSummary:
        return cls(f"{out}/{record.path}", record.rows, record.files, record.bytes)


@dataclass(frozen=True)
class RunRecord:
    """The outcome of a run.

    Attributes:
        run_id: The same for the same input, configuration, bundle and date.
        as_of: First day that was not used; None when every event counted (`check`).
        counts: Rows, events, users, segments; every row read is in one of `rows`.
        timings: Seconds per stage, and `total`.
        tables: What was published; empty for `fit` and `check`.
        bundle: Folder of the bundle that was written or used.
    """

    run_id: str
    as_of: date | None
    counts: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    tables: Mapping[str, TableSummary] = field(default_factory=dict)
    bundle: str | None = None

    def with_warnings(self, warnings: Sequence[str]) -> RunRecord:
        """The record with more warnings, before its own; what is published says nothing of them."""
        if not warnings:
            return self
        return replace(self, counts={**self.counts, "warnings": [*warnings, *self.counts.get("warnings", ())]})

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values: `{run_id, as_of, counts, timings, tables, bundle}`."""
        tables = {
            name: {"path": table.path, "rows": table.rows, "files": table.files, "bytes": table.bytes}
            for name, table in self.tables.items()
        }
        return {
            "run_id": self.run_id,
            "as_of": None if self.as_of is None else self.as_of.isoformat(),
            "counts": self.counts,
            "timings": {stage: round(seconds, 3) for stage, seconds in self.timings.items()},
            "tables": tables,
            "bundle": self.bundle,
        }
