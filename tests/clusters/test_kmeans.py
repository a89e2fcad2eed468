from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris

from engine.clusters import kernel
from engine.clusters.blocks import ArrayBlocks, Block, FileBlocks, array_blocks, write_block
from engine.clusters.kmeans import KMeansFit, kmeans, lloyd, ordered
from engine.clusters.nearest import nearest
from engine.clusters.seeding import generator, plus_plus
from engine.clusters.units import rounded
from engine.execution.local import LocalExecutor

FOUR = np.array([[0, 0], [0.5, 0], [0.5, 1], [1, 1]], dtype=np.float64)
THREE_ONE = np.array([3.0, 1.0, 1.0, 3.0])


def blobs(n: int = 600, d: int = 5, k: int = 4, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return rounded(random.normal(size=(k, d))[random.integers(k, size=n)] * 6 + random.normal(size=(n, d)))


def bits(fit: KMeansFit) -> tuple[object, ...]:
    return fit.centroids.tobytes(), fit.sizes.tolist(), fit.inertia, fit.iterations, fit.converged


def inertia_of(rows: np.ndarray, centroids: np.ndarray, weights: np.ndarray | None = None) -> float:
    nearest_squared = ((rows[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2).min(axis=1)
    return float((nearest_squared * (1 if weights is None else weights)).sum())


# ------------------------------------------------------------------------------------------------ published small cases


def test_weighted_case_of_scikit_learn() -> None:
    fit = lloyd(array_blocks(FOUR, THREE_ONE), FOUR[[0, 3]])
    assert nearest(FOUR, fit.centroids)[0].tolist() == [0, 0, 1, 1]
    assert fit.inertia == pytest.approx(0.375)
    np.testing.assert_allclose(fit.centroids, [[0.125, 0], [0.875, 1]])
    assert fit.sizes.tolist() == [4, 4]
    assert fit.iterations == 2
    assert fit.converged


def test_empty_start_of_scikit_learn() -> None:
    fit = lloyd(array_blocks(FOUR), np.array([[0.5, 0.5], [3, 3]]))
    assert fit.inertia == pytest.approx(0.25)
    np.testing.assert_allclose(ordered(fit).centroids, [[0.25, 0], [0.75, 1]])
    assert fit.sizes.tolist() == [2, 2]
    assert fit.iterations == KMeans(2, init=[[0.5, 0.5], [3, 3]], n_init=1).fit(FOUR).n_iter_


def test_iris_as_published() -> None:
    # In millimetres, so that no coordinate is rounded.
    fit = kmeans(np.rint(load_iris().data * 10), 3, seed=1, n_init=10)
    assert fit.inertia / 100 == pytest.approx(78.851441426, abs=5e-10)
    assert sorted(fit.sizes.tolist()) == [38, 50, 62]


def test_six_points_of_spark() -> None:
    tenths = np.repeat([[0.0], [1], [2], [90], [91], [92]], 3, axis=1)
    fit = kmeans(tenths, 2, seed=1)
    assert (fit.centroids / 10).tolist() == [[0.1] * 3, [9.1] * 3]
    assert fit.inertia / 100 == 0.12


@pytest.mark.parametrize("seed", range(6))
def test_iterations_agree_with_scikit_learn(seed: int) -> None:
    rows = blobs(seed=seed)
    weights = np.random.default_rng(seed).integers(1, 5, len(rows)).astype(np.float64)
    start = rows[:5]
    ours = lloyd(array_blocks(rows, weights), start, tol=0, max_iter=300)
    theirs = KMeans(5, init=start, n_init=1, tol=0, algorithm="lloyd").fit(rows, sample_weight=weights)
    assert ours.iterations == theirs.n_iter_
    np.testing.assert_allclose(ours.centroids, theirs.cluster_centers_, rtol=1e-10)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-12)


# ------------------------------------------------------------------------------------------------------ weights, blocks

# Quarters are whole units; with thirds the coordinates are rounded in the sums.
quarters = st.integers(-12, 12).map(lambda value: value / 4)
thirds = st.integers(-12, 12).map(lambda value: value / 3)
points = st.one_of(
    st.lists(st.tuples(some, some, st.integers(1, 3)), min_size=5, max_size=40) for some in (quarters, thirds)
)


@given(points, st.lists(st.integers(0, 40), max_size=4), st.randoms(use_true_random=False), st.integers(0, 9))
def test_no_cut_no_order_and_no_place_of_the_rows_changes_a_bit(
    folder: Path, points: list[tuple[float, float, int]], cuts: list[int], random: object, far: int
) -> None:
    start = np.array([[-1.0, 0.0], [2.0, 0.5], [1.0, -2.0], [float(far), 9.0]])
    values = np.array(points)
    repeated = np.repeat(values[:, :2], values[:, 2].astype(int), axis=0)
    expected = bits(lloyd(array_blocks(repeated), start))
    assert bits(lloyd(array_blocks(values[:, :2], values[:, 2]), start)) == expected

    order = list(range(len(repeated)))
    random.shuffle(order)  # type: ignore[attr-defined]
    parts = np.split(repeated[order], sorted(cuts))
    assert bits(lloyd(ArrayBlocks([Block(part) for part in parts]), start)) == expected
    files = [write_block(part, folder / f"{number}.npy") for number, part in enumerate(parts)]
    for threads in (1, 2):
        assert bits(lloyd(FileBlocks(LocalExecutor(threads=threads), files), start)) == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blocks")


@pytest.mark.parametrize("loads", [True, False])
def test_threads_files_and_the_compiled_loops_change_no_bit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, loads: bool
) -> None:
    rows = blobs(n=20_000, d=6)
    start = np.vstack([rows[:5], [[900.0] * 6]])
    monkeypatch.setattr(kernel, "_SLICE_ROWS", 3000)
    loops = kernel.compiled_loops()
    assert loops is not None
    monkeypatch.setattr(kernel, "_loops_for", lambda *_: loops if loads else None)
    expected = bits(lloyd(array_blocks(rows), start, max_iter=8))
    assert bits(lloyd(array_blocks(rows[::-1], threads=2), start, max_iter=8)) == expected
    files = [write_block(part, folder / f"{number}.npy") for number, part in enumerate(np.split(rows, [7000, 7001]))]
    assert bits(lloyd(FileBlocks(LocalExecutor(threads=2), files), start, max_iter=8)) == expected
    monkeypatch.setattr(kernel, "_loops_for", lambda *_: None)
    assert bits(lloyd(array_blocks(rows), start, max_iter=8)) == expected


def test_a_weighted_fit_equals_the_fit_of_repeated_rows() -> None:
    rows = blobs(n=200)
    weights = np.random.default_rng(2).integers(1, 6, len(rows)).astype(np.float64)
    start = rows[[0, 1, 2, 3]]
    weighted = lloyd(array_blocks(rows, weights), start)
    assert bits(weighted) == bits(lloyd(array_blocks(np.repeat(rows, weights.astype(int), axis=0)), start))


def test_passes_are_reported() -> None:
    seen: list[int] = []
    fit = lloyd(array_blocks(FOUR), FOUR[[0, 3]], on_pass=seen.append)
    assert seen == list(range(1, fit.iterations + 1))


def test_weights_that_are_not_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        kmeans(FOUR, 2, seed=1, weights=np.array([1.0, 0.5, 1.0, 1.0]))


# ------------------------------------------------------------------------------------------ what dask-ml's k-means does


def test_the_first_centre_is_not_always_the_first_row() -> None:
    rows = np.array([[0.0], [1.0], [2.0], [3.0]])
    first = {plus_plus(rows, 1, generator(seed))[0, 0] for seed in range(40)}
    assert first == {0.0, 1.0, 2.0, 3.0}


def test_candidates_count_with_their_weight() -> None:
    rows = np.array([[0.0], [1.0], [10.0], [11.0]])
    fit = kmeans(rows, 2, seed=3, weights=np.array([9.0, 1.0, 1.0, 3.0]))
    assert fit.centroids.tolist() == [[0.1], [10.75]]
    assert fit.sizes.tolist() == [10, 4]


def test_an_empty_cluster_takes_the_farthest_row_and_not_the_origin() -> None:
    rows = np.array([[100.0], [101.0], [102.0], [130.0]])
    fit = lloyd(array_blocks(rows), np.array([[101.0], [1000.0]]))
    assert fit.centroids.tolist() == [[101.0], [130.0]]
    assert fit.sizes.tolist() == [3, 1]


def test_differences_that_cancel_out_have_an_inertia() -> None:
    rows = np.array([[-1.0, 2.0], [1.0, -2.0], [-3.0, 0.0], [3.0, 0.0]])
    assert lloyd(array_blocks(rows), np.array([[0.0, 0.0]])).inertia == 5 + 5 + 9 + 9


def test_inertia_is_of_squares_where_the_centroids_still_move() -> None:
    rows = np.array([[0.0], [4.0], [8.0], [50.0], [60.0]])
    fit = lloyd(array_blocks(rows), np.array([[0.0], [8.0]]), max_iter=1)
    assert not fit.converged
    assert fit.centroids.tolist() == [[2.0], [(8 + 50 + 60) / 3]]
    assert fit.inertia == pytest.approx(inertia_of(rows, fit.centroids), rel=1e-12)
    assert fit.inertia > 500


# ------------------------------------------------------------------------------------------------------- empty clusters


@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 2, 3]])
def test_of_equally_far_places_the_lexicographically_first_is_taken(cuts: list[int]) -> None:
    rows = np.array([[0.0], [4.0], [-4.0], [0.0]])
    blocks = ArrayBlocks([Block(part) for part in np.split(rows, cuts)])
    fit = lloyd(blocks, np.array([[0.0], [99.0]]), max_iter=1)
    assert fit.centroids[1].tolist() == [-4.0]


def test_empty_clusters_take_different_places_with_all_their_rows() -> None:
    rows = np.array([[0.0], [1.0], [50.0], [50.0], [40.0], [1.0]])
    fit = lloyd(array_blocks(rows), np.array([[0.5], [1e3], [1e3]]), max_iter=1)
    assert fit.centroids.ravel().tolist() == [np.mean([0, 1, 1]).item(), 50, 40]
    assert fit.sizes.tolist() == [3, 2, 1]


def test_several_empty_clusters_take_several_rows() -> None:
    rows = np.array([[0.0], [1.0], [50.0], [80.0]])
    fit = lloyd(array_blocks(rows), np.array([[0.5], [1e3], [1e4]]))
    assert ordered(fit).centroids.tolist() == [[0.5], [50.0], [80.0]]


def test_the_only_row_of_a_cluster_is_not_taken_from_it() -> None:
    rows = np.array([[0.0], [1.0], [3.0], [100.0]])
    fit = lloyd(array_blocks(rows), np.array([[0.0], [60.0], [1e6]]), max_iter=1)
    assert fit.centroids.tolist() == [[0.5], [100.0], [3.0]]


def test_a_row_without_weight_founds_no_cluster() -> None:
    rows = np.array([[0.0], [1.0], [7.0], [500.0]])
    fit = lloyd(array_blocks(rows, np.array([1.0, 1.0, 1.0, 0.0])), np.array([[0.5], [1e6]]))
    assert fit.centroids.tolist() == [[0.5], [7.0]]


def test_an_empty_cluster_keeps_its_place_when_every_row_sits_on_a_centroid() -> None:
    fit = lloyd(array_blocks(np.array([[1.0], [1.0]])), np.array([[1.0], [5.0]]))
    assert fit.centroids.tolist() == [[1.0], [5.0]]
    assert fit.sizes.tolist() == [2, 0]
    assert fit.inertia == 0


@pytest.mark.parametrize("seed", range(5))
def test_refilled_clusters_agree_with_scikit_learn(seed: int) -> None:
    rows = blobs(n=80, d=3, seed=seed)
    start = np.vstack([rows[:3], [[1e3] * 3], [[-1e3] * 3]])
    ours = lloyd(array_blocks(rows), start, tol=0)
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
    weights = np.random.default_rng(1).integers(1, 9, len(rows)).astype(np.float64)
    fit = lloyd(array_blocks(rows, weights), rows[:6], max_iter=max_iter, tol=tol)
    assert fit.inertia == pytest.approx(inertia_of(rows, fit.centroids, weights), rel=1e-12)
    labels, _ = nearest(rows, fit.centroids)
    np.testing.assert_allclose(fit.sizes, np.bincount(labels, weights, 6), rtol=1e-12)
    assert fit.iterations <= max_iter
    assert fit.converged or fit.iterations == max_iter


def test_inertia_never_rises() -> None:
    rows = blobs(seed=4)
    costs = [lloyd(array_blocks(rows), rows[:6], max_iter=steps, tol=0).inertia for steps in range(12)]
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
    fit = lloyd(array_blocks(FOUR), FOUR[[3, 1, 0]])
    by_centroid = ordered(fit)
    assert by_centroid.centroids.tolist() == sorted(fit.centroids.tolist())
    by_key = ordered(fit, lambda centroids: -centroids[:, 1])
    assert by_key.centroids.tolist() == sorted(fit.centroids.tolist(), key=lambda c: (-c[1], c))
    for other in (by_centroid, by_key):
        sizes = np.bincount(nearest(FOUR, other.centroids)[0], minlength=3)
        assert other.sizes.tolist() == sizes.tolist()
