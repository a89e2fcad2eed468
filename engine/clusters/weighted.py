"""Users with equal rows as one row and their number, in an order that the rows alone decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.clusters.nearest import Floats
from engine.clusters.seeding import generator
from engine.clusters.units import Whole

# The draws that thin rows must not meet those of the starts.
_PATH: Final = 1_000_001


@dataclass(frozen=True, eq=False)
class Weighted:
    """Distinct rows, shape (n, d), column-major, in lexicographic order, and how many users each stands for, (n,)."""

    rows: Floats
    counts: Whole

    @property
    def users(self) -> int:
        """All users."""
        return int(np.add.reduce(self.counts))


def distinct_rows(rows: Floats) -> Weighted:
    """The distinct rows and how often each occurs.

    The same bits in any row order, provided that -0.0 and 0.0 were made one, as `Preparation.apply` does.
    """
    order = np.lexsort(rows.T[::-1])
    ordered = np.asfortranarray(rows[order])
    starts = np.ones(len(rows), dtype=np.bool_)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.flatnonzero(starts)
    return Weighted(np.asfortranarray(ordered[first]), np.diff(first, append=len(rows)).astype(np.int64))


def thinned(users: Weighted, size: int, seed: int) -> Weighted:
    """At most `size` of the users, every so many-th in the order of their rows: a sample as spread as they are."""
    total = users.users
    if total <= size:
        return users
    positions = np.floor((np.arange(size) + generator(seed, _PATH).random()) * (total / size))
    drawn = np.searchsorted(np.cumsum(users.counts), positions, side="right")
    counts = np.bincount(drawn, minlength=len(users.rows))[: len(users.rows)]
    kept = np.flatnonzero(counts)
    return Weighted(np.asfortranarray(users.rows[kept]), counts[kept].astype(np.int64))
