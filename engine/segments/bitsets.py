"""Sets of users as packed bits: how large any two have in common, and sums over them, in exact integers.

A word holds 64 users, so that the pairs of a hundred sets of a million users are counted in a fraction of a second,
however large the sets are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

# Words per step: a hundred sets of them stay in a core's cache.
_STEP: Final = 1024


def packed(sets: Iterable[Flags], users: int) -> Words:
    """One row of words per set.

    Args:
        sets: Whether each user is in it.
        users: Length of each.
    """
    size = -(-users // 64) * 8
    rows = [np.packbits(flags) for flags in sets]
    words = np.zeros((len(rows), size), dtype=np.uint8)
    for row, found in zip(words, rows, strict=True):
        row[: found.size] = found
    return words.view(np.uint64)


def in_common(left: Words, right: Words) -> Ints:
    """Users of both, for each set of `left` (rows) and of `right` (columns)."""
    shared = np.zeros((left.shape[0], right.shape[0]), dtype=np.int64)
    for start in range(0, left.shape[1], _STEP):
        part = slice(start, start + _STEP)
        others = np.ascontiguousarray(right[:, part])
        for place, row in enumerate(left[:, part]):
            shared[place] += np.bitwise_count(row & others).sum(axis=1, dtype=np.int64)
    return shared


def sums_over(sets: Words, values: Ints) -> tuple[int, ...]:
    """The sum of the values of the users of each set, as integers without a limit.

    Args:
        sets: One row per set.
        values: One per user.
    """
    lowest = int(values.min(initial=0))
    above = values - lowest
    planes = packed(_planes(above), values.size)
    sizes = np.bitwise_count(sets).sum(axis=1, dtype=np.int64).tolist()
    return tuple(
        sum(count << bit for bit, count in enumerate(row)) + lowest * size
        for row, size in zip(in_common(sets, planes).tolist(), sizes, strict=True)
    )


def _planes(values: Ints) -> Iterator[Flags]:
    """Who has each binary digit set, the lowest first; values are not below 0."""
    for bit in range(int(values.max(initial=0)).bit_length()):
        yield (values >> bit & 1).astype(np.bool_)
