"""What makes features comparable: a centre and a scale per feature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from engine.clusters.nearest import Floats

Scaling = Literal["z_score", "min_max", "robust", "none"]

# Values that differ by less than rounding noise are one value; dividing by their spread would only enlarge the noise.
_RELATIVE_NOISE: Final = 1e-12
# A unit of distances is not made smaller than 2 to this.
_SMALLEST_BITS: Final = -64
# Unscaled values are brought below 2 to this, so that users of later runs who are twice as far are still inside.
_UNSCALED_BITS: Final = 9


def quantile(ascending: Floats, share: float) -> float:
    """The quantile of sorted values by linear interpolation (type 7 of Hyndman and Fan 1996, numpy's default)."""
    place = share * (len(ascending) - 1)
    below = math.floor(place)
    low, high = float(ascending[below]), float(ascending[min(below + 1, len(ascending) - 1)])
    return low + (place - below) * (high - low)


def median(ascending: Floats) -> float:
    """The median of sorted values; of an even number, the mean of the middle two."""
    return quantile(ascending, 0.5)


def is_noise(spread: float, ascending: Floats) -> bool:
    """Whether a spread of sorted values is no more than what rounding leaves: 10⁻¹² of the greatest, or of 1."""
    return spread <= _RELATIVE_NOISE * max(1.0, abs(float(ascending[0])), abs(float(ascending[-1])))


def is_constant(ascending: Floats) -> bool:
    """Whether sorted values differ by no more than rounding noise."""
    return is_noise(float(ascending[-1] - ascending[0]), ascending)


def moments(values: Floats) -> tuple[float, float]:
    """Mean and population standard deviation from exact sums, rounded once: the order of the values does not count."""
    mean = math.fsum(values.tolist()) / len(values)
    deviation = values - mean
    return mean, math.sqrt(math.fsum((deviation * deviation).tolist()) / len(values))


def centres_and_scales(scaling: Scaling, columns: Sequence[Floats]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The centre that is taken from each feature's values and the scale that they are then divided by.

    | scaling | centre | scale |
    |---|---|---|
    | `z_score` | mean | population standard deviation |
    | `min_max` | minimum | maximum - minimum |
    | `robust` | median | interquartile range; where it is 0, the population standard deviation |
    | `none` | 0 | 1 |

    A constant feature has scale 1 and, with any scaling but `none`, its value as centre: it adds the same to the
    distances of a user from all centroids. `none` with values of 512 or more, which would come near the limit of
    coordinates, takes the medians as centres, and one power of two as the scale of all features: that changes the unit
    of distances and nothing else. Where all values are below 0.5 the unit is made smaller likewise, for
    coordinates are rounded.

    Args:
        scaling: One of the four.
        columns: Per feature, the values of the fit's users, at least one, finite and of absolute value up to 10¹⁰⁰.
    """
    ascending = [np.sort(values) for values in columns]
    if scaling == "none":
        return _unscaled(ascending)
    pairs = [(float(values[0]), 1.0) if is_constant(values) else _pair(scaling, values) for values in ascending]
    return tuple(centre for centre, _ in pairs), tuple(scale for _, scale in pairs)


def _pair(scaling: Scaling, ascending: Floats) -> tuple[float, float]:
    if scaling == "min_max":
        return float(ascending[0]), float(ascending[-1] - ascending[0])
    if scaling == "robust":
        spread = quantile(ascending, 0.75) - quantile(ascending, 0.25)
        return median(ascending), moments(ascending)[1] if is_noise(spread, ascending) else spread
    return moments(ascending)


def _unscaled(ascending: Sequence[Floats]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    centres = [0.0] * len(ascending)
    bits = _bits(ascending, centres)
    if bits > _UNSCALED_BITS:
        centres = [median(values) for values in ascending]
        bits = max(_bits(ascending, centres), 0)
    scale = math.ldexp(1.0, max(bits - _UNSCALED_BITS, min(bits, 0), _SMALLEST_BITS))
    return tuple(centres), (scale,) * len(centres)


def _bits(ascending: Sequence[Floats], centres: Sequence[float]) -> int:
    """The smallest power of two above all distances from the centres, as its exponent; of none at all, 0."""
    ends = zip(ascending, centres, strict=True)
    farthest = max(max(float(values[-1]) - centre, centre - float(values[0])) for values, centre in ends)
    return math.frexp(farthest)[1]
