"""Counts, sums and extremes per user and window, from rows of events or from groups of them.

In: the user and the day of each row. Out: arrays of the shape (users, windows). Everything is Int64, so that neither
the order of the rows nor the number of threads shows in a result; divisions come last, in `ratio`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.features.feature import Feature
from engine.features.windows import Ints

QUANTITY_LIMIT: Final = 10**9
"""Larger quantities of one row count as this much, so that sums stay inside Int64."""
NEVER: Final = np.iinfo(np.int64).min // 2
"""The highest of no values."""

Mask = NDArray[np.bool_]
Column = pl.Series | Ints


@dataclass(frozen=True)
class Tally:
    """Rows in cells of owner × band, where a band is the smallest window that holds the row's day.

    Attributes:
        owners: Number of owners (users, or pairs of a user and a name); they are numbered from 0.
        windows: Lengths in days, ascending; they end at `as_of` and are half-open.
        cells: owner × (windows + 1) + band of each row.
    """

    owners: int
    windows: tuple[int, ...]
    cells: Ints

    def count(self, where: Mask | None = None) -> Ints:
        """Rows per owner and window."""
        cells = self.cells if where is None else self.cells[where]
        return self._nested(np.bincount(cells, minlength=math.prod(self._shape)).astype(np.int64, copy=False))

    def total(self, values: Ints) -> Ints:
        """Sum of `values` per owner and window."""
        dense = np.zeros(math.prod(self._shape), dtype=np.int64)
        np.add.at(dense, self.cells, values)
        return self._nested(dense)

    def highest(self, values: Ints) -> Ints:
        """Largest of `values` per owner and window; `NEVER` where there is none."""
        dense = np.full(math.prod(self._shape), NEVER, dtype=np.int64)
        np.maximum.at(dense, self.cells, values)
        nested: Ints = np.maximum.accumulate(dense.reshape(self._shape), axis=1)[:, :-1]
        return nested

    @property
    def _shape(self) -> tuple[int, int]:
        return self.owners, len(self.windows) + 1

    def _nested(self, dense: Ints) -> Ints:
        return np.cumsum(dense.reshape(self._shape), axis=1)[:, :-1]


def tally(owner: Ints, day: Ints, owners: int, as_of_day: int, windows: tuple[int, ...]) -> Tally:
    """Rows, each with its owner and its day (days since 1970-01-01, before `as_of_day`), ready to be totalled."""
    edges = np.array([as_of_day - window for window in reversed(windows)], dtype=np.int64)
    band = len(windows) - np.searchsorted(edges, day, side="right")
    return Tally(owners, windows, owner * (len(windows) + 1) + band)


def ints(column: pl.Series) -> Ints:
    """A column without nulls as Int64 array."""
    return column.cast(pl.Int64).to_numpy()


def starts(*columns: NDArray[Any]) -> Mask:
    """Which rows of sorted columns are the first with their values."""
    first = np.ones(len(columns[0]), dtype=np.bool_)
    if len(first):
        first[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return first


def running_sum(values: Ints, first: Mask) -> Ints:
    """Sums from the first row of each group to each of its rows; a group is a run that begins where `first` is true."""
    sums = np.cumsum(values)
    before = (sums - values)[first]
    running: Ints = sums - before[np.cumsum(first) - 1]
    return running


def latest(owner: Ints, values: Ints, owners: int) -> Ints:
    """Largest of `values` per owner; `NEVER` for owners without rows."""
    found = np.full(owners, NEVER, dtype=np.int64)
    np.maximum.at(found, owner, values)
    return found


def known(values: Ints) -> pl.Series:
    """`values` with null for `NEVER`."""
    return pl.Series(values).set(pl.Series(values == NEVER), None)


def days_since(last: Ints, as_of_day: int) -> pl.Series:
    """Days from `last` to `as_of_day`; null for `NEVER`."""
    return pl.Series(as_of_day - last).set(pl.Series(last == NEVER), None)


def ratio(over: Ints, under: Ints) -> pl.Series:
    """`over / under` as Float64; null where `under` is not positive."""
    below = pl.Series(under)
    return (pl.Series(over) / below).set(below <= 0, None)


def quantities() -> pl.Expr:
    """Quantity of each row without its sign: a missing one is 1, one beyond `QUANTITY_LIMIT` is the limit."""
    return pl.col("quantity").clip(-QUANTITY_LIMIT, QUANTITY_LIMIT).abs().fill_null(1).cast(pl.Int64)


def per_window(prefix: str, values: Ints, windows: Iterable[int]) -> dict[str, Ints]:
    """One column per window of an array of the shape (users, windows)."""
    return {f"{prefix}_{window}d": values[:, position] for position, window in enumerate(windows)}


def ratios(prefix: str, over: Ints, under: Ints, windows: Iterable[int]) -> dict[str, pl.Series]:
    """One `ratio` column per window."""
    return {
        f"{prefix}_{window}d": ratio(over[:, position], under[:, position]) for position, window in enumerate(windows)
    }


def family_frame(columns: Mapping[str, Column], users: Ints, features: Iterable[Feature]) -> pl.DataFrame:
    """What a family's `build` returns.

    Args:
        columns: One value per user number, from 0 on.
        users: Numbers of the users that have rows, in any order, with repeats.
        features: The columns to return.

    Returns:
        `user` (UInt32, ascending, the numbers in `users`) and the columns of `features`.
    """
    size = int(users.max()) + 1 if len(users) else 0
    present = np.zeros(size, dtype=np.bool_)
    present[users] = True
    series = [pl.Series(feature.name, columns[feature.name]).cast(feature.dtype) for feature in features]
    frame = pl.DataFrame([pl.Series("user", np.arange(size), dtype=pl.UInt32), *series])
    return frame.filter(pl.Series(present))
