"""What is counted of the rows of one unit of the log: whole numbers, whose sum over units is that of the whole log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from pydantic import ConfigDict

_STRICT = ConfigDict(extra="forbid", strict=True)
Key = TypeVar("Key")


@dataclass(frozen=True)
class ValueBins:
    """How many values of one event type lie in each bin of `engine.quality.values`.

    Attributes:
        event_type: As it is in the log.
        column: `amount` or `quantity`.
        bins: Bin and values, by bin; of rows before duplicates are dropped, without zeros and nulls.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    event_type: str
    column: str
    bins: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class UnitQuality:
    """What was counted of the rows of a unit.

    Attributes:
        empty: Canonical column and rows without a value in it, of all rows read; a column that is computed as a
            constant has none.
        late: Whole days from an event to its receipt, `engine.quality.rows.MOST_DAYS` at the most, and rows; of the
            rows inside `where`, not excluded and not erased, that have both times.
        broken: Rule of the configuration and rows that break it, of the rows inside `where` and not excluded, whatever
            else is wrong with them.
        lost: Outcome (`left_out`, `excluded`, `erased`, `rejected`), day (days since 1970-01-01 in the configured
            zone; None for rows without a time) and rows.
        values: How large amounts and quantities are.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    empty: tuple[tuple[str, int], ...] = ()
    late: tuple[tuple[int, int], ...] = ()
    broken: tuple[tuple[str, int], ...] = ()
    lost: tuple[tuple[str, int | None, int], ...] = ()
    values: tuple[ValueBins, ...] = ()


def added(counted: Iterable[UnitQuality]) -> UnitQuality:
    """The sum: of portions of a unit, or of units. Its order does not matter."""
    empty: Counter[str] = Counter()
    late: Counter[int] = Counter()
    broken: Counter[str] = Counter()
    lost: Counter[tuple[str, int | None]] = Counter()
    values: dict[tuple[str, str], Counter[int]] = {}
    for one in counted:
        _add(empty, one.empty)
        _add(late, one.late)
        _add(broken, one.broken)
        for outcome, day, rows in one.lost:
            lost[outcome, day] += rows
        for histogram in one.values:
            _add(values.setdefault((histogram.event_type, histogram.column), Counter()), histogram.bins)
    return UnitQuality(
        # A column without an empty row, and a rule that no row breaks, were counted too.
        empty=tuple(sorted(empty.items())),
        late=tuple(sorted(late.items())),
        broken=tuple(sorted(broken.items())),
        lost=tuple(
            (outcome, day, rows)
            for (outcome, day), rows in sorted(lost.items(), key=lambda item: (item[0][0], _order(item[0][1])))
        ),
        values=tuple(ValueBins(*key, tuple(sorted(bins.items()))) for key, bins in sorted(values.items())),
    )


def _add(sums: Counter[Key], counts: Iterable[tuple[Key, int]]) -> None:
    for key, number in counts:
        sums[key] += number


def _order(day: int | None) -> tuple[bool, int]:
    return day is not None, day or 0
