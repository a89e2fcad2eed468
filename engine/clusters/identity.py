"""Which new cluster is which published one, so that an id means the same users' behaviour after a refit.

A cluster is a place among the users, not a list of them: when its users leave and others come to be like they were, it
is the same cluster. Two clusterings are therefore compared on the users at hand, whom both can place:

- by members: how many users of a published cluster are in a new one,
- by place: how far the mean of a new cluster's users lies from the published centroid, in the published coordinates.

A new cluster may be a published one when they share at least half of the users of the smaller of the two, and it lies
within half of the way from the published centroid to the nearest other one: no other published centroid is nearer
then, and the places of two clusters never meet. Of all such pairs those are taken, one to one, whose Jaccard similarity
and nearness add up to the most (the assignment of H. W. Kuhn, "The Hungarian method for the assignment problem", 1955).
What splits or merges is told by members alone, as in M. Spiliopoulou et al., "MONIC: modeling and monitoring cluster
transitions" (KDD 2006).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from engine.clusters.moves import APART, Integers
from engine.clusters.nearest import Floats
from engine.clusters.overlap import Overlap

SHARED: Final = 0.5
"""Share of the smaller of two clusters that they must have in common to be one."""
NEAR: Final = 0.5
"""Share of the way to the nearest other published centroid below which a new cluster lies at its place."""
PART: Final = 0.1
"""Share of a cluster that a part of it must have for a split or a merger to be called so."""


@dataclass(frozen=True)
class Published:
    """What is compared of the clusters in use.

    Attributes:
        ids: One per cluster.
        centroids: Shape (k, d), the place of each, in the order of `ids`, in prepared coordinates. None when distances
            between them mean nothing: clusters of any shape, another algorithm, other features. Members decide then.
    """

    ids: tuple[int, ...]
    centroids: Floats | None = None


@dataclass(frozen=True)
class Event:
    """What became of a cluster.

    Attributes:
        kind: `kept`: it is as before. `new`: its id is. `vanished`: no new cluster is it. `merged`: others were taken
            into it. `split`: it lost a part, which is a cluster now.
        cluster: The id; of a merger that of the larger contributor, of a split that of the part that keeps it.
        others: `merged`: the ids taken in. `split`: the ids of the other parts. `vanished`: where most of its users
            are, `APART` included. `new`: where most of its users were. Empty: nobody, or it cannot be known.
        users: Users of it at hand: of a vanished one those it would have, of the others those it has. 0 at a first fit.
    """

    kind: Literal["kept", "new", "vanished", "merged", "split"]
    cluster: int
    others: tuple[int, ...]
    users: int


@dataclass(frozen=True)
class Identity:
    """The ids of new clusters.

    Attributes:
        ids: One per new cluster, in their order.
        next_id: The smallest id that no cluster has had; kept in the bundle.
        events: By id; a cluster that takes others in and loses a part has two.
        note: Why nothing was compared; None otherwise.
    """

    ids: tuple[int, ...]
    next_id: int
    events: tuple[Event, ...]
    note: str | None = None


def first_ids(order: Sequence[Sequence[float]], next_id: int = 0, note: str | None = None) -> Identity:
    """Ids for clusters that continue no others: the first fit, or one that cannot be compared.

    Args:
        order: Per new cluster the figures by which ids are given, greatest first: what its users spend on average, then
            its centroid, so that clusters that spend alike have their ids wherever k-means started.
        next_id: The first id to give; see `next_free`.
        note: Why nothing is compared.
    """
    ids = [0] * len(order)
    for place in _by_order(order):
        ids[place], next_id = next_id, next_id + 1
    return Identity(tuple(ids), next_id, tuple(Event("new", cluster, (), 0) for cluster in sorted(ids)), note)


def next_free(next_ids: Iterable[int]) -> int:
    """The first id that may be given when these are the `next_id` of all bundles of a store.

    All of them count, also those held, withdrawn or rolled back from: an id they gave may have been published.
    """
    return max(next_ids, default=0)


def match(published: Published, overlap: Overlap, order: Sequence[Sequence[float]], next_id: int) -> Identity:
    """The ids of new clusters: those of the published clusters they continue, new ones for the others.

    First, of clusters that merge the largest contributor gives its id, and of a cluster that splits the largest part
    keeps it (the largest of those at its place, if any is). Then the other clusters are paired as the module says. What
    is left gets the next ids, in the order of `order`, never one that was given before.

    Args:
        published: The clusters in use.
        overlap: The users at hand under both clusterings.
        order: As in `first_ids`, one entry per new cluster.
        next_id: The first id to give, greater than all published ids; see `next_free`.
    """
    next_id = max(next_id, *(old + 1 for old in published.ids))
    table = _Table.of(published, overlap, order)
    pairs = table.pairs()
    ids = [-1] * len(order)
    for old, new in pairs.items():
        ids[table.order[new]] = published.ids[old]
    for place in table.order:
        if ids[place] < 0:
            ids[place], next_id = next_id, next_id + 1
    events = table.events(published.ids, [ids[place] for place in table.order], pairs)
    return Identity(tuple(ids), next_id, tuple(sorted(events, key=lambda event: (event.cluster, event.kind))))


@dataclass(frozen=True, eq=False)
class _Table:
    """Old clusters (rows) by new ones (columns, in the order of ids to give, so that no start of a fit counts).

    Attributes:
        order: Place of each column among the new clusters.
        users: Users in both, shape (old, new).
        olds, news: Users of each old and each new cluster, those apart in the other clustering included.
        way: Distance from the old centroid as a share of the way to the nearest other one; 0 when not compared.
        apart: Users of each old cluster who are apart now, and users of each new one who were.
    """

    order: tuple[int, ...]
    users: Integers
    olds: Integers
    news: Integers
    way: Floats
    apart: tuple[Integers, Integers]

    @classmethod
    def of(cls, published: Published, overlap: Overlap, order: Sequence[Sequence[float]]) -> _Table:
        columns = _by_order(order)
        moves, ids = overlap.moves, published.ids
        users = moves.matrix(ids, columns)
        out, back = moves.matrix(ids, [APART])[:, 0], moves.matrix([APART], columns)[0]
        way = np.zeros(users.shape)
        found = overlap.centroids
        if published.centroids is not None and found is not None and len(ids) > 1:
            way = _way(published.centroids, found[list(columns)], users)
        return cls(columns, users, users.sum(axis=1) + out, users.sum(axis=0) + back, way, (out, back))

    def parts(self, old: int) -> list[int]:
        """The new clusters into which an old one split: mostly made of it, and together most of it."""
        users, size = self.users[old], self.olds[old]
        found = [
            new
            for new in range(len(self.news))
            if users[new] and users[new] >= SHARED * self.news[new] and users[new] >= PART * size
        ]
        return found if len(found) > 1 and sum(users[new] for new in found) > SHARED * size else []

    def sources(self, new: int) -> list[int]:
        """The old clusters that merged into a new one: mostly gone into it, and together most of it."""
        users, size = self.users[:, new], self.news[new]
        found = [
            old
            for old in range(len(self.olds))
            if users[old] and users[old] >= SHARED * self.olds[old] and users[old] >= PART * size
        ]
        return found if len(found) > 1 and sum(users[old] for old in found) > SHARED * size else []

    def pairs(self) -> dict[int, int]:
        """New cluster by the old one that it is."""
        from scipy.optimize import linear_sum_assignment

        found: dict[int, int] = {}
        for new in range(len(self.news)):
            free = [old for old in self.sources(new) if old not in found]
            if free:
                found[max(free, key=lambda old: self.users[old, new])] = new
        for old in range(len(self.olds)):
            free = [new for new in self.parts(old) if new not in found.values()]
            if free and old not in found:
                found[old] = max(free, key=lambda new: (self.way[old, new] < NEAR, self.users[old, new]))
        score = self._scores()
        score[list(found)] = 0
        score[:, list(found.values())] = 0
        rows, columns = linear_sum_assignment(score, maximize=True)
        chosen = zip(rows.tolist(), columns.tolist(), strict=True)
        return {**found, **{old: new for old, new in chosen if score[old, new] > 0}}

    def _scores(self) -> Floats:
        """Jaccard similarity and nearness of pairs that may be one cluster, 0 for the others."""
        smaller = np.minimum(self.olds[:, None], self.news[None, :])
        either = self.olds[:, None] + self.news[None, :] - self.users
        may = (self.users > 0) & (self.users >= SHARED * smaller) & (self.way < NEAR)
        return np.where(may, self.users / np.maximum(either, 1) + 1 - self.way, 0.0)

    def events(self, olds: Sequence[int], news: Sequence[int], pairs: dict[int, int]) -> list[Event]:
        """What became of every old and every new cluster; `olds` and `news` are their ids."""
        found, told_old, told_new = [], set(pairs), set(pairs.values())
        for old, new in pairs.items():
            sources = [other for other in self.sources(new) if other not in pairs]
            parts = [other for other in self.parts(old) if other not in pairs.values()]
            told_old |= set(sources)
            told_new |= set(parts)
            size = int(self.news[new])
            if sources:
                found.append(Event("merged", olds[old], tuple(sorted(olds[other] for other in sources)), size))
            if parts:
                found.append(Event("split", olds[old], tuple(sorted(news[other] for other in parts)), size))
            if not sources and not parts:
                found.append(Event("kept", olds[old], (), size))
        out, back = self.apart
        for old in sorted(set(range(len(olds))) - told_old):
            others = _most(news, self.users[old], out[old])
            found.append(Event("vanished", olds[old], others, int(self.olds[old])))
        for new in sorted(set(range(len(news))) - told_new):
            others = _most(olds, self.users[:, new], back[new])
            found.append(Event("new", news[new], others, int(self.news[new])))
        return found


def _most(ids: Sequence[int], users: Integers, apart: np.int64) -> tuple[int, ...]:
    """The id with most of the users, the lowest of several; none when there are no users."""
    found = sorted(zip([APART, *ids], [int(apart), *users.tolist()], strict=True), key=lambda pair: (-pair[1], pair[0]))
    return (found[0][0],) if found[0][1] else ()


def _way(olds: Floats, news: Floats, users: Integers) -> Floats:
    """Distances of new from old centroids, as a share of the old one's distance to the nearest other old one.

    As they lie, or with the shift taken out that the clusters have in common, whichever is less: when the whole base
    is a month older or buys less in summer, every cluster has moved, and none has become another.
    """
    separation = _distances(olds, olds)
    np.fill_diagonal(separation, np.inf)
    # Two centroids in one place have no room between them; whatever is not exactly there is too far.
    room = np.maximum(separation.min(axis=1), 2.0**-20)[:, None]
    way = np.minimum(_distances(olds, news), _distances(olds + _common_shift(olds, news, users), news)) / room
    return np.where(np.isnan(way), np.inf, way)


def _common_shift(olds: Floats, news: Floats, users: Integers) -> Floats:
    """The median over old clusters of how far most of their users lie from them now, shape (d,).

    Of two middle values the smaller shift, none with a single cluster: what one cluster did is not common.
    """
    unknown = np.isnan(news).any(axis=1)
    usable = users * ~np.array(unknown)
    rows = np.flatnonzero(usable.any(axis=1))
    if len(rows) < 2:
        return np.zeros(olds.shape[1])
    shifts = np.sort(news[usable[rows].argmax(axis=1)] - olds[rows], axis=0)
    low, high = shifts[(len(rows) - 1) // 2], shifts[len(rows) // 2]
    smaller: Floats = np.where(np.abs(low) <= np.abs(high), low, high)
    return smaller


def _distances(rows: Floats, others: Floats) -> Floats:
    squared = np.zeros((len(rows), len(others)))
    for column in range(rows.shape[1]):
        difference = rows[:, column, None] - others[None, :, column]
        squared += difference * difference
    return np.sqrt(squared)


def _by_order(order: Sequence[Sequence[float]]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=lambda place: [-figure for figure in order[place]]))
