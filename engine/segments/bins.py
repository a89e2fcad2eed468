"""Which bins the composition of a segment is told in, and the bin of every user."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANGES: Final[dict[str, tuple[int, ...]]] = {
    "engagement_score": tuple(range(0, 100, 10)),
    "tenure_days": (0, 30, 90, 180, 365, 730),
}
"""Columns in ranges: the lower ends, the last range being open."""

AGES: Final = frozenset({"tenure_days"})
"""Those that grow by a day every day: they move from run to run while nobody does anything."""

VALUES: Final = ("r_score", "f_score", "m_score", "cluster")
"""Columns whose values are the bins, beside classes of points and contact attributes."""

MOST_VALUES: Final = 200
"""A column with more different values tells single users apart, and is left out."""


@dataclass(frozen=True, eq=False)
class Binned:
    """One column.

    Attributes:
        bins: What each bin is called, in order; None is the bin of users without a value. None as a whole: there are
            more than `MOST_VALUES` values.
        places: The bin of every user.
    """

    column: str
    bins: tuple[str | None, ...] | None
    places: NDArray[np.int64]


def binned(users: pl.DataFrame, attributes: Collection[str], cards: Collection[str]) -> Iterator[Binned]:
    """The columns that tell the composition of a set of users, one after the other.

    Args:
        users: One row per user with features, scores, classes of points and contact attributes.
        attributes: Contact attributes; those that are neither text nor Boolean are left out.
        cards: Names of the point cards.
    """
    for column, edges in RANGES.items():
        if column in users.columns:
            yield _in_ranges(users[column], edges)
    told = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)
    texts = [name for name in attributes if name in users.columns and users.schema[name] in told]
    for column in dict.fromkeys((*VALUES, *(f"points_{card}_class" for card in cards), *texts)):
        if column in users.columns:
            yield _by_value(users[column].cast(pl.String))


def is_attribute(column: str) -> bool:
    """Whether a binned column is a contact attribute."""
    return column not in {*RANGES, *VALUES} and not (column.startswith("points_") and column.endswith("_class"))


def range_labels(edges: tuple[int, ...]) -> tuple[str, ...]:
    """What the ranges are called: `[0, 30)`, …, `[730, ∞)`."""
    return (*(f"[{low}, {high})" for low, high in pairwise(edges)), f"[{edges[-1]}, ∞)")


def _in_ranges(values: pl.Series, edges: tuple[int, ...]) -> Binned:
    numbers = values.cast(pl.Float64).to_numpy()
    missing = np.isnan(numbers)
    places = np.searchsorted(np.array(edges[1:], dtype=np.float64), np.where(missing, 0.0, numbers), side="right")
    places[missing] = len(edges)
    return Binned(values.name, (*range_labels(edges), None), places.astype(np.int64))


def _by_value(values: pl.Series) -> Binned:
    different = values.unique()
    names = different.drop_nulls()
    if len(names) > MOST_VALUES:
        return Binned(values.name, None, np.empty(0, dtype=np.int64))
    names = names.sort()
    bins = (*names, None) if len(different) > len(names) else tuple(names)
    codes = values.cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(len(names))
    return Binned(values.name, bins, codes.to_numpy())
