"""Logarithms and exponentials whose last bit does not depend on the processor.

numpy and the C library choose among kernels by what the processor can do (AVX-512, FMA), and the kernels differ in the
last bit: two nodes of a cluster would give one user two scores. Here they are made of additions, multiplications and
divisions of whole arrays, which IEEE 754 rounds in one way everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Chunks of this many values stay in a core's cache.
_CHUNK: Final = 4096
_SQRT_HALF: Final = 0.7071067811865476
# ln 2 in two parts; the first has so few bits that its product with an exponent is exact.
_LN2_HIGH: Final = float.fromhex("0x1.62e42fefap-1")
_LN2_LOW: Final = float.fromhex("0x1.cf79abc9e3b3ap-40")
# ln m = 2 atanh(s) = 2 (s + s³/3 + s⁵/5 + …) with s = (m − 1) / (m + 1); where |s| < 0.1716, later terms do not count.
_ODD: Final = tuple(1.0 / power for power in range(23, 1, -2))
_LOG2_E: Final = 1.4426950408889634
# e^r = 1 + r + r² (1/2! + r/3! + …); where |r| < 0.347, later terms do not count.
_FACTORIAL: Final = tuple(1.0 / math.factorial(order) for order in range(14, 1, -1))
# Beyond these an exponential is zero, or greater than any float.
_EXP_RANGE: Final = (-746.0, 710.0)


def log(values: ArrayLike) -> Floats:
    """Natural logarithms, within one unit in the last place, as a new array of the same shape.

    Raises:
        ValueError: A value is not positive and finite.
    """
    return _by_chunk(_log, values, above=0.0)


def log1p(values: ArrayLike) -> Floats:
    """log(1 + x), within two units in the last place, near 0 too; a new array of the same shape.

    Raises:
        ValueError: A value is not finite and above −1.
    """
    return _by_chunk(_log1p, values, above=-1.0)


def exp(values: ArrayLike) -> Floats:
    """The exponential, within one unit in the last place (two where the result is subnormal), as a new array.

    Above 709.78 the result is infinite, below -745.14 zero.

    Raises:
        ValueError: A value is NaN.
    """
    return _by_chunk(_exp, values, above=-np.inf, closed=True)


def sigmoid(values: ArrayLike) -> Floats:
    """1 / (1 + e^−x), within three units in the last place (four where subnormal), as a new array of the same shape.

    Raises:
        ValueError: A value is NaN.
    """
    return _by_chunk(_sigmoid, values, above=-np.inf, closed=True)


def logit(values: ArrayLike) -> Floats:
    """ln(p / (1 − p)), the inverse of `sigmoid`, within 2⁻⁵¹ of the greater of it and 1, as a new array.

    Raises:
        ValueError: A value is not between 0 and 1, both excluded.
    """
    given = np.asarray(values, dtype=np.float64)
    return log(given) - log1p(-given)


def _by_chunk(function: Callable[[Floats], Floats], values: ArrayLike, *, above: float, closed: bool = False) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    flat = given.ravel()
    if closed and np.isnan(flat).any():
        message = "expected values that are not NaN"
        raise ValueError(message)
    if not closed and not ((flat > above) & (flat < np.inf)).all():
        message = f"expected finite values above {above:g}"
        raise ValueError(message)
    result = np.empty_like(flat)
    for start in range(0, flat.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        result[part] = function(flat[part])
    return result.reshape(given.shape)


def _exp(values: Floats) -> Floats:
    clipped = np.clip(values, *_EXP_RANGE)
    power = np.rint(clipped * _LOG2_E)
    high = clipped - power * _LN2_HIGH
    low = power * _LN2_LOW
    rest = high - low
    series = np.full_like(rest, _FACTORIAL[0])
    for coefficient in _FACTORIAL[1:]:
        series = series * rest + coefficient
    # `high` is exact, and what rounding 1 + high took away is given back.
    nearly = 1.0 + high
    mantissa = nearly + (((1.0 - nearly) + high) + (rest * rest * series - low))
    with np.errstate(over="ignore"):
        return np.ldexp(mantissa, power.astype(np.int32))


def _sigmoid(values: Floats) -> Floats:
    small = _exp(-np.abs(values))
    return np.where(values < 0, small, 1.0) / (1.0 + small)


def _log1p(values: Floats) -> Floats:
    total = 1.0 + values
    # What rounding 1 + x took away, exactly (Knuth's two-sum), is given back by the derivative 1 / (1 + x).
    part = total - 1.0
    lost = (1.0 - (total - part)) + (values - part)
    return _log(total) + lost / total


def _log(values: Floats) -> Floats:
    mantissa, exponent = np.frexp(values)
    low = mantissa < _SQRT_HALF
    mantissa = np.where(low, mantissa + mantissa, mantissa)
    power = np.subtract(exponent, low, dtype=np.float64)
    above = mantissa - 1.0
    ratio = above / (mantissa + 1.0)
    square = ratio * ratio
    series = np.full_like(square, _ODD[0])
    for coefficient in _ODD[1:]:
        series = series * square + coefficient
    # 2 s = (m − 1) − s (m − 1), and m − 1 is exact: little is lost when the mantissa is near 1.
    tail = ratio * (2.0 * (square * series) - above)
    return power * _LN2_HIGH + (above + (tail + power * _LN2_LOW))
