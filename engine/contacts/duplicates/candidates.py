"""Candidate pairs: of each block every pair once, in batches of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.contacts.duplicates.values import Rows


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of one key.

    Attributes:
        numbers: The block of each contact; -1 for those in none, alone in theirs, or in one that is too large.
        rows: The contacts of blocks, block after block, each in the order of the contacts.
        after: For each of them how many of its block come after it.
        large: Sizes of the blocks that are too large, the largest first.
    """

    numbers: Rows
    rows: Rows
    after: npt.NDArray[np.int64]
    large: tuple[int, ...]

    @property
    def pairs(self) -> int:
        """Pairs within blocks."""
        return int(self.after.sum())


def blocks_of(numbers: Rows, largest: int) -> Blocks:
    """Blocks of equal numbers.

    Args:
        numbers: One per contact, -1 for none.
        largest: Contacts of a block that is still compared.
    """
    sizes = np.bincount(numbers[numbers >= 0]) if (numbers >= 0).any() else np.zeros(1, np.int64)
    large = np.sort(sizes[sizes > largest])[::-1]
    size = np.where(numbers >= 0, sizes[np.maximum(numbers, 0)], 0)
    kept = np.where((size >= 2) & (size <= largest), numbers, -1).astype(np.int32)
    members = np.flatnonzero(kept >= 0)
    rows = members[np.argsort(kept[members], kind="stable")].astype(np.int32)
    ends = np.cumsum(sizes[np.unique(kept[members])]) if rows.size else np.zeros(0, np.int64)
    lengths = np.diff(ends, prepend=0)
    after = np.repeat(ends, lengths) - 1 - np.arange(rows.size)
    return Blocks(kept, rows, after.astype(np.int64), tuple(int(one) for one in large))


def pairs_of(blocks: Blocks, earlier: Sequence[Rows], limit: int) -> Iterator[tuple[Rows, Rows]]:
    """The pairs of all blocks of a key in batches: the earlier and the later contact of each.

    Args:
        blocks: The blocks.
        earlier: Numbers of other keys; pairs that agree in one of them are left out.
        limit: Pairs of a batch; one contact's with all after it are never parted.
    """
    ends = np.cumsum(blocks.after)
    start = 0
    while start < blocks.rows.size:
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + limit, side="right")))
        after = blocks.after[start:stop]
        total = int(ends[stop - 1]) - done
        places = np.repeat(np.arange(start, stop), after)
        steps = np.arange(total) - np.repeat(np.cumsum(after) - after, after)
        first, second = blocks.rows[places], blocks.rows[places + 1 + steps]
        start = stop
        new = np.ones(total, dtype=bool)
        for numbers in earlier:
            mine = numbers[first]
            new &= (mine < 0) | (mine != numbers[second])
        if new.any():
            yield first[new], second[new]


def crowded(numbers: Rows, largest: int) -> tuple[Rows, Rows]:
    """Numbers of groups that are not too large and of those that are; -1 elsewhere."""
    sizes = np.bincount(numbers[numbers >= 0]) if (numbers >= 0).any() else np.zeros(1, np.int64)
    size = np.where(numbers >= 0, sizes[np.maximum(numbers, 0)], 0)
    usual = np.where((size >= 2) & (size <= largest), numbers, -1).astype(np.int32)
    return usual, np.where(size > largest, numbers, -1).astype(np.int32)


def stars(numbers: Rows) -> tuple[Rows, Rows]:
    """Each contact of a group with the first one of its group: as many pairs as contacts, less one a group.

    Args:
        numbers: The group of each contact, -1 for none.
    """
    members = np.flatnonzero(numbers >= 0)
    _, firsts, group = np.unique(numbers[members], return_index=True, return_inverse=True)
    first = members[firsts][group]
    later = first != members
    return first[later].astype(np.int32), members[later].astype(np.int32)
