"""What the ledgers have of one user: the rows that gave its points, and its last entries and exits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from engine.tables.layout import manifest_path
from engine.tables.manifest import read_manifest
from engine.why.published import Published, published_dates

LOOK_BACK_DATES: Final = 60
"""Published dates whose changes are looked through at most."""

_CENTS = 100


@dataclass(frozen=True)
class CardPoints:
    """The points of one score card.

    Attributes:
        card: Its name.
        points: The published score.
        level: The published class; None when there is none.
        rows: Rule, quantity (null where it has none) and points, as in the table `points`.
    """

    card: str
    points: float | None
    level: str | None
    rows: tuple[tuple[str, float | None, float], ...]


@dataclass(frozen=True)
class Change:
    """A row of the table `membership_changes` and the date of the run that saw it."""

    as_of: date
    segment: str
    group: str | None
    change: str
    reason: str | None
    previous_segment: str | None


def points_of(
    published: Published, user: str | int, columns: pl.DataFrame, used: Collection[str] | None
) -> tuple[tuple[CardPoints, ...], list[str]]:
    """The ledger of a user by card, and the cards whose rows do not add up to their score.

    Args:
        published: The date.
        user: The id in the type of the published one.
        columns: One row: the user's published columns.
        used: Columns whose cards are wanted; None: all cards.
    """
    classes = {name.removesuffix("_class"): name for name in columns.columns if name.endswith("_class")}
    cards = {name.removeprefix("points_"): name for name in columns.columns if name.startswith("points_")}
    cards = {card: name for card, name in cards.items() if columns.schema[name].is_numeric()}
    if used is not None:
        cards = {card: name for card, name in cards.items() if name in used or f"{name}_class" in used}
    if not cards or published.table("points") is None:
        return (), []
    names = ["card", "rule", "quantity", "points"]
    rows = published.read("points", names, pl.col("user_id") == user)
    found, problems = [], []
    for card, name in cards.items():
        own = tuple(row[1:] for row in rows.filter(pl.col("card") == card).iter_rows())
        total = columns[name].item()
        added = sum(round(points * _CENTS) for _, _, points in own)
        if added != round((total or 0) * _CENTS):
            problems.append(f"the rows of card {card!r} in table points add up to {added / _CENTS:g}, not to {name}")
        level = columns[classes[name]].item() if name in classes else None
        found.append(CardPoints(card, total, level, own))
    return tuple(found), problems


def last_changes(published: Published, user: str | int, segment: str | None, shown: int) -> tuple[Change, ...]:
    """The last entries and exits of a user up to a date, the latest first.

    Args:
        published: The date.
        user: The id in the type of the published one.
        segment: Only those of this one; None: of all.
        shown: Their number at most.
    """
    names = ["segment", "group", "change", "reason", "previous_segment"]
    wanted = pl.col("user_id") == user
    if segment is not None:
        wanted &= pl.col("segment") == segment
    found: list[Change] = []
    days = [day for day in published_dates(published.out) if day <= published.as_of]
    for day in reversed(days[-LOOK_BACK_DATES:]):
        other = Published(published.out, read_manifest(manifest_path(published.out, day)))
        if other.table("membership_changes") is None or other.user_dtype != published.user_dtype:
            continue
        rows = other.read("membership_changes", names, wanted).sort("segment", "change")
        found += [Change(day, *row) for row in rows.iter_rows()]
        if len(found) >= shown:
            break
    return tuple(found[:shown])
