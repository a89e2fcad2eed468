from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from engine.clusters.moves import APART, Moves, churn_reasons, count_moves, merge_moves

LABELS = st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), max_size=40)


def moves_of(pairs: list[tuple[int, int]]) -> Moves:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return count_moves(array[:, 0], array[:, 1])


def test_a_matrix_of_old_by_new_with_those_apart() -> None:
    moves = moves_of([(0, 0), (0, 0), (0, 3), (1, 3), (1, APART), (APART, 0)])
    assert moves.counts == ((-1, 0, 1), (0, 0, 2), (0, 3, 1), (1, -1, 1), (1, 3, 1))
    assert moves.matrix([0, 1, 2, APART], [0, 3, APART]).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert (moves.old_sizes, moves.new_sizes) == ({-1: 1, 0: 3, 1: 2}, {-1: 1, 0: 3, 3: 2})


def test_what_counts_as_moved() -> None:
    # Cluster 0 loses one of three; cluster 1 is gone; one user comes back from being apart.
    moves = moves_of([(0, 0), (0, 0), (0, 3), (1, 3), (1, APART), (APART, 0), (APART, APART), (APART, APART)])
    assert (moves.users, moves.moved) == (8, 4)
    assert moves.moved_share == 0.5


def test_nobody() -> None:
    moves = moves_of([])
    assert (moves.users, moves.moved_share, moves.ari) == (0, 0.0, 1.0)


@given(LABELS)
def test_the_index_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    expected = adjusted_rand_score([old for old, _ in pairs], [new for _, new in pairs]) if pairs else 1.0
    assert moves_of(pairs).ari == pytest.approx(expected, abs=1e-12)


@given(LABELS, st.lists(st.integers(0, 40), max_size=3))
def test_blocks_in_any_cut_and_order_add_up(pairs: list[tuple[int, int]], cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(pairs)) for cut in cuts), len(pairs)]
    parts = [moves_of(pairs[start:end]) for start, end in pairwise(edges)]
    assert merge_moves(parts) == merge_moves(parts[::-1]) == moves_of(pairs)


@given(LABELS)
def test_a_weight_stands_for_so_many_users(pairs: list[tuple[int, int]]) -> None:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    weights = np.arange(len(array)) % 3
    weighted = count_moves(array[:, 0], array[:, 1], weights)
    assert weighted == count_moves(array[:, 0].repeat(weights), array[:, 1].repeat(weights))


def test_new_labels_take_their_ids() -> None:
    moves = moves_of([(5, 0), (5, 1), (7, 1), (7, APART)]).renamed({0: 5, 1: 9})
    assert moves.counts == ((5, 5, 1), (5, 9, 1), (7, -1, 1), (7, 9, 1))


@pytest.mark.parametrize(("limit", "held"), [(0.5, True), (0.75, False), (0.8, False), (1.0, False)])
def test_a_fit_that_moves_more_than_allowed_is_held(limit: float, held: bool) -> None:
    reasons = churn_reasons(moves_of([(0, 0), (0, 1), (1, 0), (2, 0)]), limit)
    assert reasons == (
        ("3 of 4 users (75.0%) would change their cluster; clusters.max_moved allows 50%",) if held else ()
    )


def test_without_anything_to_compare_nothing_is_held() -> None:
    assert churn_reasons(None, 0.1) == ()
