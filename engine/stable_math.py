"""Logarithms whose last bit does not depend on the processor.

numpy and the C library choose among kernels by what the processor can do (AVX-512, FMA), and the kernels differ in the
last bit: two nodes of a cluster would give one user two scores. Here a logarithm is made of additions, multiplications
and divisions of whole arrays, which IEEE 754 rounds in one way everywhere.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_SQRT_HALF: Final = 0.7071067811865476
# ln 2 in two parts; the first has so few bits that its product with an exponent is exact.
_LN2_HIGH: Final = float.fromhex("0x1.62e42fefap-1")
_LN2_LOW: Final = float.fromhex("0x1.cf79abc9e3b3ap-40")
# 2 atanh(s) = 2 (s + s³/3 + s⁵/5 + …); |s| stays below 0.1716, where the next term is less than half a unit of rounding.
_ODD: Final = tuple(1.0 / power for power in range(23, 1, -2))


def log(values: ArrayLike) -> Floats:
    """Natural logarithms, within 2 units in the last place, of positive finite numbers; a new array of their shape."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    low = mantissa < _SQRT_HALF
    mantissa = np.where(low, mantissa + mantissa, mantissa)
    power = np.subtract(exponent, low, dtype=np.float64)
    above = mantissa - 1.0
    ratio = above / (mantissa + 1.0)
    square = ratio * ratio
    series = np.full_like(square, _ODD[0])
    for coefficient in _ODD[1:]:
        series *= square
        series += coefficient
    # 2 s = m − 1 − s (m − 1): m − 1 is exact, so that little is lost when the mantissa is near 1.
    tail = ratio * (2.0 * (square * series) - above)
    return np.asarray(power * _LN2_HIGH + (above + (tail + power * _LN2_LOW)))


def log1p(values: ArrayLike) -> Floats:
    """log(1 + x), within 3 units in the last place, of finite numbers above −1; precise near 0, where x itself is it."""
    x = np.asarray(values, dtype=np.float64)
    total = 1.0 + x
    # What rounding 1 + x took away, exactly (Knuth's two-sum), is given back by the derivative 1 / (1 + x).
    part = total - 1.0
    lost = (1.0 - (total - part)) + (x - part)
    return np.asarray(log(total) + lost / total)
