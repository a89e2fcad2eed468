"""What is counted while rows are read: columns without a value, late rows, broken rules, and rows that are no events.

In: the mapping of a source, and frames of its rows. Out: whole numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.events.days import local_days

if TYPE_CHECKING:
    from engine.events.mapping import SourceMapping
    from engine.quality.mapped import KnownEmpty

MOST_DAYS: Final = 366
"""Days from an event to its receipt that are told apart; more are this many."""
LATE: Final = "__late"
_EMPTY: Final = "__empty_"
_RULE: Final = "__rule_"
_DAY_US: Final = 86_400_000_000


def measures(mapping: SourceMapping, known: Sequence[KnownEmpty]) -> Iterator[pl.Expr]:
    """What is computed of each row for its quality, beside the canonical columns.

    Args:
        mapping: Of the source, for one file.
        known: Columns of the file whose rows without a value are known; these are not read for it.
    """
    names = {one.column for one in known}
    for name, column in mapping.told.items():
        if column.plain not in names:
            # One number, which stands in every row.
            yield column.is_empty.sum().cast(pl.Int64).alias(f"{_EMPTY}{name}")
    for number, rule in enumerate(mapping.rules):
        yield rule.broken.alias(f"{_RULE}{number}")
    if mapping.late is not None:
        yield mapping.late.alias(LATE)


def without_measures(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without what `measures` gave them."""
    return rows.drop([name for name in rows.columns if name.startswith((_EMPTY, _RULE, LATE))])


def empties(
    mapping: SourceMapping, rows: pl.DataFrame, known: Sequence[KnownEmpty], *, begins: bool
) -> tuple[tuple[str, int], ...]:
    """Canonical columns and the rows without a value in them.

    Args:
        mapping: Of the source, for the file.
        rows: The rows of a piece of it, with `measures`.
        known: As `measures` has it: counts of the whole file.
        begins: Whether the piece is the one that the counts of the whole file are added with.
    """
    found = dict.fromkeys(mapping.absent, rows.height)
    in_file = {one.column: one.rows for one in known}
    for name, column in mapping.told.items():
        counted = f"{_EMPTY}{name}"
        if counted in rows.columns:
            found[name] = int(rows[counted][0]) if rows.height else 0
        else:
            found[name] = in_file[str(column.plain)] if begins else 0
    return tuple(sorted(found.items()))


def broken_rules(mapping: SourceMapping, rows: pl.DataFrame) -> tuple[tuple[str, int], ...]:
    """The rules of the configuration, and the rows that break them."""
    return tuple((rule.name, int(rows[f"{_RULE}{number}"].sum())) for number, rule in enumerate(mapping.rules))


def lateness(rows: pl.DataFrame) -> tuple[tuple[int, int], ...]:
    """Whole days from event to receipt, and rows."""
    if LATE not in rows.columns:
        return ()
    spans = rows[LATE]
    known = spans.len() - spans.null_count()
    # Most rows are not late, and dividing all of them takes longer than finding those that are.
    late = spans.filter(spans >= _DAY_US)
    found = [(0, known - late.len())] if known > late.len() else []
    days = (late // _DAY_US).clip(0, MOST_DAYS)
    return (*found, *days.value_counts().sort(LATE).iter_rows())


def by_day(times: pl.Series, zone: str) -> Counter[int | None]:
    """How many instants (µs since 1970 UTC) are on each day of a zone; None for null."""
    found: Counter[int | None] = Counter()
    if times.null_count():
        found[None] = times.null_count()
    days = local_days(times.drop_nulls(), zone).alias("day")
    for day, rows in days.value_counts().iter_rows():
        found[day] = rows
    return found


def lost(outcome: str, rows: Counter[int | None]) -> tuple[tuple[str, int | None, int], ...]:
    """Rows that are no events, as `UnitQuality` has them."""
    return tuple((outcome, day, number) for day, number in rows.items() if number)
