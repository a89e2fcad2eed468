from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clusters.identity import Event, Identity, Published, first_ids, match, next_free
from engine.clusters.moves import APART, Moves
from engine.clusters.nearest import Floats, Labels
from engine.clusters.overlap import Overlap, overlap_of


@dataclass
class Fit:
    """Centroids of true groups of users; coordinates are those of every fit."""

    centroids: Floats
    ids: tuple[int, ...] = ()
    next_id: int = 0

    def labels(self, rows: Floats) -> Labels:
        squared: Floats = ((rows[:, None] - self.centroids[None]) ** 2).sum(axis=2)
        labels: Labels = squared.argmin(axis=1)
        return labels


def users_at(places: list[tuple[float, float]], sizes: list[int], seed: int = 0, spread: float = 1.0) -> Floats:
    random = np.random.default_rng(seed)
    rows = [random.normal(place, spread, (size, 2)) for place, size in zip(places, sizes, strict=True)]
    return np.round(np.concatenate(rows) * 2**20) / 2**20


def fit_at(rows: Floats, places: list[tuple[float, float]]) -> Fit:
    """Two rounds of Lloyd's algorithm from the places where groups are; the places' order is that of the clusters."""
    fit = Fit(np.array(places))
    for _ in range(2):
        labels = fit.labels(rows)
        fit = Fit(np.array([rows[labels == place].mean(axis=0) for place in range(len(places))]))
    return fit


def order_of(fit: Fit) -> list[list[float]]:
    return [list(map(float, centroid)) for centroid in fit.centroids]


def first(rows: Floats, places: list[tuple[float, float]]) -> Fit:
    fit = fit_at(rows, places)
    identity = first_ids(order_of(fit))
    fit.ids, fit.next_id = identity.ids, identity.next_id
    return fit


def refit(
    before: Fit, rows: Floats, places: list[tuple[float, float]], *, by_place: bool = True
) -> tuple[Fit, Identity]:
    fit = fit_at(rows, places)
    old = np.array(before.ids)[before.labels(rows)]
    overlap = overlap_of(old, fit.labels(rows), len(places), rows if by_place else None)
    published = Published(before.ids, before.centroids if by_place else None)
    identity = match(published, overlap, order_of(fit), before.next_id)
    fit.ids, fit.next_id = identity.ids, identity.next_id
    return fit, identity


def kinds(identity: Identity) -> list[tuple[str, int, tuple[int, ...]]]:
    return [(event.kind, event.cluster, event.others) for event in identity.events]


SQUARE = [(0.0, 0.0), (10.0, 0.0), (0.0, 10.0), (10.0, 10.0)]
SIZES = [400, 300, 200, 100]


def test_first_ids_follow_the_business_order() -> None:
    identity = first_ids([(5.0, 1.0), (80.0, 0.0), (5.0, 2.0), (7.0, 0.0)])
    assert (identity.ids, identity.next_id, identity.note) == ((3, 0, 2, 1), 4, None)
    assert kinds(identity) == [("new", 0, ()), ("new", 1, ()), ("new", 2, ()), ("new", 3, ())]


def test_a_fit_that_cannot_be_compared_gives_ids_that_nobody_had() -> None:
    identity = first_ids([(1.0,), (2.0,)], next_id=7, note="the features of the published clusters are gone")
    assert (identity.ids, identity.next_id) == ((8, 7), 9)
    assert identity.note == "the features of the published clusters are gone"


@pytest.mark.parametrize("by_place", [True, False])
def test_clusters_that_drift_keep_their_ids_over_a_year(by_place: bool) -> None:
    fit = first(users_at(SQUARE, SIZES), SQUARE)
    ids = dict(zip(map(tuple, np.round(fit.centroids, -1)), fit.ids, strict=True))
    for month in range(1, 13):
        # Over the year every group goes farther than the groups lie apart, each in its own direction.
        steps = [(0.9, 0.2), (1.0, 0.0), (0.9, 0.4), (1.1, 0.3)]
        places = [(x + month * a, y + month * b) for (x, y), (a, b) in zip(SQUARE, steps, strict=True)]
        turned = [*places[month % 4 :], *places[: month % 4]]
        fit, identity = refit(fit, users_at(places, SIZES, month), turned, by_place=by_place)
        assert [event.kind for event in identity.events] == ["kept"] * 4
        expected = [ids[float(x), float(y)] for x, y in [*SQUARE[month % 4 :], *SQUARE[: month % 4]]]
        assert list(fit.ids) == expected
        assert fit.next_id == 4


def test_a_shift_of_all_users_changes_no_cluster() -> None:
    fit = first(users_at(SQUARE, SIZES), SQUARE)
    shifted = [(x + 4.5, y + 4.0) for x, y in SQUARE]
    moved, identity = refit(fit, users_at(shifted, SIZES, 1, 0.1), shifted)
    assert moved.ids == fit.ids
    assert {event.kind for event in identity.events} == {"kept"}
    # The same shift of one cluster alone is no shift of all.
    alone = [shifted[0], *SQUARE[1:]]
    moved, identity = refit(fit, users_at(alone, SIZES, 1, 0.1), alone)
    assert moved.ids == (4, *fit.ids[1:])


def test_of_a_cluster_that_splits_the_largest_part_keeps_the_id() -> None:
    fit = first(users_at(SQUARE, SIZES), SQUARE)
    old = dict(zip(SQUARE, fit.ids, strict=True))
    places = [(-2.5, 0.0), (2.5, 0.0), *SQUARE[1:]]
    fit, identity = refit(fit, users_at(places, [150, 250, 300, 200, 100], 1), places)
    assert fit.ids == (4, old[0.0, 0.0], old[10.0, 0.0], old[0.0, 10.0], old[10.0, 10.0])
    assert ("split", old[0.0, 0.0], (4,)) in kinds(identity)
    assert sorted(kind for kind, *_ in kinds(identity)) == ["kept", "kept", "kept", "split"]
    assert fit.next_id == 5


def test_of_parts_that_lie_elsewhere_none_takes_the_id_of_a_smaller_one_that_stayed() -> None:
    places = [(0.0, 0.0), (20.0, 0.0)]
    fit = first(users_at(places, [400, 400]), places)
    old = dict(zip(places, fit.ids, strict=True))
    parts = [(0.0, 14.0), (0.0, 0.0), (20.0, 0.0)]
    fit, identity = refit(fit, users_at(parts, [250, 150, 400], 1), parts)
    assert fit.ids == (2, old[0.0, 0.0], old[20.0, 0.0])
    assert ("split", old[0.0, 0.0], (2,)) in kinds(identity)


def test_clusters_that_merge_keep_the_id_of_the_larger_contributor() -> None:
    fit = first(users_at(SQUARE, SIZES), SQUARE)
    old = dict(zip(SQUARE, fit.ids, strict=True))
    places = [(4.3, 0.0), *SQUARE[2:]]
    rows = users_at(SQUARE, SIZES, 1)
    fit, identity = refit(fit, rows, places)
    assert fit.ids == (old[0.0, 0.0], old[0.0, 10.0], old[10.0, 10.0])
    assert ("merged", old[0.0, 0.0], (old[10.0, 0.0],)) in kinds(identity)
    assert sorted(kind for kind, *_ in kinds(identity)) == ["kept", "kept", "merged"]
    # The id that was given up comes back for nobody.
    fit, identity = refit(fit, users_at(SQUARE, SIZES, 2), SQUARE)
    assert old[10.0, 0.0] not in fit.ids
    assert fit.next_id == 5


def test_one_vanishes_while_another_appears_where_its_users_would_be_counted() -> None:
    # The new group lies in the old one's cell, with all its users, but not at its place.
    fit = first(users_at(SQUARE, SIZES), SQUARE)
    old = dict(zip(SQUARE, fit.ids, strict=True))
    places = [*SQUARE[:3], (10.0, 20.0)]
    fit, identity = refit(fit, users_at(places, SIZES, 1), places)
    assert fit.ids == (old[0.0, 0.0], old[10.0, 0.0], old[0.0, 10.0], 4)
    assert [event for event in identity.events if event.kind != "kept"] == [
        Event("vanished", old[10.0, 10.0], (4,), 100),
        Event("new", 4, (old[10.0, 10.0],), 100),
    ]


def test_other_users_at_the_same_place_are_the_same_cluster() -> None:
    # All of its users left for other groups, and as many came from there: what they are like is what an id stands for.
    fit = first(users_at(SQUARE, SIZES), SQUARE)
    after, identity = refit(fit, users_at(SQUARE, SIZES, 99)[::-1], SQUARE)
    assert after.ids == fit.ids
    assert {event.kind for event in identity.events} == {"kept"}


def test_a_cluster_of_users_that_were_apart_is_new_and_one_whose_users_are_apart_now_is_gone() -> None:
    old = np.repeat([0, 1, APART], [50, 30, 20])
    new = np.repeat([1, APART, 0], [50, 30, 20])
    identity = match(Published((0, 1)), overlap_of(old, new, 2), [(1.0,), (2.0,)], 2)
    assert identity.ids == (2, 0)
    assert identity.events == (
        Event("kept", 0, (), 50),
        Event("vanished", 1, (APART,), 30),
        Event("new", 2, (APART,), 20),
    )


@given(st.permutations(range(4)), st.integers(0, 3))
def test_a_permuted_start_never_permutes_ids(order: list[int], seed: int) -> None:
    fit = first(users_at(SQUARE, SIZES), SQUARE)
    # One group splits, one is gone, one appears, so that ids are given too.
    places = [(-2.5, 0.0), (2.5, 0.0), (0.0, 10.0), (10.0, 21.0)]
    rows = users_at(places, [200, 200, 200, 100], seed)
    straight, events = refit(fit, rows, places)
    turned, again = refit(fit, rows, [places[place] for place in order])
    assert [straight.ids[place] for place in order] == list(turned.ids)
    assert events.events == again.events
    one = first(rows, places)
    other = first(rows, [places[place] for place in order])
    assert [one.ids[place] for place in order] == list(other.ids)


def test_a_rollback_does_not_bring_ids_back() -> None:
    published = first(users_at(SQUARE, SIZES), SQUARE)
    places = [(-2.5, 0.0), (2.5, 0.0), *SQUARE[1:]]
    withdrawn, _ = refit(published, users_at(places, [200, 200, 300, 200, 100], 1), places)
    assert withdrawn.next_id == 5
    # The fit after the rollback continues the first bundle, but the second may have been seen.
    published.next_id = next_free([published.next_id, withdrawn.next_id])
    after, _ = refit(published, users_at(places, [200, 200, 300, 200, 100], 2), places)
    assert 4 not in after.ids
    assert set(after.ids) - set(published.ids) == {5}
    assert after.next_id == 6
    assert next_free([]) == 0


def test_an_id_above_the_next_one_is_never_given() -> None:
    identity = match(Published((3, 9)), Overlap(Moves(())), [(1.0,), (2.0,), (0.0,)], 0)
    assert (identity.ids, identity.next_id) == ((11, 10, 12), 13)
    assert [(event.kind, event.cluster, event.others) for event in identity.events][:2] == [
        ("vanished", 3, ()),
        ("vanished", 9, ()),
    ]


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 5)), min_size=1, max_size=60))
def test_whatever_moves_ids_are_distinct_and_every_cluster_has_an_event(pairs: list[tuple[int, int]]) -> None:
    array = np.array(pairs)
    published = Published((0, 1, 2, 3, 4))
    identity = match(published, overlap_of(array[:, 0], array[:, 1], 6), [(float(x),) for x in range(6)], 5)
    assert len(set(identity.ids)) == 6
    assert all(cluster < identity.next_id for cluster in identity.ids)
    told = {cluster for event in identity.events for cluster in (event.cluster, *event.others)}
    assert told >= {*identity.ids, *published.ids}
    gone = {event.cluster for event in identity.events if event.kind == "vanished"}
    taken = {other for event in identity.events if event.kind == "merged" for other in event.others}
    assert gone.isdisjoint(identity.ids)
    assert gone | taken == {*published.ids} - {*identity.ids}
