"""The table `points`: one row per user, card and rule that gave or took points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from engine.points.forms import Hundredths, to_points
from engine.stable_math import Floats

CAP_RULE: Final = "(cap)"
"""What cap and floor of a card add to the sum of its rules; no rule can have this name."""


@dataclass(frozen=True)
class Entry:
    """One rule of one card.

    Attributes:
        card: Name of the card.
        rule: Name of the rule.
        quantity: Of every user, NaN for none; None when the rule has none.
        points: Of every user; 0 gives no row.
    """

    card: str
    rule: str
    quantity: Floats | None
    points: Hundredths


def ledger_schema(user_dtype: pl.DataType) -> dict[str, pl.DataType]:
    """Columns and types of the table."""
    return {
        "user_id": user_dtype,
        "card": pl.String(),
        "rule": pl.String(),
        "quantity": pl.Float64(),
        "points": pl.Float64(),
    }


def ledger_of(users: pl.Series, entries: Sequence[Entry]) -> pl.DataFrame:
    """The rows that are not 0, by user and, within a user, in the order of the entries.

    Every row is put where it belongs at once: a user's rows begin where those of the users before end. Sorting many
    millions of rows by an id takes several times as long.

    Args:
        users: Ids, each once, in the order of the entries' arrays.
        entries: The rules.
    """
    order = None if users.is_sorted() else users.arg_sort().to_numpy()
    by_id = [entry.points if order is None else entry.points[order] for entry in entries]
    rows = np.zeros(users.len(), dtype=np.int64)
    for points in by_id:
        rows += points != 0
    place = np.cumsum(rows) - rows
    total = int(rows.sum())
    quantity, summed = np.full(total, np.nan), np.zeros(total, dtype=np.int64)
    rule = np.zeros(total, dtype=np.uint32)
    for number, (entry, points) in enumerate(zip(entries, by_id, strict=True)):
        given = np.flatnonzero(points)
        at = place[given]
        place[given] += 1
        rule[at], summed[at] = number, points[given]
        if entry.quantity is not None:
            quantity[at] = entry.quantity[given if order is None else order[given]]
    user = np.repeat(np.arange(users.len(), dtype=np.uint32), rows)
    ids = users if order is None else users.gather(order)
    return pl.DataFrame(
        {
            "user_id": ids.gather(user),
            "card": pl.Series([entry.card for entry in entries], dtype=pl.String).gather(rule),
            "rule": pl.Series([entry.rule for entry in entries], dtype=pl.String).gather(rule),
            "quantity": pl.Series(quantity).fill_nan(None),
            "points": pl.Series(to_points(summed)),
        },
        schema=ledger_schema(users.dtype),
    )
