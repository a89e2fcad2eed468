"""The rollup store beside the log: which units it has as they are now, and what it has of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from engine.features.windows import EPOCH
from engine.rollups.index import Entry, Index
from engine.rollups.rolling import Found

State = Literal["current", "changed", "new", "gone"]


@dataclass(frozen=True)
class UnitState:
    """A unit of the log or of the store, and what the store has of it.

    Attributes:
        source, label: What the unit is; the label is a date, a path, or empty.
        state: `current`: its files, those it looks back to and its settings are as they were; `changed`: they are
            not; `new`: not in the store; `gone`: not in the log.
        days: First and last day with an event, as days since 1970-01-01; None without one.
        rows: Rows of its files; None for new units, as are the other numbers: they are not read for this.
        kept, duplicates, merged: Events, repeats of them, and further lines of orders.
        rejected, excluded, erased: Rejected rows, rows of users who are excluded, and of people who were erased.
        files, bytes: Of the store.
    """

    source: str
    label: str
    state: State
    days: tuple[int, int] | None = None
    rows: int | None = None
    kept: int | None = None
    duplicates: int | None = None
    merged: int | None = None
    rejected: int | None = None
    excluded: int | None = None
    erased: int | None = None
    files: int = 0
    bytes: int = 0


def compare(found: Mapping[tuple[str, str], Found], index: Index) -> tuple[UnitState, ...]:
    """The units of the log as it is now and those of the store, by source and label."""
    entries = index.by_name()
    states: list[UnitState] = []
    for name in sorted({*found, *entries}):
        entry, item = entries.get(name), found.get(name)
        if entry is None:
            states.append(UnitState(*name, "new"))
        elif item is None:
            states.append(_state(entry, "gone"))
        else:
            states.append(_state(entry, "current" if entry.fingerprint == item.fingerprint else "changed"))
    return tuple(states)


def _state(entry: Entry, state: State) -> UnitState:
    files = list(entry.files())
    return UnitState(
        source=entry.source,
        label=entry.label,
        state=state,
        days=entry.days,
        rows=entry.read,
        kept=sum(count.kept for count in entry.counts),
        duplicates=sum(count.duplicates for count in entry.counts),
        merged=sum(count.lines for count in entry.counts),
        rejected=sum(entry.rejected.values()),
        excluded=entry.excluded,
        erased=entry.erased,
        files=len(files),
        bytes=sum(file.bytes for file in files),
    )


def day_text(day: int) -> str:
    """A day since 1970-01-01 in ISO form; its number where it is later than any calendar."""
    try:
        return (EPOCH + timedelta(days=day)).isoformat()
    except OverflowError:
        return f"day {day}"
