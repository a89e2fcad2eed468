"""Sums of real values per cluster to the last bit, in Python's integers: neither order nor cut of the rows counts."""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.clusters.nearest import Floats, Labels, row_chunks
from engine.clusters.units import FINE_UNITS, UNITS, Whole, exact_sums, sum_all

_LOW_BITS: Final = 40

LAST_UNITS: Final = FINE_UNITS << _LOW_BITS
"""Units of these sums in 1: 2⁷². A value of at least 2⁻²⁰ loses none of its bits."""
PER_FINE_UNIT: Final = 1 << _LOW_BITS
"""Units of these sums in a fine unit of `engine.clusters.units`."""
PER_UNIT: Final = LAST_UNITS // UNITS
"""Units of these sums in a coordinate's unit."""


def sums_to_the_last_bit(values: Floats, labels: Labels, k: int, weights: Whole | None = None) -> tuple[int, ...]:
    """Per cluster the weighted sum of the values in units of 2⁻⁷².

    Args:
        values: Shape (n,), at most 2³⁰ in absolute value.
        labels: Cluster of each, 0 … k - 1.
        k: Number of clusters.
        weights: How many times each counts, whole numbers ≥ 0; once when None.
    """
    parts = [(0,) * k]
    for part in row_chunks(len(values)):
        own, mass = labels[part], None if weights is None else weights[part]
        high = np.rint(values[part] * UNITS) / UNITS
        low = values[part] - high
        parts.append(tuple(total << _LOW_BITS for total in exact_sums(high, own, k, mass)))
        # Prepared coordinates have no more digits.
        if low.any():
            parts.append(exact_sums(low * PER_FINE_UNIT, own, k, mass))
    return sum_all(parts)
