"""Whole units in which coordinates and squared distances are added up, so that sums are exact.

A float sum depends on the order of its terms, and so on how rows are cut into blocks and how many threads add them up.
Sums of whole numbers do not. A prepared coordinate is a whole multiple of 2⁻²⁰ within ±2¹⁰ (features are standardised:
a unit is far below any difference that means something). A squared distance or another real value is rounded to a whole
multiple of 2⁻³² as it enters a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clusters.nearest import Floats, Labels

Whole = NDArray[np.int64]

UNITS: Final = 2**20
"""Units of a coordinate in 1."""
LIMIT: Final = 2**10
"""No prepared coordinate is larger, nor smaller than its negative."""
FINE_UNITS: Final = 2**32
"""Units of a squared distance in 1."""
MOST_WEIGHT: Final = 2**31
"""Weight of one block, at most: no sum overflows."""
# A term that is larger is taken for this much; no distance between prepared rows of up to 256 features is.
MOST_FINE: Final = 2.0**62
HALF_BITS: Final = 32
HALF_MASK: Final = 2**HALF_BITS - 1


def rounded(values: Floats) -> Floats:
    """Coordinates in whole units within the limit, as floats in the layout of `values`; never -0.0."""
    return np.asarray(np.rint(np.clip(values, -LIMIT, LIMIT) * UNITS) / UNITS + 0.0)


def to_units(values: Floats) -> Whole:
    """Coordinates as numbers of units, halves to the even one."""
    return np.rint(values * UNITS).astype(np.int64)


def to_fine_units(values: Floats) -> Whole:
    """Squared distances, or other values of at most 2³⁰, as numbers of fine units; halves to the even one."""
    return np.rint(np.minimum(values * FINE_UNITS, MOST_FINE)).astype(np.int64)


def whole(weights: Floats | Whole) -> Whole:
    """Weights as whole numbers.

    Raises:
        ValueError: One of them is not whole, or is negative.
    """
    found = np.asarray(weights).astype(np.int64)
    if (found != weights).any() or found.min(initial=0) < 0:
        message = "weights count how often a row occurs: expected whole numbers of at least 0"
        raise ValueError(message)
    return found


def exact_sums(values: Floats, labels: Labels, k: int, weights: Whole | None = None) -> tuple[int, ...]:
    """Per cluster the weighted sum of values in fine units: the same for any order, and adds up over any cut.

    Args:
        values: Shape (n,), at most 2³⁰ in absolute value.
        labels: Cluster of each, 0 … k - 1.
        k: Number of clusters.
        weights: How many times each counts; once when None. At most `MOST_WEIGHT` in total.
    """
    fine = to_fine_units(values)
    # The sum of many fine units is longer than 64 bits: both halves are added up by themselves.
    high, low = np.zeros(k, dtype=np.int64), np.zeros(k, dtype=np.int64)
    times = 1 if weights is None else weights
    np.add.at(high, labels, (fine >> HALF_BITS) * times)
    np.add.at(low, labels, (fine & HALF_MASK) * times)
    return joined(high, low)


def joined(high: Whole, low: Whole) -> tuple[int, ...]:
    """The numbers whose halves were added up."""
    return tuple((upper << HALF_BITS) + lower for upper, lower in zip(high.tolist(), low.tolist(), strict=True))


def sum_all(parts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The sums of several blocks as those of all, position by position; at least one block."""
    return tuple(map(sum, zip(*parts, strict=True)))
