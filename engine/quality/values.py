"""How large amounts and quantities are, and which of them lie far from the others.

A value's bin is four times its binary logarithm, rounded down, of its size without the sign: four bins an octave, so
each is 12 to 25 % wide. It is read off the bits of the value as a double, so it is the same on every machine.

Far out is what Tukey (1977, *Exploratory Data Analysis*) calls so, on this scale: more than three interquartile ranges
below the first quartile or above the third; the range counts as one octave at the least, so that nothing is far out
that is not eight times as large, or as small, as what is usual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from engine.quality.unit import ValueBins

PER_OCTAVE: Final = 4
"""Bins from one value to twice it."""
FENCE: Final = 3
"""Interquartile ranges from the quartiles to what is far out."""
FEWEST: Final = 20
"""Values of an event type from which on it is told which of them are far out."""
_BINS: Final = PER_OCTAVE * 64
_MANTISSA_BITS: Final = 52
_BIAS: Final = 1023


def value_bins(rows: pl.DataFrame, columns: Sequence[str], event_types: Mapping[int, str]) -> tuple[ValueBins, ...]:
    """The bins of the values of some columns, by event type.

    Args:
        rows: `type` (a code), and the columns (Int64).
        columns: The columns.
        event_types: The event type of each code.
    """
    found = []
    types = rows["type"].to_numpy().astype(np.int64)
    for column in columns if rows.height else ():
        sizes = np.abs(rows[column].cast(pl.Float64).fill_null(0.0).to_numpy())
        # The exponent, and the first two bits after it.
        bins = (sizes.view(np.int64) >> (_MANTISSA_BITS - 2)) - PER_OCTAVE * _BIAS
        # 0 and null are far below, and fall into the place before the first bin.
        places = types * (_BINS + 1) + np.maximum(bins + 1, 0)
        counts = np.bincount(places)
        by_type: dict[int, list[tuple[int, int]]] = {}
        for place in np.flatnonzero(counts):
            code, number = divmod(int(place), _BINS + 1)
            if number:
                by_type.setdefault(code, []).append((number - 1, int(counts[place])))
        found += [ValueBins(event_types[code], column, tuple(pairs)) for code, pairs in by_type.items()]
    return tuple(sorted(found, key=lambda one: (one.event_type, one.column)))


@dataclass(frozen=True)
class FarOut:
    """Values that lie far from the others, and all values."""

    rows: int
    values: int


def far_out(bins: Sequence[tuple[int, int]]) -> FarOut | None:
    """How many values lie beyond the fences; None of fewer than `FEWEST`.

    Args:
        bins: Bin and values, by bin.
    """
    values = sum(rows for _, rows in bins)
    if values < FEWEST:
        return None
    first, third = _quartile(bins, values, 1), _quartile(bins, values, 3)
    reach = FENCE * max(third - first, PER_OCTAVE)
    return FarOut(sum(rows for place, rows in bins if not first - reach <= place <= third + reach), values)


def _quartile(bins: Sequence[tuple[int, int]], values: int, quarters: int) -> int:
    """The bin of the smallest value that so many quarters of the values do not exceed."""
    below = 0
    for place, rows in bins:
        below += rows
        if 4 * below >= quarters * values:
            return place
    return bins[-1][0]
