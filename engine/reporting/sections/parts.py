"""What several sections of the CRM manager share: rows of segments with small numbers taken out, and labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import polars as pl

from engine.reporting.facts import DateFacts, Facts
from engine.reporting.masking import OTHERS, hidden_rows, without
from engine.reporting.message import Message, Name, Quantity, Unit, say
from engine.reporting.model import Field
from engine.segments.kpis import RATES

MOST_ROWS: Final = 25
"""Segments that a figure shows; smaller ones are added up."""

_BEHIND: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: pair for name, pair in RATES.items() if name not in {"conversion", "reactivation_rate"}},
    "sent": ("sent",),
    "delivered": ("delivered",),
    "orders": ("buyers",),
    "revenue": ("buyers",),
}
"""Counts that a figure is made from: where one of them is of few people, or might be, the figure is not shown."""


def segment(name: str) -> Name:
    """A segment as it stands in a sentence."""
    return Name(name, "segment")


def share(part: float | None, whole: float | None, *, signed: bool = False) -> Quantity:
    """A part of a whole; a dash when either is not known."""
    return Quantity(None if part is None or not whole else part / whole, "share", signed=signed)


def money(value: float | None, *, signed: bool = False) -> Quantity:
    """An amount in major units."""
    return Quantity(value, "money", signed=signed)


def field(column: str, unit: Unit | None = None, vocabulary: str = "") -> Field:
    """A column whose label is the text `fields.<column>`."""
    return Field(column, say(f"fields.{column}"), unit, vocabulary)


def note(facts: Facts) -> Message:
    """What is said where small numbers are left out."""
    return say("masking.note", people=facts.min_cell)


def all_users(side: DateFacts | None) -> dict[str, float | None]:
    """The key figures of all users; empty without the table."""
    if side is None or side.kpis is None or side.kpis.is_empty():
        return {}
    return side.kpis.filter(pl.col("kind") == "all").row(0, named=True)


def segment_rows(facts: Facts, names: Collection[str], columns: Sequence[str]) -> pl.DataFrame:
    """Key figures of the segments of one group that has everybody, the largest first, small ones masked.

    Rows of nobody are left out. Where a row is masked only its name is left; a second one is masked with it, as the
    number of all users is known.

    Args:
        facts: The facts.
        names: The segments.
        columns: Columns of `segment_kpis`; `segment` and `users` come first anyway.

    Returns:
        Key `segment`: at most `MOST_ROWS` rows, the last `(others)` if there are more, with sums of what is a sum and
        null elsewhere; and `hidden`, whether the row is masked.
    """
    wanted = ["segment", "users", *(column for column in columns if column not in {"segment", "users"})]
    if facts.now.kpis is None:
        sizes = facts.now.sizes
        frame = pl.DataFrame({"segment": list(sizes), "users": list(sizes.values())}, {"segment": str, "users": int})
    else:
        frame = facts.now.kpis
    behind = {count for column in wanted for count in _BEHIND.get(column, ())} - set(wanted)
    absent = [
        pl.lit(None, pl.Float64).alias(column) for column in (*wanted, *sorted(behind)) if column not in frame.columns
    ]
    rows = (
        frame.with_columns(absent)
        .select(*wanted, *sorted(behind))
        .filter(pl.col("segment").is_in(list(names)) & (pl.col("users") > 0))
        .sort("users", "segment", descending=[True, False])
    )
    hidden = hidden_rows(rows["users"].to_list(), facts.min_cell)
    masked = rows
    for column in wanted:
        gone = [hidden_rows(rows[count].to_list(), facts.min_cell) for count in _BEHIND.get(column, ())]
        masked = without(masked, [any(marks) for marks in zip(hidden, *gone, strict=True)], {column} - {"segment"})
    masked = masked.select(wanted).with_columns(hidden=pl.Series(hidden, dtype=pl.Boolean))
    return _limited(masked, rows.select(wanted))


def _limited(masked: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    if rows.height <= MOST_ROWS:
        return masked
    cut = MOST_ROWS - 1
    # The sum would give a single hidden row away: all or none of them are in it.
    cut = min([cut, *(place for place, gone in enumerate(masked["hidden"].to_list()) if gone)])
    rest = rows[cut:]
    added = [
        pl.lit(OTHERS).alias(name)
        if name == "segment"
        else (pl.col(name).sum() if name in _SUMS else pl.lit(None, dtype)).cast(dtype).alias(name)
        for name, dtype in rows.schema.items()
    ]
    return pl.concat([masked[:cut], rest.select(added).with_columns(hidden=pl.lit(value=False))])


_SUMS: Final = frozenset(
    {"users", "user_share", "sent", "delivered", "buyers", "first_buyers", "orders", "revenue", "total_value"}
)
