from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clusters.exemplars import AT_MOST, farthest_points, stand_for


def cloud(n: int = 300, d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def cover(rows: np.ndarray, points: np.ndarray) -> float:
    return float(np.sqrt(((rows[:, None] - points[None]) ** 2).sum(axis=2).min(axis=1).max()))


def test_points_by_the_farthest_point_rule() -> None:
    rows = np.array([[0.0], [1.0], [5.0], [9.0], [10.0]])
    assert farthest_points(rows, np.array([5.2]), at_most=3).tolist() == [[5.0], [0.0], [10.0]]
    # 1 and 9 are as far from the others: the first one counts.
    assert farthest_points(rows, np.array([5.2]), at_most=4).tolist() == [[5.0], [0.0], [10.0], [1.0]]


def test_all_different_rows_when_they_are_few() -> None:
    rows = np.repeat(cloud(7), 3, axis=0)
    assert sorted(farthest_points(rows, rows[0]).tolist()) == sorted(cloud(7).tolist())
    assert farthest_points(rows[:1], np.zeros(3)).tolist() == rows[:1].tolist()


def test_no_more_points_than_it_takes_to_be_close() -> None:
    rows = cloud()
    points = farthest_points(rows, rows.mean(axis=0), close=1.0)
    assert cover(rows, points) <= 1 < cover(rows, points[:-1])


@given(k=st.integers(1, 8), seed=st.integers(0, 50))
def test_the_cover_is_at_most_twice_the_best_that_k_rows_could_give(k: int, seed: int) -> None:
    rows = cloud(9, 2, seed)
    found = cover(rows, farthest_points(rows, rows.mean(axis=0), at_most=k))
    best = min(cover(rows, rows[list(chosen)]) for chosen in np.random.default_rng(seed).integers(0, 9, (50, k)))
    assert found <= 2 * best + 1e-12


def test_the_reach_covers_all_rows_of_the_cluster() -> None:
    one, other = cloud(800), cloud(40, seed=1) + 20
    exemplars = stand_for([(one[:600], one, 0.1), (other, other, 0.5)])
    assert [len(points) for points in exemplars.points] == [AT_MOST, 40]
    assert exemplars.reach[0] == pytest.approx(cover(one, np.array(exemplars.points[0])))
    # All rows of the other cluster are exemplars: its radius is left.
    assert exemplars.reach[1] == 0.5
    assert set(exemplars.points[0]) <= set(map(tuple, one[:600].tolist()))
