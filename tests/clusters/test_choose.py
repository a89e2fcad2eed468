from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from engine.clusters.choose import choose_k, distinct_rows
from engine.clusters.nearest import nearest
from engine.errors import DataError


def planted(k: int, n: int = 400, spread: float = 0.3, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    angles = 2 * np.pi * np.arange(k) / k
    centres = 8 * np.column_stack([np.cos(angles), np.sin(angles)])
    return centres[random.integers(k, size=n)] + random.normal(scale=spread, size=(n, 2))


@pytest.mark.parametrize("k", [3, 4, 6])
def test_planted_number_of_clusters_is_found(k: int) -> None:
    assert choose_k(planted(k), 2, 8, 1).k == k


def test_the_curve_holds_every_k_and_its_true_figures() -> None:
    rows = planted(4, spread=2.0)
    choice = choose_k(rows, 2, 6, 1, tolerance=0)
    assert [point.k for point in choice.curve] == [2, 3, 4, 5, 6]
    inertias = [point.inertia for point in choice.curve]
    assert inertias == sorted(inertias, reverse=True)
    point = choice.curve[choice.k - 2]
    labels, squared = nearest(rows, choice.fit.centroids)
    assert point.silhouette == pytest.approx(silhouette_score(rows, labels, metric="sqeuclidean"), rel=1e-10)
    assert point.silhouette == max(point.silhouette for point in choice.curve)
    assert point.inertia == choice.fit.inertia == pytest.approx(squared.sum(), rel=1e-12)
    assert point.smallest_share == np.bincount(labels).min() / len(rows)
    assert choice.fit.sizes.tolist() == np.bincount(labels).tolist()


@pytest.mark.parametrize("tolerance", [0.0, 0.05, 0.10, 0.3, 1.0])
def test_the_smallest_k_near_the_best_is_chosen(tolerance: float) -> None:
    choice = choose_k(planted(8, spread=1.2), 2, 9, 1, tolerance=tolerance)
    best = max(point.silhouette for point in choice.curve)
    near = [point.k for point in choice.curve if point.silhouette >= best * (1 - tolerance)]
    assert choice.k == min(near)


def test_a_slightly_better_silhouette_is_not_worth_another_cluster() -> None:
    # Two far groups of which one falls into two: three clusters score higher, but within 10 %.
    random = np.random.default_rng(3)
    centres = np.repeat([[0.0, 0.0], [40.0, 0.0], [50.0, 0.0]], [200, 100, 100], axis=0)
    rows = centres + random.normal(scale=0.5, size=(400, 2))
    assert choose_k(rows, 2, 5, 1, tolerance=0).k == 3
    assert choose_k(rows, 2, 5, 1).k == 2


def test_row_order_changes_no_bit() -> None:
    rows = np.round(planted(5, n=900, spread=1.5), 1) + 0.0
    shuffled = np.random.default_rng(1).permutation(rows)
    one, other = (choose_k(x, 2, 6, 7, start_rows=300) for x in (rows, shuffled))
    assert one.curve == other.curve
    assert one.fit.centroids.tobytes() == other.fit.centroids.tobytes()


def test_seeds_may_differ_and_ids_hold() -> None:
    rows = planted(4)
    labels = [nearest(rows, choose_k(rows, 2, 6, seed).fit.centroids)[0].tolist() for seed in (1, 2, 3)]
    assert labels[0] == labels[1] == labels[2]


@pytest.mark.parametrize("layout", ["C", "F"])
def test_distinct_rows_are_sorted_and_counted(layout: str) -> None:
    rows = np.array([[2, 1], [0, 5], [2, 1], [2, 0], [0, 5], [2, 1]], dtype=np.float64, order=layout)
    distinct, counts = distinct_rows(rows)
    assert distinct.tolist() == [[0, 5], [2, 0], [2, 1]]
    assert counts.tolist() == [2, 1, 3]


@pytest.mark.parametrize(("distinct", "tried"), [(2, [2]), (3, [2, 3]), (5, [2, 3, 4, 5])])
def test_k_stops_at_the_number_of_distinct_rows(distinct: int, tried: list[int]) -> None:
    rows = np.repeat(np.arange(float(distinct)), 20)[:, np.newaxis] ** 2
    choice = choose_k(rows, 2, 8, 1)
    assert [point.k for point in choice.curve] == tried
    assert choice.curve[-1].inertia == pytest.approx(0, abs=1e-20)
    assert choice.curve[-1].silhouette == pytest.approx(1)


def test_two_users_are_enough_for_two_clusters() -> None:
    choice = choose_k(np.array([[0.0], [1.0]]), 2, 8, 1)
    assert choice.fit.sizes.tolist() == [1, 1]
    assert choice.curve[0].silhouette == 0


@pytest.mark.parametrize(
    ("values", "k_min", "code", "words"),
    [
        ([1.0, 2.0] * 9, 3, "clusters-too-few-rows", ["k_min is 3", "18 users", "only 2 different"]),
        ([4.0] * 12, 3, "clusters-all-equal", ["all 12 users are equal"]),
        ([4.0], 2, "clusters-all-equal", ["all 1 users are equal"]),
        ([], 2, "clusters-too-few-rows", ["0 users"]),
    ],
)
def test_users_that_cannot_be_told_apart_are_refused(
    values: list[float], k_min: int, code: str, words: list[str]
) -> None:
    with pytest.raises(DataError) as raised:
        choose_k(np.array(values)[:, np.newaxis], k_min, 8, 1)
    assert raised.value.code == code
    assert all(word in raised.value.message for word in words)
    assert "clusters.enabled = false" in raised.value.hint
