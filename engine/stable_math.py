"""Logarithms whose last bit does not depend on the processor.

numpy and the C library choose among kernels by what the processor can do (AVX-512, FMA), and the kernels differ in the
last bit: two nodes of a cluster would give one user two scores. Here a logarithm is made of additions, multiplications
and divisions of whole arrays, which IEEE 754 rounds in one way everywhere.
"""

from __future__ import annotations

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


def _by_chunk(function: Callable[[Floats], Floats], values: ArrayLike, *, above: float) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    flat = given.ravel()
    if not ((flat > above) & (flat < np.inf)).all():
        message = f"expected finite values above {above:g}"
        raise ValueError(message)
    result = np.empty_like(flat)
    for start in range(0, flat.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        result[part] = function(flat[part])
    return result.reshape(given.shape)


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
