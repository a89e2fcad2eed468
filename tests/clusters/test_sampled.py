from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering
from sklearn.datasets import make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from engine.clusters.sampled import NOISE, ROWS_AT_MOST, Sampled, cut, dbscan, hdbscan, ward_tree
from engine.clusters.units import rounded
from engine.errors import DataError

Algorithm = Callable[[np.ndarray], Sampled]
ALGORITHMS: dict[str, Algorithm] = {
    "ward": lambda rows: cut(ward_tree(rows), 3),
    "dbscan": lambda rows: dbscan(rows, 5),
    "dbscan with a radius": lambda rows: dbscan(rows, 5, radius=0.8),
    "hdbscan": lambda rows: hdbscan(rows, 5),
}
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)


def blobs(n: int = 300, d: int = 2, noise: int = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    kind = random.integers(3, size=n)
    rows = np.eye(3, d)[kind] * 10 + random.normal(size=(n, d)) * 0.6
    far = random.uniform(-40, 40, size=(noise, d)) + 100
    return np.asfortranarray(rounded(np.vstack([rows, far]))), np.append(kind, np.full(noise, NOISE))


def lattice() -> np.ndarray:
    return np.array([(x, y) for x in range(4) for y in range(4)] * 30, dtype=np.float64)


@every_algorithm
def test_planted_blobs_are_found(algorithm: Algorithm) -> None:
    rows, kind = blobs()
    found = algorithm(rows)
    inside = found.labels != NOISE
    assert inside.mean() > 0.9
    assert adjusted_rand_score(kind[inside], found.labels[inside]) == 1
    assert found.sizes.tolist() == np.bincount(found.labels[inside]).tolist()
    for position, centroid in enumerate(found.centroids):
        np.testing.assert_allclose(centroid, rows[found.labels == position].mean(axis=0), rtol=1e-12)
    assert list(map(tuple, found.centroids)) == sorted(map(tuple, found.centroids))


@every_algorithm
@pytest.mark.parametrize("rows", [blobs(noise=9)[0], np.round(blobs()[0]), lattice(), blobs(90, 1)[0]])
def test_the_order_of_the_rows_changes_no_bit(algorithm: Algorithm, rows: np.ndarray) -> None:
    found = algorithm(rows)
    for order in (np.arange(len(rows))[::-1], np.random.default_rng(1).permutation(len(rows))):
        other = algorithm(rows[order])
        assert other.labels.tolist() == found.labels[order].tolist()
        assert other.centroids.tobytes() == found.centroids.tobytes()
        assert other.exemplars == found.exemplars
        assert other.radius == found.radius


@every_algorithm
def test_equal_rows_have_one_label(algorithm: Algorithm) -> None:
    rows = np.round(blobs(600)[0])
    labels = algorithm(rows).labels
    _, which = np.unique(rows, axis=0, return_inverse=True)
    assert all(len(set(labels[which == row].tolist())) == 1 for row in range(which.max() + 1))


@pytest.mark.parametrize("k", [2, 3, 7])
def test_ward_is_that_of_scikit_learn(k: int) -> None:
    rows = rounded(np.random.default_rng(2).normal(size=(200, 4)))
    expected = AgglomerativeClustering(k, linkage="ward").fit_predict(rows)
    found = cut(ward_tree(rows), k)
    assert adjusted_rand_score(expected, found.labels) == 1
    assert len(found.centroids) == k
    assert found.exemplars is None


def test_ward_gives_one_cluster_per_distinct_row_at_most() -> None:
    tree = ward_tree(lattice())
    assert cut(tree, 16).sizes.tolist() == [30] * 16
    with pytest.raises(DataError, match="at least 17 distinct rows, got 16"):
        cut(tree, 17)


@pytest.mark.parametrize("weighted", [False, True])
def test_dbscan_is_that_of_scikit_learn(weighted: bool) -> None:
    rows = rounded(make_moons(400, noise=0.08, random_state=0)[0])
    rows = np.round(rows, 1) if weighted else rows
    rows = rows[np.lexsort(rows.T[::-1])]
    expected = DBSCAN(eps=0.15, min_samples=6).fit_predict(rows)
    found = dbscan(rows, 6, radius=0.15)
    assert adjusted_rand_score(expected, found.labels) == 1
    assert (found.labels == NOISE).tolist() == (expected == NOISE).tolist()
    assert found.radius == 0.15


def test_hdbscan_is_that_of_scikit_learn() -> None:
    rows, _ = blobs(400, 3, noise=20, seed=3)
    expected = HDBSCAN(min_cluster_size=12, min_samples=12, copy=True).fit_predict(rows)
    found = hdbscan(rows, 12)
    assert adjusted_rand_score(expected, found.labels) == 1


def test_moons_that_no_centroid_tells_apart() -> None:
    rows, kind = make_moons(1500, noise=0.05, random_state=1)
    found = dbscan(rounded(rows), 10)
    inside = found.labels != NOISE
    assert inside.mean() > 0.9
    assert adjusted_rand_score(kind[inside], found.labels[inside]) == 1


def test_the_radius_is_a_distance_to_the_nth_row_at_the_knee() -> None:
    rows, _ = blobs(500, noise=4)
    found = dbscan(rows, 8)
    distances = np.sort(NearestNeighbors(n_neighbors=8).fit(rows).kneighbors(rows)[0][:, -1])
    assert np.abs(distances - found.radius).min() < 1e-6
    assert distances[250] < found.radius < distances[-5]


def test_where_most_rows_are_repeated_the_radius_is_that_of_the_distinct_ones() -> None:
    # Each of the 16 places has 30 rows: the 10th row of all is at distance 0, the 10th place is not.
    assert dbscan(lattice(), 10).sizes.tolist() == [480]
    assert dbscan(lattice(), 10, radius=0.5).sizes.tolist() == [30] * 16


def test_rows_far_from_all_others_are_noise() -> None:
    rows, kind = blobs(noise=3, seed=4)
    for found in (dbscan(rows, 5), hdbscan(rows, 5)):
        assert (found.labels[kind == NOISE] == NOISE).all()


@pytest.mark.parametrize(
    "algorithm", [lambda rows: dbscan(rows, 4, radius=1, min_share=0.1), lambda rows: hdbscan(rows, 4, min_share=0.1)]
)
def test_small_clusters_are_noise(algorithm: Algorithm) -> None:
    rows, _ = blobs(300, seed=5)
    small = rounded(np.random.default_rng(6).normal(size=(12, 2)) * 0.1 + 50)
    found = algorithm(np.vstack([rows, small]))
    assert len(found.sizes) == 3
    assert (found.labels[300:] == NOISE).all()


@pytest.mark.parametrize("algorithm", [lambda rows: dbscan(rows, 5), lambda rows: hdbscan(rows, 5)])
def test_every_row_of_a_cluster_is_in_reach_of_its_exemplars(algorithm: Algorithm) -> None:
    rows, _ = blobs(900, 3, seed=7)
    found = algorithm(rows)
    assert found.exemplars is not None
    for position, (points, reach) in enumerate(zip(found.exemplars.points, found.exemplars.reach, strict=True)):
        members = rows[found.labels == position]
        distances = np.sqrt(((members[:, None] - np.array(points)[None]) ** 2).sum(axis=2).min(axis=1))
        assert distances.max() <= reach
        assert set(points) <= set(map(tuple, members.tolist()))
        assert len(points) <= 100


def test_exemplars_of_dbscan_are_cores() -> None:
    rows, _ = blobs(200, seed=8)
    model = DBSCAN(eps=0.5, min_samples=8).fit(rows)
    found = dbscan(rows, 8, radius=0.5)
    assert found.exemplars is not None
    cores = set(map(tuple, rows[model.core_sample_indices_].tolist()))
    assert {point for points in found.exemplars.points for point in points} <= cores
    assert all(0.5 <= reach <= 0.5 * 1.25 for reach in found.exemplars.reach)


@pytest.mark.parametrize(
    ("algorithm", "code"),
    [
        (lambda: dbscan(blobs(60)[0], 50, radius=0.01), "clusters-none-dense"),
        (lambda: hdbscan(blobs(60)[0], 500), "clusters-none-dense"),
        (lambda: dbscan(np.ones((20, 2)), 5), "clusters-too-few-rows"),
        (lambda: hdbscan(np.ones((20, 2)), 5), "clusters-too-few-rows"),
        (lambda: ward_tree(np.ones((20, 2))), "clusters-too-few-rows"),
        (lambda: ward_tree(np.ones((1, 2))), "clusters-too-few-rows"),
    ],
)
def test_what_has_no_clusters_is_refused(algorithm: Callable[[], object], code: str) -> None:
    with pytest.raises(DataError) as raised:
        algorithm()
    assert raised.value.code == code
    assert raised.value.hint


@pytest.mark.parametrize("neighbours", [1, 2, 1000])
def test_two_rows_are_read(neighbours: int) -> None:
    rows = np.array([[0.0], [1.0]])
    assert cut(ward_tree(rows), 2).centroids.tolist() == [[0.0], [1.0]]
    if neighbours <= 2:
        assert len(dbscan(rows, neighbours).sizes) == 1
    else:
        with pytest.raises(DataError, match="all of them are noise"):
            dbscan(rows, neighbours)


def test_samples_are_bounded() -> None:
    assert ROWS_AT_MOST == {"ward": 8_000, "dbscan": 20_000, "hdbscan": 20_000}
