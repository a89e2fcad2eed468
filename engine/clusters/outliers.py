"""Values at the ends of a feature: the edges they are cut to, and the limits beyond which they are outliers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clusters.nearest import Floats
from engine.clusters.scale import is_noise, median, moments, quantile

Pair = tuple[float, float]
"""Low and high."""
Mask = NDArray[np.bool_]

# Of normally distributed values both are the standard deviation (Rousseeuw and Croux 1993).
_PER_MAD: Final = 1.4826
_PER_IQR: Final = 0.7413


def winsorising_edges(ascending: Floats, share: float) -> Pair:
    """The values that the lowest and the highest `share` of sorted values are cut to.

    Each edge is a value of the data, number ⌊share · n⌋ + 1 from its end (quantile of type 1, but for whole share · n),
    as in `scipy.stats.mstats.winsorize`: at most `share` of the values is cut at either end.

    Args:
        ascending: At least one value.
        share: From 0 to less than a half.
    """
    cut = int(share * len(ascending))
    return float(ascending[cut]), float(ascending[len(ascending) - 1 - cut])


def robust_deviation(ascending: Floats) -> float:
    """How far sorted values are from their median, as an estimate of the standard deviation that outliers hardly move.

    1.4826 times the median absolute deviation; where more than half of the values are equal that is 0, and it is 0.7413
    times the interquartile range; where that is 0 too, the population standard deviation; 0 if all values are equal.
    """
    deviation = median(np.sort(np.abs(ascending - median(ascending))))
    if not is_noise(deviation, ascending):
        return _PER_MAD * deviation
    spread = quantile(ascending, 0.75) - quantile(ascending, 0.25)
    if not is_noise(spread, ascending):
        return _PER_IQR * spread
    deviation = moments(ascending)[1]
    return 0.0 if is_noise(deviation, ascending) else deviation


def outlier_limits(ascending: Floats, limit: float) -> Pair | None:
    """The median less and plus `limit` robust standard deviations of sorted values; None if all are equal."""
    reach = limit * robust_deviation(ascending)
    if not reach:
        return None
    middle = median(ascending)
    return middle - reach, middle + reach


def beyond(values: Floats, limits: Pair | None) -> Mask:
    """Which values are below or above the limits; none without limits."""
    if limits is None:
        return np.zeros(len(values), dtype=np.bool_)
    return np.asarray((values < limits[0]) | (values > limits[1]))


def in_any(masks: Sequence[Mask]) -> Mask:
    """Which rows are in some of the masks, one per feature, of which there is at least one."""
    return np.asarray(np.logical_or.reduce(masks), dtype=np.bool_)
