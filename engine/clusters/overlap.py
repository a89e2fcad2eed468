"""The same users under the published and the new clustering: what the identity of the new clusters is decided on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.clusters.moves import APART, Moves, count_moves, merge_moves
from engine.clusters.nearest import Floats, Labels

# Coordinates are whole multiples of 2⁻²⁰, at most 2¹⁰: sums over this many rows are exact in floats.
_UNITS: Final = 2.0**20
_CHUNK_ROWS: Final = 2**20


@dataclass(frozen=True)
class Overlap:
    """The same users under both clusterings; `merge_overlaps` adds up those of several blocks.

    Attributes:
        moves: From published ids to the places of the new clusters, 0 … k - 1.
        sums: Per new cluster the sums of its users' published coordinates, in units of 2⁻²⁰; empty without them.
        counts: Per new cluster, the users that were added up.
    """

    moves: Moves
    sums: tuple[tuple[int, ...], ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def centroids(self) -> Floats | None:
        """Mean published coordinates of each new cluster's users, shape (k, d); NaN without any. None: not known."""
        if not self.sums:
            return None
        return np.array(
            [
                [total / count / int(_UNITS) if count else np.nan for total in sums]
                for sums, count in zip(self.sums, self.counts, strict=True)
            ]
        )


def overlap_of(old: Labels, new: Labels, k: int, coordinates: Floats | None = None) -> Overlap:
    """The overlap of one block of users.

    Args:
        old: Shape (n,): the id of each user's published cluster, `APART` for none.
        new: Shape (n,): the place of its new cluster, `APART` for none.
        k: Number of new clusters.
        coordinates: Shape (n, d): the users under the published preparation, whole multiples of 2⁻²⁰ of at most 2¹⁰;
            None when places are not to be compared. Users apart, in either clustering, move no centroid.
    """
    moves = count_moves(old, new)
    if coordinates is None:
        return Overlap(moves)
    inside = (old != APART) & (new != APART)
    labels = new[inside]
    counts = np.bincount(labels, minlength=k).tolist()
    columns = [_sums(labels, coordinates[inside, column], k) for column in range(coordinates.shape[1])]
    return Overlap(moves, tuple(tuple(column[place] for column in columns) for place in range(k)), tuple(counts))


def merge_overlaps(parts: Iterable[Overlap]) -> Overlap:
    """The overlap of all blocks together, in whatever order they come; at least one."""
    first, *others = parts
    sums, counts = first.sums, first.counts
    for part in others:
        pairs = zip(sums, part.sums, strict=True)
        sums = tuple(tuple(a + b for a, b in zip(one, other, strict=True)) for one, other in pairs)
        counts = tuple(a + b for a, b in zip(counts, part.counts, strict=True))
    return Overlap(merge_moves([first.moves, *(part.moves for part in others)]), sums, counts)


def _sums(labels: Labels, values: Floats, k: int) -> list[int]:
    totals = [0] * k
    for start in range(0, len(labels), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        units = np.rint(values[part] * _UNITS)
        found = np.bincount(labels[part], weights=units, minlength=k).tolist()
        totals = [total + int(new) for total, new in zip(totals, found, strict=True)]
    return totals
