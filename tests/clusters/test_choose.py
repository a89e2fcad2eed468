from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from engine.clusters.choose import Choice, choose_k
from engine.clusters.nearest import nearest
from engine.clusters.sampled import ROWS_AT_MOST
from engine.clusters.units import rounded
from engine.config_learning import Clusters
from engine.errors import DataError


def planted(k: int, n: int = 300, spread: float = 0.3, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    angles = 2 * np.pi * np.arange(k) / k
    centres = 8 * np.column_stack([np.cos(angles), np.sin(angles)])
    return rounded(centres[random.integers(k, size=n)] + random.normal(scale=spread, size=(n, 2)))


def choose(rows: np.ndarray, seed: int = 1, **settings: Any) -> Choice:
    return choose_k(rows, Clusters(**{"k_min": 2, "k_max": 7, **settings}), seed)


@pytest.mark.parametrize("k", [3, 4, 6])
def test_planted_number_of_clusters_is_found(k: int) -> None:
    assert choose(planted(k)).k == k


def test_the_curve_holds_every_k_and_its_true_figures() -> None:
    rows = planted(4, spread=2.0)
    choice = choose(rows, k_max=6, tolerance=0)
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


@pytest.mark.parametrize("tolerance", [0.0, 0.10, 0.99])
def test_the_smallest_k_near_the_best_is_chosen(tolerance: float) -> None:
    choice = choose(planted(8, spread=1.2), k_max=9, tolerance=tolerance)
    best = max(point.silhouette for point in choice.curve)
    near = [point.k for point in choice.curve if point.silhouette >= best * (1 - tolerance)]
    assert choice.k == min(near)


def test_a_slightly_better_silhouette_is_not_worth_another_cluster() -> None:
    # Two far groups of which one falls into two: three clusters score higher, but within 10 %.
    random = np.random.default_rng(3)
    centres = np.repeat([[0.0, 0.0], [40.0, 0.0], [50.0, 0.0]], [200, 100, 100], axis=0)
    rows = centres + random.normal(scale=0.5, size=(400, 2))
    assert choose(rows, k_max=5, tolerance=0).k == 3
    assert choose(rows, k_max=5).k == 2


def test_row_order_changes_no_bit() -> None:
    rows = np.round(planted(5, n=900, spread=1.5), 1) + 0.0
    shuffled = np.random.default_rng(1).permutation(rows)
    one, other = (choose_k(x, Clusters(k_min=2, k_max=6), 7, start_rows=300) for x in (rows, shuffled))
    assert one.curve == other.curve
    assert one.fit.centroids.tobytes() == other.fit.centroids.tobytes()


def test_seeds_may_differ_and_ids_hold() -> None:
    rows = planted(4)
    labels = [nearest(rows, choose(rows, seed, k_max=6).fit.centroids)[0].tolist() for seed in (1, 2, 3)]
    assert labels[0] == labels[1] == labels[2]


@pytest.mark.parametrize(("distinct", "tried"), [(2, [2]), (3, [2, 3]), (5, [2, 3, 4, 5])])
def test_k_stops_at_the_number_of_distinct_rows(distinct: int, tried: list[int]) -> None:
    rows = np.repeat(np.arange(float(distinct)), 20)[:, np.newaxis] ** 2
    choice = choose(rows)
    assert [point.k for point in choice.curve] == tried
    assert choice.curve[-1].inertia == pytest.approx(0, abs=1e-20)
    assert choice.curve[-1].silhouette == pytest.approx(1)


def test_two_users_are_enough_for_two_clusters() -> None:
    choice = choose(np.array([[0.0], [1.0]]))
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
        choose(np.array(values)[:, np.newaxis], k_min=k_min)
    assert raised.value.code == code
    assert all(word in raised.value.message for word in words)
    assert "clusters.enabled = false" in raised.value.hint


@pytest.mark.parametrize("rule", ["silhouette", "elbow", "gap"])
@pytest.mark.parametrize("algorithm", ["kmeans", "mixture", "ward"])
def test_each_rule_finds_the_planted_number_with_each_algorithm(algorithm: str, rule: str) -> None:
    centres = np.array([[0.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]])
    random = np.random.default_rng(3)
    rows = rounded(centres[random.integers(4, size=300)] + random.normal(scale=0.4, size=(300, 3)))
    choice = choose(rows, algorithm=algorithm, choose=rule, k_max=6)
    assert choice.k == 4
    assert [point.k for point in choice.curve] == [2, 3, 4, 5, 6]
    assert len(choice.fit.sizes) == 4
    assert choice.quality is not None
    point = choice.curve[2]
    assert point.silhouette == choice.quality.silhouette
    assert point.inertia == pytest.approx(choice.quality.within, rel=1e-6)
    assert point.gap is not None
    assert point.gap_error is not None
    assert (point.bic is None) == (algorithm != "mixture")
    expected = silhouette_score(choice.users.rows, choice.labels, metric="sqeuclidean")
    assert point.silhouette == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_bic_finds_the_planted_number_of_components(covariance: str) -> None:
    choice = choose(planted(4, spread=0.8), algorithm="mixture", covariance=covariance, choose="bic", k_max=6)
    assert choice.k == 4
    assert [point.k for point in choice.curve if point.bic is not None] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("algorithm", ["dbscan", "hdbscan"])
def test_density_finds_its_number_and_the_curve_has_one_point(algorithm: str) -> None:
    choice = choose(planted(3), algorithm=algorithm, k_min=5, k_max=6)
    assert choice.k == 3
    assert [point.k for point in choice.curve] == [3]
    assert choice.curve[0].gap is None
    assert choice.notes == ()
    clustered = choice.labels >= 0
    rows = np.repeat(choice.users.rows[clustered], choice.users.counts[clustered], axis=0)
    labels = np.repeat(choice.labels[clustered], choice.users.counts[clustered])
    assert choice.curve[0].silhouette == pytest.approx(silhouette_score(rows, labels, metric="sqeuclidean"), rel=1e-9)


def test_one_dense_place_is_one_cluster_without_figures() -> None:
    rows = planted(1, n=200)
    (point,) = choose(rows, algorithm="dbscan", radius=1.0).curve
    assert (point.k, point.silhouette, point.calinski_harabasz, point.davies_bouldin) == (1, None, None, None)
    assert point.smallest_share == 1.0
    assert point.inertia == pytest.approx(((rows - rows.mean(axis=0)) ** 2).sum(), rel=1e-9)


@pytest.mark.parametrize("algorithm", ["mixture", "ward", "hdbscan"])
def test_row_order_changes_no_bit_of_other_algorithms(algorithm: str) -> None:
    rows = planted(4, n=300, spread=1.0)
    one, other = (choose(x, algorithm=algorithm, k_max=4) for x in (rows, rows[::-1]))
    assert one.curve == other.curve
    assert one.labels.tolist() == other.labels.tolist()


def test_algorithms_that_read_fewer_users_choose_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROWS_AT_MOST, "ward", 150)
    choice = choose(planted(4), algorithm="ward", k_max=5)
    assert choice.users.users == 150
    assert len(choice.labels) == len(choice.users.rows)
    assert choice.k == 4


def test_a_start_on_few_rows_ends_at_the_mixture_of_all() -> None:
    rows = planted(3, n=900, spread=1.0)
    settings = Clusters(k_min=3, k_max=3, algorithm="mixture")
    few, everyone = (choose_k(rows, settings, 1, start_rows=size) for size in (200, 20_000))
    assert few.curve[0].bic == pytest.approx(everyone.curve[0].bic, rel=1e-3)
    assert few.fit.sizes.sum() == 900


def test_a_tiny_cluster_is_not_taken_unless_every_k_has_one() -> None:
    # Two groups, and five users far from both.
    random = np.random.default_rng(1)
    groups = np.repeat([[0.0, 0.0], [6.0, 0.0]], 500, axis=0) + random.normal(scale=0.5, size=(1000, 2))
    rows = rounded(np.vstack([groups, random.normal(scale=0.1, size=(5, 2)) + np.array([0.0, 30.0])]))
    free = choose(rows, k_max=4, min_share=0, tolerance=0)
    assert (free.k, free.curve[1].smallest_share) == (3, 5 / 1005)
    bounded = choose(rows, k_max=4, min_share=0.01, tolerance=0)
    assert bounded.curve == free.curve
    assert (bounded.k, bounded.notes) == (2, ())
    every = choose(rows, k_min=3, k_max=4, min_share=0.01, tolerance=0)
    assert every.k == 3
    assert "clusters.min_share" in every.notes[0]


def test_a_range_beyond_the_distinct_users_is_noted() -> None:
    rows = np.repeat(np.arange(4.0), 20)[:, np.newaxis] ** 2
    assert "more than 4 clusters were not tried" in choose(rows).notes[0]


def test_threads_change_no_bit() -> None:
    rows = planted(4, n=3000)
    one, two = (choose_k(rows, Clusters(k_max=4), 1, threads=threads) for threads in (1, 2))
    assert one.curve == two.curve
