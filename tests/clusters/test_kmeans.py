from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris

from engine.clusters.kmeans import Block, block_statistics, kmeans, lloyd, merge_statistics, ordered
from engine.clusters.nearest import nearest

FOUR = np.array([[0, 0], [0.5, 0], [0.5, 1], [1, 1]], dtype=np.float64)
THREE_ONE = np.array([3.0, 1.0, 1.0, 3.0])


def blobs(n: int = 600, d: int = 5, k: int = 4, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(k, d))[random.integers(k, size=n)] * 6 + random.normal(size=(n, d))


def inertia_of(rows: np.ndarray, centroids: np.ndarray, weights: np.ndarray | None = None) -> float:
    nearest_squared = ((rows[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2).min(axis=1)
    return float((nearest_squared * (1 if weights is None else weights)).sum())


# ------------------------------------------------------------------------------------------------ published small cases


def test_weighted_case_of_scikit_learn() -> None:
    fit = lloyd([Block(FOUR, THREE_ONE)], FOUR[[0, 3]])
    assert nearest(FOUR, fit.centroids)[0].tolist() == [0, 0, 1, 1]
    assert fit.inertia == pytest.approx(0.375)
    np.testing.assert_allclose(fit.centroids, [[0.125, 0], [0.875, 1]])
    assert fit.sizes.tolist() == [4, 4]
    assert fit.iterations == 2
    assert fit.converged


def test_empty_start_of_scikit_learn() -> None:
    fit = lloyd([Block(FOUR)], np.array([[0.5, 0.5], [3, 3]]))
    assert fit.inertia == pytest.approx(0.25)
    np.testing.assert_allclose(ordered(fit).centroids, [[0.25, 0], [0.75, 1]])
    assert fit.sizes.tolist() == [2, 2]
    assert fit.iterations == KMeans(2, init=[[0.5, 0.5], [3, 3]], n_init=1).fit(FOUR).n_iter_


def test_iris_as_published() -> None:
    fit = kmeans(load_iris().data, 3, seed=1, n_init=10)
    assert fit.inertia == pytest.approx(78.851441426, abs=5e-9)
    assert sorted(fit.sizes.tolist()) == [38, 50, 62]


def test_six_points_of_spark() -> None:
    rows = np.repeat([[0], [0.1], [0.2], [9], [9.1], [9.2]], 3, axis=1)
    fit = kmeans(rows, 2, seed=1)
    np.testing.assert_allclose(fit.centroids, [[0.1] * 3, [9.1] * 3], rtol=1e-14)
    assert fit.inertia == pytest.approx(0.12, rel=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_iterations_agree_with_scikit_learn(seed: int) -> None:
    rows = blobs(seed=seed)
    weights = np.random.default_rng(seed).integers(1, 5, len(rows)).astype(np.float64)
    start = rows[:5]
    ours = lloyd([Block(rows, weights)], start, tol=0, max_iter=300)
    theirs = KMeans(5, init=start, n_init=1, tol=0, algorithm="lloyd").fit(rows, sample_weight=weights)
    assert ours.iterations == theirs.n_iter_
    np.testing.assert_allclose(ours.centroids, theirs.cluster_centers_, rtol=1e-10)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-12)


# ------------------------------------------------------------------------------------------------------ weights, blocks

whole = st.integers(-8, 8).map(float)


@given(st.lists(st.tuples(whole, whole, st.integers(1, 4)), min_size=2, max_size=30), st.integers(1, 5))
def test_weights_equal_repeated_rows_and_blocks_add_up(points: list[tuple[float, float, int]], cut: int) -> None:
    rows = np.array([[x, y] for x, y, _ in points])
    weights = np.array([float(w) for _, _, w in points])
    repeated = np.repeat(rows, weights.astype(int), axis=0)
    centroids = np.array([[-3.0, 0.0], [2.0, 2.0], [2.0, -4.0]])
    together = block_statistics(Block(rows, weights), centroids)
    split = merge_statistics(
        block_statistics(Block(rows[part], weights[part]), centroids) for part in (slice(cut), slice(cut, None))
    )
    for other in (block_statistics(Block(repeated), centroids), split):
        assert other.weights.tolist() == together.weights.tolist()
        assert other.sums.tolist() == together.sums.tolist()
        assert other.costs.tolist() == together.costs.tolist()


def test_a_weighted_fit_equals_the_fit_of_repeated_rows() -> None:
    rows = np.round(blobs(n=200))
    weights = np.random.default_rng(2).integers(1, 6, len(rows)).astype(np.float64)
    start = rows[[0, 1, 2, 3]]
    weighted = lloyd([Block(rows, weights)], start)
    repeated = lloyd([Block(np.repeat(rows, weights.astype(int), axis=0))], start)
    assert weighted.centroids.tolist() == repeated.centroids.tolist()
    assert weighted.sizes.tolist() == repeated.sizes.tolist()
    assert weighted.inertia == pytest.approx(repeated.inertia, rel=1e-13)
    assert weighted.iterations == repeated.iterations


def test_candidates_count_with_their_weight() -> None:
    rows = np.array([[0.0], [1.0], [10.0], [11.0]])
    fit = kmeans(rows, 2, seed=3, weights=np.array([9.0, 1.0, 1.0, 3.0]))
    np.testing.assert_allclose(fit.centroids, [[0.1], [10.75]])
    assert fit.sizes.tolist() == [10, 4]


@pytest.mark.parametrize("cuts", [[300], [1, 2], [100, 200, 550], [0, 600]])
def test_blocks_give_the_same_solution_as_one_array(cuts: list[int]) -> None:
    rows = blobs()
    one = lloyd([Block(rows)], rows[:4])
    many = lloyd([Block(part) for part in np.split(rows, cuts)], rows[:4])
    np.testing.assert_allclose(many.centroids, one.centroids, rtol=1e-12)
    assert many.sizes.tolist() == one.sizes.tolist()
    assert many.iterations == one.iterations


def test_the_same_blocks_give_the_same_bits_and_may_be_read_only() -> None:
    parts = np.split(blobs(), [200, 400])
    for part in parts:
        part.setflags(write=False)
    fits = [lloyd([Block(part) for part in parts], parts[0][:4]) for _ in range(2)]
    assert fits[0].centroids.tobytes() == fits[1].centroids.tobytes()
    assert fits[0].inertia == fits[1].inertia


# ------------------------------------------------------------------------------------------------------- empty clusters


def test_an_empty_cluster_takes_the_farthest_row_and_not_the_origin() -> None:
    rows = np.array([[100.0], [101.0], [102.0], [130.0]])
    fit = lloyd([Block(rows)], np.array([[101.0], [1000.0]]))
    assert fit.centroids.tolist() == [[101.0], [130.0]]
    assert fit.sizes.tolist() == [3, 1]


@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 2, 3]])
def test_of_equally_far_rows_the_first_in_block_order_is_taken(cuts: list[int]) -> None:
    rows = np.array([[0.0], [4.0], [-4.0], [0.0]])
    fit = lloyd([Block(part) for part in np.split(rows, cuts)], np.array([[0.0], [99.0]]), max_iter=1)
    assert fit.centroids[1].tolist() == [4.0]


def test_several_empty_clusters_take_several_rows() -> None:
    rows = np.array([[0.0], [1.0], [50.0], [80.0]])
    fit = lloyd([Block(rows)], np.array([[0.5], [1e3], [1e4]]))
    assert ordered(fit).centroids.tolist() == [[0.5], [50.0], [80.0]]


def test_the_only_row_of_a_cluster_is_not_taken_from_it() -> None:
    rows = np.array([[0.0], [1.0], [3.0], [100.0]])
    fit = lloyd([Block(rows)], np.array([[0.0], [60.0], [1e6]]), max_iter=1)
    assert fit.centroids.tolist() == [[0.5], [100.0], [3.0]]


def test_a_row_without_weight_founds_no_cluster() -> None:
    rows = np.array([[0.0], [1.0], [7.0], [500.0]])
    fit = lloyd([Block(rows, np.array([1.0, 1.0, 1.0, 0.0]))], np.array([[0.5], [1e6]]))
    assert fit.centroids.tolist() == [[0.5], [7.0]]


def test_an_empty_cluster_keeps_its_place_when_every_row_sits_on_a_centroid() -> None:
    fit = lloyd([Block(np.array([[1.0], [1.0]]))], np.array([[1.0], [5.0]]))
    assert fit.centroids.tolist() == [[1.0], [5.0]]
    assert fit.sizes.tolist() == [2, 0]
    assert fit.inertia == 0


@pytest.mark.parametrize("seed", range(5))
def test_refilled_clusters_agree_with_scikit_learn(seed: int) -> None:
    rows = blobs(n=80, d=3, seed=seed)
    start = np.vstack([rows[:3], [[1e3] * 3], [[-1e3] * 3]])
    ours = lloyd([Block(rows)], start, tol=0)
    theirs = KMeans(5, init=start, n_init=1, tol=0, algorithm="lloyd").fit(rows)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-10)
    np.testing.assert_allclose(
        ordered(ours).centroids, np.array(sorted(theirs.cluster_centers_.tolist())), rtol=1e-9, atol=1e-12
    )


# ---------------------------------------------------------------------------------------------------- inertia, stopping


@pytest.mark.parametrize("max_iter", [0, 1, 2, 3, 100])
@pytest.mark.parametrize("tol", [0, 1e-6, 10.0])
def test_inertia_and_sizes_belong_to_the_centroids_returned(max_iter: int, tol: float) -> None:
    rows = blobs(seed=9)
    weights = np.random.default_rng(1).random(len(rows)) + 0.1
    fit = lloyd([Block(rows, weights)], rows[:6], max_iter=max_iter, tol=tol)
    assert fit.inertia == pytest.approx(inertia_of(rows, fit.centroids, weights), rel=1e-12)
    labels, _ = nearest(rows, fit.centroids)
    np.testing.assert_allclose(fit.sizes, np.bincount(labels, weights, 6), rtol=1e-12)
    assert fit.iterations <= max_iter
    assert fit.converged or fit.iterations == max_iter


def test_inertia_never_rises() -> None:
    rows = blobs(seed=4)
    costs = [lloyd([Block(rows)], rows[:6], max_iter=steps, tol=0).inertia for steps in range(12)]
    assert costs == sorted(costs, reverse=True)


# ----------------------------------------------------------------------------------------------------- starts and order


def test_more_starts_are_never_worse() -> None:
    rows = blobs(k=9, seed=5)
    inertias = [kmeans(rows, 9, seed=2, n_init=n).inertia for n in (1, 2, 4, 8)]
    assert inertias == sorted(inertias, reverse=True)


def test_planted_clusters_are_recovered_with_the_same_ids_from_any_seed() -> None:
    centres = np.array([[-9.0, 3.0], [-9.0, 9.0], [0.0, 0.0], [8.0, -8.0]])
    random = np.random.default_rng(8)
    rows = np.repeat(centres, 100, axis=0) + random.normal(scale=0.2, size=(400, 2))
    for seed in range(5):
        labels, _ = nearest(rows, kmeans(rows, 4, seed=seed).centroids)
        groups = [set(group.tolist()) for group in np.split(labels, 4)]
        first_two = [groups[0], groups[1]]
        assert sorted(map(min, first_two)) == [0, 1]
        assert groups[2:] == [{2}, {3}]
        assert all(len(group) == 1 for group in groups)


def test_starts_on_a_sample_lead_to_the_solution_of_all_rows() -> None:
    rows = blobs(n=5000, seed=3)
    sampled, full = (kmeans(rows, 4, seed=1, start_rows=size) for size in (400, 10**6))
    np.testing.assert_allclose(sampled.centroids, full.centroids, atol=1e-3)
    assert sampled.sizes.sum() == 5000


def test_a_row_that_outweighs_all_others_leaves_enough_to_start_from() -> None:
    rows = np.arange(1000.0)[:, np.newaxis]
    weights = np.ones(1000)
    weights[500] = 1e9
    fit = kmeans(rows, 5, seed=1, weights=weights, start_rows=100)
    assert (fit.sizes > 0).all()


def test_clusters_are_ordered_by_key_then_centroid() -> None:
    fit = lloyd([Block(FOUR)], FOUR[[3, 1, 0]])
    by_centroid = ordered(fit)
    assert by_centroid.centroids.tolist() == sorted(fit.centroids.tolist())
    by_key = ordered(fit, lambda centroids: -centroids[:, 1])
    assert by_key.centroids.tolist() == sorted(fit.centroids.tolist(), key=lambda c: (-c[1], c))
    for other in (by_centroid, by_key):
        sizes = np.bincount(nearest(FOUR, other.centroids)[0], minlength=3)
        assert other.sizes.tolist() == sizes.tolist()
