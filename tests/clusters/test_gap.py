from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.cluster import KMeans

from engine.clusters.gap import Gap, gaps
from engine.clusters.units import rounded
from engine.clusters.weighted import Weighted, distinct_rows


def smallest(ks: range, found: tuple[Gap, ...]) -> int:
    for k, this, after in zip(ks, found, found[1:], strict=False):
        if this.gap >= after.gap - after.error:
            return k
    return ks[-1]


def blobs(k: int, n: int = 600, seed: int = 0) -> Weighted:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(2).normal(scale=6, size=(6, 4))[:k]
    return distinct_rows(rounded(centres[random.integers(k, size=n)] + random.normal(scale=0.5, size=(n, 4))))


@pytest.mark.parametrize("k", [3, 4, 6])
def test_the_known_number_of_clusters_has_the_gap(k: int) -> None:
    ks = range(2, 8)
    assert smallest(ks, gaps(blobs(k), ks, 1)) == k


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("seed", [1, 4])
def test_uniform_users_have_no_more_clusters_than_the_fewest(turned: bool, seed: int) -> None:
    # Turned by 45 degrees the box of the plain ranges would have empty corners, and everything a gap.
    rows = np.random.default_rng(seed).random((1500, 2)) * [6.0, 2.0]
    if turned:
        rows = np.column_stack([rows[:, 0] - rows[:, 1], rows[:, 0] + rows[:, 1]])
    ks = range(1, 6)
    found = gaps(distinct_rows(rounded(rows)), ks, seed)
    assert smallest(ks, found) == 1
    assert abs(found[0].gap) < 0.05


@pytest.mark.parametrize("seed", [1, 2])
def test_one_cloud_has_no_more_clusters_than_the_fewest(seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(500, 4))
    for ks in (range(1, 4), range(3, 6)):
        assert smallest(ks, gaps(distinct_rows(rounded(rows)), ks, seed)) == ks[0]


def test_the_gap_is_about_that_of_the_definition() -> None:
    users, random = blobs(4, n=250), np.random.default_rng(9)
    rows = users.rows
    middle, axes = rows.mean(axis=0), np.linalg.svd(rows - rows.mean(axis=0))[2]
    turned = (rows - middle) @ axes.T
    references = [random.uniform(turned.min(axis=0), turned.max(axis=0), size=rows.shape) for _ in range(8)]
    for k, found in zip((2, 4, 5), gaps(users, (2, 4, 5), 1), strict=True):

        def log_within(values: np.ndarray, k: int = k) -> float:
            return math.log(KMeans(k, n_init=2, random_state=0).fit(values).inertia_)

        logs = [log_within(reference) for reference in references]
        assert found.gap == pytest.approx(np.mean(logs) - log_within(rows), abs=0.06)
        assert found.error == pytest.approx(np.std(logs) * math.sqrt(1.1), rel=0.8)


def test_seeds_differ_and_equal_seeds_do_not() -> None:
    users = blobs(3)
    assert gaps(users, [2, 3], 1) == gaps(users, [2, 3], 1, threads=2)
    assert gaps(users, [2, 3], 1) != gaps(users, [2, 3], 2)
    # What is asked for besides has no influence.
    assert gaps(users, [3], 1)[0] == gaps(users, [2, 3], 1)[1]


def test_rows_count_as_often_as_they_occur() -> None:
    users = blobs(3, n=40)
    twice = Weighted(users.rows, users.counts * 2)
    ks = [2, 3]
    for once, double in zip(gaps(users, ks, 1), gaps(twice, ks, 1), strict=True):
        # Half as much noise, on about the same gap.
        assert double.gap == pytest.approx(once.gap, abs=0.3)


def test_users_without_spread_within_clusters_have_no_gap() -> None:
    users = Weighted(np.asfortranarray([[0.0], [1.0], [5.0]]), np.array([30, 20, 10]))
    first, second = gaps(users, [2, 3], 1)
    assert math.isfinite(first.gap)
    assert math.isnan(second.gap)
    assert math.isnan(second.error)
