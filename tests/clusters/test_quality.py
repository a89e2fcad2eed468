from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_samples, silhouette_score

from engine.clusters.blocks import ArrayBlocks, Block, FileBlocks, array_blocks, write_block
from engine.clusters.nearest import nearest
from engine.clusters.quality import assess, assess_blocks, silhouettes
from engine.clusters.units import rounded
from engine.clusters.weighted import distinct_rows
from engine.execution.local import LocalExecutor

# Four squares of ten points each, from scikit-learn's tests.
SQUARES = np.array(
    [[0, 0], [1, 1]] * 5 + [[3, 3], [4, 4]] * 5 + [[0, 4], [1, 3]] * 5 + [[3, 1], [4, 0]] * 5, dtype=np.float64
)
SQUARE_LABELS = np.repeat([0, 1, 2, 3], 10)


def case(n: int, d: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)), random.permutation(np.resize(np.arange(k), n))


@pytest.mark.parametrize(("n", "d", "k"), [(5, 1, 2), (60, 3, 4), (300, 9, 7), (4200, 2, 3)])
def test_figures_agree_with_scikit_learn(n: int, d: int, k: int) -> None:
    rows, labels = case(n, d, k, n)
    quality = assess(rows, labels)
    assert quality.silhouette == pytest.approx(
        silhouette_score(rows, labels, metric="sqeuclidean"), rel=1e-10, abs=1e-13
    )
    assert quality.calinski_harabasz == pytest.approx(calinski_harabasz_score(rows, labels), rel=1e-10)
    assert quality.davies_bouldin == pytest.approx(davies_bouldin_score(rows, labels), rel=1e-10)
    assert quality.smallest_share == np.bincount(labels).min() / n


def test_silhouettes_of_rows_agree_with_scikit_learn() -> None:
    rows, labels = case(200, 4, 5, 1)
    expected = silhouette_samples(rows, labels, metric="sqeuclidean")
    np.testing.assert_allclose(silhouettes(rows, labels), expected, atol=1e-13)


def test_small_examples_of_scikit_learn() -> None:
    quality = assess(SQUARES, SQUARE_LABELS)
    assert quality.calinski_harabasz == pytest.approx(45 * 36 / 15)
    assert quality.davies_bouldin == pytest.approx(2 * np.sqrt(0.5) / 3)


@pytest.fixture(scope="module")
def iris_with_uci_errata() -> np.ndarray:
    rows = load_iris().data.copy()
    rows[[34, 37]] = [4.9, 3.1, 1.5, 0.1]
    return rows


def test_figures_of_spark(iris_with_uci_errata: np.ndarray, reference_data: Path) -> None:
    published = json.loads((reference_data / "published_expectations.json").read_text())["spark_clustering"]
    iris = assess(iris_with_uci_errata, load_iris().target)
    assert iris.silhouette == pytest.approx(published["iris_with_uci_errata"]["silhouette_sqeuclidean"], abs=1e-10)
    assert iris.calinski_harabasz == pytest.approx(published["iris_with_uci_errata"]["calinski_harabasz"], abs=1e-9)
    six = np.repeat([[0], [0.1], [0.2], [9], [9.1], [9.2]], 3, axis=1)
    silhouette = assess(six, np.array([0, 0, 0, 1, 1, 1])).silhouette
    assert silhouette == pytest.approx(published["sample_kmeans_data_k2"]["silhouette_sqeuclidean"], rel=1e-15)


def test_the_only_row_of_a_cluster_has_silhouette_zero() -> None:
    rows = np.array([[0.0], [1.0], [9.0]])
    values = silhouettes(rows, np.array([0, 0, 1]))
    assert values[2] == 0
    assert (values[:2] > 0.9).all()


def test_weights_equal_repeated_rows() -> None:
    rows, labels = case(40, 3, 4, 2)
    weights = np.random.default_rng(2).integers(1, 5, 40)
    weighted = assess(rows, labels, weights.astype(np.float64))
    repeated = assess(np.repeat(rows, weights, axis=0), np.repeat(labels, weights))
    for name in ("silhouette", "calinski_harabasz", "davies_bouldin", "smallest_share"):
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name), rel=1e-12)


def test_one_distinct_row_that_counts_twice_is_not_alone() -> None:
    rows, labels = np.array([[0.0], [1.0], [9.0]]), np.array([0, 0, 1])
    assert silhouettes(rows, labels, np.array([1.0, 1.0, 2.0]))[2] == 1.0


@pytest.mark.parametrize("offset", [1e4, 1e9])
def test_a_common_offset_costs_no_digits(offset: float) -> None:
    rows, labels = case(4000, 2, 3, 5)
    rows = np.round(rows * 2**20) / 2**20
    plain, shifted = assess(rows, labels), assess(rows + offset, labels)
    assert shifted.silhouette == pytest.approx(plain.silhouette, rel=1e-9)
    assert shifted.calinski_harabasz == pytest.approx(plain.calinski_harabasz, rel=1e-9)


def test_equal_rows_in_two_clusters_have_figures_like_scikit_learn() -> None:
    rows, labels = np.ones((4, 2)), np.array([0, 0, 1, 1])
    quality = assess(rows, labels)
    assert (quality.silhouette, quality.calinski_harabasz, quality.davies_bouldin) == (0.0, 1.0, 0.0)


def test_clusters_with_one_mean_are_not_compared_like_scikit_learn() -> None:
    rows, labels = np.array([[-1.0], [1.0], [-2.0], [2.0], [9.0], [10.0]]), np.array([0, 0, 1, 1, 2, 2])
    assert assess(rows, labels).davies_bouldin == pytest.approx(davies_bouldin_score(rows, labels))


def test_empty_clusters_are_left_out() -> None:
    rows, labels = case(30, 2, 3, 6)
    spread, dense = assess(rows, labels * 5), assess(rows, labels)
    assert replace(spread, clusters=()) == replace(dense, clusters=())
    assert [each.cluster for each in spread.clusters] == [0, 5, 10]


def test_one_cluster_has_no_quality() -> None:
    with pytest.raises(ValueError, match="at least 2 clusters"):
        assess(np.ones((3, 1)), np.zeros(3, dtype=np.intp))


# --------------------------------------------------------------------------------------------------------------- blocks


def prepared(n: int = 3000, d: int = 4, k: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(k, d)) * 3
    rows = rounded(np.asfortranarray(centres[random.integers(k, size=n)] + random.normal(size=(n, d))))
    return rows, centres


def cut(rows: np.ndarray, places: list[int]) -> ArrayBlocks:
    return ArrayBlocks(tuple(Block(np.asfortranarray(part)) for part in np.split(rows, places)))


@dataclass(frozen=True)
class ByFirstFeature:
    limit: float

    def __call__(self, block: Block) -> np.ndarray:
        values = block.rows[:, 0]
        return np.where(np.abs(values) > self.limit, -1, np.where(values > 0, 2, 0))


@pytest.mark.parametrize("label", [None, ByFirstFeature(4.0)])
@pytest.mark.parametrize("places", [[1], [700, 701, 2990], [0, 1500, 1500, 3000]])
def test_cuts_order_and_threads_change_no_bit(places: list[int], label: ByFirstFeature | None) -> None:
    rows, centres = prepared()
    whole = assess_blocks(array_blocks(rows), centres, label)
    assert assess_blocks(cut(rows, places), centres, label) == whole
    assert assess_blocks(cut(rows[::-1], places), centres, label) == whole
    assert assess_blocks(array_blocks(rows, threads=3), centres, label) == whole
    users = distinct_rows(np.vstack([rows, rows[:900]]))
    repeated = assess_blocks(array_blocks(np.asfortranarray(np.vstack([rows, rows[:900]]))), centres, label)
    assert assess_blocks(array_blocks(users.rows, users.counts), centres, label) == repeated


def test_files_on_an_executor_give_the_bits_of_memory(tmp_path: Path) -> None:
    rows, centres = prepared()
    files = [write_block(part, tmp_path / f"{i}.npy") for i, part in enumerate(np.split(rows, [10, 2000, 2000]))]
    found = assess_blocks(FileBlocks(LocalExecutor(), files), centres, ByFirstFeature(5.0))
    assert found == assess_blocks(array_blocks(rows), centres, ByFirstFeature(5.0))


@pytest.mark.parametrize("seed", range(3))
def test_figures_over_blocks_agree_with_scikit_learn(seed: int) -> None:
    rows, centres = prepared(n=900, seed=seed)
    labels, _ = nearest(rows, centres)
    quality = assess_blocks(cut(rows, [100, 500]), centres)
    assert quality.silhouette == pytest.approx(silhouette_score(rows, labels, metric="sqeuclidean"), rel=1e-8)
    assert quality.calinski_harabasz == pytest.approx(calinski_harabasz_score(rows, labels), rel=1e-8)
    assert quality.davies_bouldin == pytest.approx(davies_bouldin_score(rows, labels), rel=1e-8)
    assert quality.smallest_share == np.bincount(labels).min() / 900
    samples = silhouette_samples(rows, labels, metric="sqeuclidean")
    for each in quality.clusters:
        own = rows[labels == each.cluster]
        assert each.size == len(own)
        assert each.silhouette == pytest.approx(samples[labels == each.cluster].mean(), rel=1e-8)
        distances = np.sqrt(((own - own.mean(axis=0)) ** 2).sum(axis=1))
        assert each.radius == pytest.approx(distances.mean(), rel=1e-8)
    assert quality.within == pytest.approx(
        sum(((rows[labels == c] - rows[labels == c].mean(axis=0)) ** 2).sum() for c in range(5)), rel=1e-9
    )


def test_memory_and_blocks_agree_where_a_reference_is_far_from_its_rows_too() -> None:
    rows, centres = prepared()
    label = ByFirstFeature(4.0)
    here = assess(rows, label(Block(rows)))
    for reference in (centres[:3], np.zeros((3, 4))):
        found = assess_blocks(array_blocks(rows), reference, label)
        assert [each.cluster for each in found.clusters] == [each.cluster for each in here.clusters] == [0, 2]
        for name in ("silhouette", "calinski_harabasz", "davies_bouldin", "smallest_share", "within"):
            assert getattr(found, name) == pytest.approx(getattr(here, name), rel=1e-8)


def test_rows_in_no_cluster_are_left_out() -> None:
    rows, labels = case(60, 3, 3, 4)
    inside = labels > 0
    found, expected = assess(rows, labels - 1), assess(rows[inside], labels[inside] - 1)
    for name in ("silhouette", "calinski_harabasz", "davies_bouldin", "smallest_share", "within"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12)


def test_blocks_with_one_cluster_have_no_quality() -> None:
    rows, _ = prepared(n=50)
    with pytest.raises(ValueError, match="at least 2 clusters"):
        assess_blocks(array_blocks(rows), np.zeros((1, 4)))
