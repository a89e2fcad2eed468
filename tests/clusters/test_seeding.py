from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from engine.clusters.seeding import _draw, generator, plus_plus
from engine.errors import DataError


def first_rows(rows: np.ndarray, weights: np.ndarray | None, draws: int) -> Counter[float]:
    return Counter(float(plus_plus(rows, 1, generator(seed), weights)[0, 0]) for seed in range(draws))


def test_the_first_centroid_is_any_row_in_proportion_to_its_weight() -> None:
    rows = np.array([[0.0], [1.0], [2.0], [3.0]])
    seen = first_rows(rows, np.array([1.0, 0.0, 2.0, 7.0]), 400)
    assert seen[1.0] == 0
    assert seen[0.0] == pytest.approx(40, abs=25)
    assert seen[2.0] == pytest.approx(80, abs=32)
    assert seen[3.0] == pytest.approx(280, abs=40)


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53, 1.0])
def test_rows_without_mass_are_never_drawn(uniform: float) -> None:
    drawn = _draw(np.array([0.0, 0.1, 0.0, 0.2, 0.0]), np.array([uniform]))
    assert drawn.tolist() == [1 if uniform == 0 else 3]


def test_without_weights_every_row_can_be_first() -> None:
    assert set(first_rows(np.array([[0.0], [1.0], [2.0]]), None, 60)) == {0.0, 1.0, 2.0}


def test_weights_draw_like_repeated_rows() -> None:
    rows = np.array([[0.0], [1.0], [3.0], [4.0], [6.0], [9.0]])
    weights = np.array([30.0, 1.0, 2.0, 1.0, 9.0, 1.0])
    repeated = np.repeat(rows, weights.astype(int), axis=0)
    for seed in range(50):
        ours = plus_plus(rows, 3, generator(seed), weights)
        assert ours.tolist() == plus_plus(repeated, 3, generator(seed)).tolist()


def test_later_centroids_are_far_from_those_before() -> None:
    rows = np.array([[0.0], [0.001], [0.002], [100.0], [200.0]])
    for seed in range(30):
        chosen = sorted(plus_plus(rows, 3, generator(seed))[:, 0].tolist())
        assert chosen[0] < 1
        assert chosen[1:] == [100.0, 200.0]


def test_chosen_rows_differ_even_where_most_rows_are_equal() -> None:
    rows = np.array([[0.0]] * 50 + [[1.0], [2.0]])
    for seed in range(20):
        assert sorted(plus_plus(rows, 3, generator(seed))[:, 0].tolist()) == [0.0, 1.0, 2.0]


def test_too_few_distinct_rows_are_refused_with_numbers() -> None:
    with pytest.raises(DataError, match="3 clusters need at least 3 distinct rows, got 2"):
        plus_plus(np.array([[0.0], [1.0], [1.0]]), 3, generator(0))


def test_generators_depend_on_seed_and_path_alone() -> None:
    draws = {generator(*path).random() for path in [(1,), (1, 0), (1, 1), (1, 0, 1), (2,)]}
    assert len(draws) == 5
    assert generator(1, 2).random() == generator(1, 2).random()
