"""Where the rows of a source went, day by day: nothing is lost and nothing counted twice.

Of each source and day: read = left_out + excluded + erased + rejected + duplicate + merged + after_as_of + kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from engine.errors import IntegrityError
from engine.quality.table import Measured
from engine.rollups.index import Entry

OUTCOMES: Final = ("left_out", "excluded", "erased", "rejected", "duplicate", "merged", "after_as_of", "kept")
"""What can become of a row; each row becomes one of them."""
READ: Final = "rows_read"
UNDATED: Final = "rows_without_day"

Days = dict[int | None, Counter[str]]


def outcomes(entries: Collection[Entry], end_day: int, types: Collection[str]) -> Days:
    """What became of the rows of some units, by day; None is for rows without a time.

    The day of a row is that of its event: of the first line, where rows are lines of one order.

    Args:
        entries: The units.
        end_day: First day that is not used (days since 1970-01-01).
        types: The event types in use.
    """
    found: Days = {}
    used = set(types)

    def put(day: int | None, outcome: str, rows: int) -> None:
        if rows:
            found.setdefault(day, Counter())[outcome] += rows

    for entry in entries:
        for outcome, day, rows in entry.quality.lost:
            put(day, outcome, rows)
        for day, rows in entry.unlisted:
            put(day, "left_out" if day < end_day else "after_as_of", rows)
        for count in entry.counts:
            if count.day >= end_day:
                put(count.day, "after_as_of", count.rows)
            elif count.event_type not in used:
                put(count.day, "left_out", count.rows)
            else:
                put(count.day, "kept", count.kept)
                put(count.day, "duplicate", count.duplicates)
                put(count.day, "merged", count.lines)
    return found


def source_rows(name: str, entries: Sequence[Entry], end_day: int, types: Collection[str]) -> Iterator[Measured]:
    """The rows of the table about one source: of the whole, then of each day.

    Raises:
        IntegrityError: The outcomes are not the rows that were read.
    """
    days = outcomes(entries, end_day, types)
    total: Counter[str] = Counter()
    for counted in days.values():
        total += counted
    read = sum(entry.read for entry in entries)
    if total.total() != read:
        raise IntegrityError(
            f"rows do not add up: of source {name!r} {read} were read, {total.total()} are accounted for",
            code="rows-lost",
            hint="An input or work file was changed during the run; run the command again.",
        )
    yield Measured("source", name, READ, None, read)
    yield Measured("source", name, UNDATED, None, days.get(None, Counter()).total())
    for outcome in OUTCOMES:
        yield Measured("source", name, f"rows_{outcome}", None, total[outcome])
    for day in sorted(day for day in days if day is not None):
        yield Measured("source", name, READ, None, days[day].total(), day=day)
        for outcome in OUTCOMES:
            if days[day][outcome] or outcome == "kept":
                yield Measured("source", name, f"rows_{outcome}", None, days[day][outcome], day=day)
