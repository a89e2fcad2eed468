"""The loops of `engine.propensity.forest`, in the part of Python that numba compiles.

One compiled program serves every model, for a model is data to it. `engine.compiled` says where it is kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BLOCK: Final = 64
"""Rows that are taken side by side: their masks of one tree stay in the processor's registers."""
LEAVES: Final = 64
"""Leaves of one unit: the bits of a mask."""
MISSING_RIGHT: Final = 65_535
"""Code of a missing value that goes right at every split; 0 goes left at every split."""
# LightGBM's kZeroThreshold, a C float: it hands its trees nothing nearer to zero than this, but zero.
_NEARLY_ZERO: Final = float(np.float32(1e-35))
_ALL: Final = np.uint64(2**64 - 1)
_NONE: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
# The top six bits of a power of two times this de Bruijn sequence are different for each of the 64 powers.
_DE_BRUIJN: Final = np.uint64(0x03F79D71B4CB0A89)
_TOP_BITS: Final = np.uint64(58)


@lru_cache(maxsize=1)
def load_kernel() -> Callable[..., None]:
    """`score_rows`, compiled; its first call reads the program from disk, or compiles it.

    Raises:
        ImportError: There is no numba, or it does not fit this Python or numpy.
    """
    return compiled(score_rows)


def kernel_is_loaded() -> bool:
    """Whether this process has the kernel already."""
    return load_kernel.cache_info().currsize > 0


def bit_positions() -> NDArray[np.int64]:
    """For the top six bits of a power of two times the de Bruijn sequence, the exponent of the power."""
    table = np.zeros(64, dtype=np.int64)
    for exponent in range(64):
        table[((int(_DE_BRUIJN) << exponent) % 2**64) >> int(_TOP_BITS)] = exponent
    return table


def score_rows(  # noqa: C901, PLR0912, PLR0913, PLR0917 - one loop nest: a call in it would keep it from being vectorised
    columns: NDArray[np.float64],
    edges: NDArray[np.float64],
    edge_start: NDArray[np.int64],
    levels: NDArray[np.int64],
    unit_start: NDArray[np.int64],
    split_start: NDArray[np.int64],
    split_column: NDArray[np.int64],
    split_rank: NDArray[np.uint16],
    split_mask: NDArray[np.uint64],
    group_start: NDArray[np.int64],
    group_column: NDArray[np.int64],
    group_offset: NDArray[np.int64],
    category_mask: NDArray[np.uint64],
    leaf_value: NDArray[np.float64],
    bit_position: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Write the raw score of each row of `columns` (features x rows) into `out`; the other arrays are a `Forest`."""
    codes = np.zeros((2 * levels.size, BLOCK), np.uint16)
    values = np.zeros(BLOCK, np.float64)
    found = np.zeros(BLOCK, np.int64)
    alive = np.zeros(BLOCK, np.uint64)
    exits = np.zeros(BLOCK, np.float64)
    sums = np.zeros(BLOCK, np.float64)
    for start in range(0, out.size, BLOCK):
        rows = min(BLOCK, out.size - start)
        # Rows beyond `rows` keep what an earlier block left there; their sums are not written.
        for feature in range(levels.size):
            base = edge_start[feature]
            step = (edge_start[feature + 1] - base + 1) // 2
            if levels[feature] == 0 and step == 0:
                continue
            for row in range(rows):
                value = columns[feature, start + row]
                values[row] = 0.0 if abs(value) <= _NEARLY_ZERO else value
            if levels[feature] > 0:
                top = levels[feature]
                for row in range(BLOCK):
                    inside = values[row] > -1.0 and values[row] < top
                    codes[2 * feature, row] = int(values[row]) if inside else top
                continue
            for row in range(BLOCK):
                found[row] = 0
            while step > 0:
                for row in range(BLOCK):
                    above = edges[base + found[row] + step - 1] < values[row]
                    found[row] += step if above else 0
                step //= 2
            for row in range(BLOCK):
                codes[2 * feature, row] = found[row]
                codes[2 * feature + 1, row] = MISSING_RIGHT if np.isnan(values[row]) else found[row]
        for row in range(BLOCK):
            sums[row] = 0.0
        for tree in range(unit_start.size - 1):
            # The leaf of a row is the first one left in any unit of the tree.
            for unit in range(unit_start[tree + 1] - 1, unit_start[tree] - 1, -1):
                for row in range(BLOCK):
                    alive[row] = _ALL
                for split in range(split_start[unit], split_start[unit + 1]):
                    rank = split_rank[split]
                    cleared = ~split_mask[split]
                    column = codes[split_column[split]]
                    for row in range(BLOCK):
                        alive[row] &= ~(cleared if column[row] > rank else _NONE)
                for group in range(group_start[unit], group_start[unit + 1]):
                    offset = group_offset[group]
                    column = codes[group_column[group]]
                    for row in range(BLOCK):
                        alive[row] &= category_mask[offset + column[row]]
                for row in range(BLOCK):
                    lowest = alive[row] & (~alive[row] + _ONE)
                    if lowest != _NONE:
                        exits[row] = leaf_value[unit, bit_position[(lowest * _DE_BRUIJN) >> _TOP_BITS]]
            for row in range(BLOCK):
                sums[row] += exits[row]
        for row in range(rows):
            out[start + row] = sums[row]
