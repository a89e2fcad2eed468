"""How users moved between two clusterings of the same users: who went where, and how alike the two are.

Source of the adjusted Rand index: L. Hubert and P. Arabie, "Comparing partitions" (Journal of Classification, 1985).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.clusters.nearest import Labels

Integers = NDArray[np.int64]

APART: Final = -1
"""The label of users that are in no cluster: set apart as outliers, or noise."""


@dataclass(frozen=True)
class Moves:
    """Users by old and new cluster.

    Attributes:
        counts: Old cluster, new cluster and the number of users (at least 1) who were in the one and are in the other,
            ascending by both; `APART` where they are in no cluster.
    """

    counts: tuple[tuple[int, int, int], ...]

    @property
    def users(self) -> int:
        """Users who were in both clusterings, those apart included."""
        return sum(users for _, _, users in self.counts)

    @property
    def moved(self) -> int:
        """Users whose cluster is not the one they were in; being set apart, or no longer, is a move."""
        return sum(users for old, new, users in self.counts if old != new)

    @property
    def moved_share(self) -> float:
        """Share of all users who moved, also those who had to, as their cluster is gone; 0 without users."""
        return self.moved / self.users if self.users else 0.0

    @property
    def ari(self) -> float:
        """Adjusted Rand index of the two clusterings, 1 when they group alike; users apart are a group of their own.

        It does not depend on ids. Exact integers, rounded once.
        """
        old, new = self.old_sizes, self.new_sizes
        together = sum(_pairs(users) for _, _, users in self.counts)
        by_old, by_new = (sum(map(_pairs, sizes.values())) for sizes in (old, new))
        everyone = _pairs(self.users)
        if not everyone:
            return 1.0
        expected = Fraction(by_old * by_new, everyone)
        most = Fraction(by_old + by_new, 2)
        # Both have one group, or both have as many groups as users: nothing can be grouped otherwise.
        return 1.0 if most == expected else float((together - expected) / (most - expected))

    @property
    def old_sizes(self) -> dict[int, int]:
        """Users by old cluster, ascending."""
        return _sizes((old, users) for old, _, users in self.counts)

    @property
    def new_sizes(self) -> dict[int, int]:
        """Users by new cluster, ascending."""
        return _sizes((new, users) for _, new, users in self.counts)

    def matrix(self, old: Sequence[int], new: Sequence[int]) -> Integers:
        """Users who were in `old[i]` and are in `new[j]`, shape (old, new); other clusters are left out."""
        table = np.zeros((len(old), len(new)), dtype=np.int64)
        rows = {label: place for place, label in enumerate(old)}
        columns = {label: place for place, label in enumerate(new)}
        for before, after, users in self.counts:
            if before in rows and after in columns:
                table[rows[before], columns[after]] = users
        return table

    def renamed(self, ids: Mapping[int, int]) -> Moves:
        """The same moves with other ids for the new clusters; `APART` stays what it is."""
        return _moves({(old, ids.get(new, new)): users for old, new, users in self.counts})


def count_moves(old: Labels, new: Labels, weights: Integers | None = None) -> Moves:
    """The moves of one block of users.

    Args:
        old: Shape (n,): each user's cluster in the old clustering, `APART` for none.
        new: Shape (n,): that in the new one.
        weights: Shape (n,): how many users each row stands for, ≥ 0; one when None.
    """
    if not len(old):
        return Moves(())
    olds, old_places = np.unique(old, return_inverse=True)
    news, new_places = np.unique(new, return_inverse=True)
    table = np.zeros(len(olds) * len(news), dtype=np.int64)
    np.add.at(table, old_places * len(news) + new_places, 1 if weights is None else weights)
    pairs = ((before, after) for before in olds.tolist() for after in news.tolist())
    return _moves(dict(zip(pairs, table.tolist(), strict=True)))


def merge_moves(parts: Iterable[Moves]) -> Moves:
    """The moves of all blocks together, in whatever order they come."""
    total: Counter[tuple[int, int]] = Counter()
    for part in parts:
        total.update({(old, new): users for old, new, users in part.counts})
    return _moves(total)


def churn_reasons(moves: Moves | None, max_moved: float) -> tuple[str, ...]:
    """Why clusters that move so many users are not promoted, one line per reason; empty when they may be.

    Args:
        moves: From the published clusters to the new ones, by id; None when there are none, or when they cannot be
            compared: nothing is held back then.
        max_moved: The largest `moved_share` that may be promoted.
    """
    if moves is None or moves.moved_share <= max_moved:
        return ()
    moved = f"{moves.moved:,} of {moves.users:,} users ({moves.moved_share:.1%}) would change their cluster"
    return (f"{moved}; clusters.max_moved allows {max_moved:.0%}",)


def _moves(counts: Mapping[tuple[int, int], int]) -> Moves:
    return Moves(tuple((old, new, users) for (old, new), users in sorted(counts.items()) if users))


def _sizes(counted: Iterable[tuple[int, int]]) -> dict[int, int]:
    sizes: Counter[int] = Counter()
    for label, users in counted:
        sizes[label] += users
    return dict(sorted(sizes.items()))


def _pairs(users: int) -> int:
    return users * (users - 1) // 2
