"""Sizes over dates, without those of so few people that they are not shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import polars as pl

from engine.reporting.masking import hidden_rows
from engine.segments.kpis import ALL_USERS

BARS: Final = "▁▂▃▄▅▆▇█"
"""Heights of a sparkline, the lowest first."""

GAP: Final = "·"
"""A date without a number."""


def sizes_over_dates(
    history: pl.DataFrame, groups: Mapping[str, str | None], min_cell: int, wanted: Collection[str] | None = None
) -> pl.DataFrame:
    """Users of segments over dates.

    Within a group, what is hidden cannot be worked out from the others; money of hidden rows is hidden too.

    Args:
        history: As `engine.reporting.facts.Facts.history`.
        groups: Group of each segment; None for tags. Segments that are not in it are taken for tags.
        min_cell: The smallest number that is shown.
        wanted: The segments of the result; all, and all users, when None.

    Returns:
        The columns of `history`, sorted as it is, with null in hidden rows.
    """
    labels = [
        (day, None) if groups.get(name) is None else (day, groups[name])
        for day, name in history.select("as_of", "segment").iter_rows()
    ]
    alone = [groups.get(name) is None for name in history["segment"].to_list()]
    users = history["users"].to_list()
    open_rows = hidden_rows(users, min_cell, totals=False)
    of_groups = hidden_rows([None if tag else count for count, tag in zip(users, alone, strict=True)], min_cell, labels)
    hidden = pl.Series([one or other for one, other in zip(open_rows, of_groups, strict=True)], dtype=pl.Boolean)
    figures = [name for name in history.columns if name not in {"as_of", "segment"}]
    shown = history.with_columns(pl.when(hidden).then(None).otherwise(pl.col(name)).alias(name) for name in figures)
    return shown if wanted is None else shown.filter(pl.col("segment").is_in(list(wanted)))


def totals_over_dates(sizes: pl.DataFrame) -> pl.DataFrame:
    """The rows of all users of `sizes_over_dates`."""
    return sizes.filter(pl.col("segment") == ALL_USERS)


def sparkline(values: Sequence[float | None]) -> str:
    """One letter per number, between the lowest and the highest of them; the middle when all are the same."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0), max(known, default=0)

    def letter(value: float | None) -> str:
        if value is None:
            return GAP
        if high == low:
            return BARS[len(BARS) // 2 - 1]
        return BARS[min(len(BARS) - 1, int((value - low) / (high - low) * len(BARS)))]

    return "".join(map(letter, values))
