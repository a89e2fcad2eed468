from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import engine.clusters
from engine.clusters import kernel
from engine.clusters.kernel import Sums, add_sums, block_sums, means, nearest, own_and_other
from engine.clusters.nearest import nearest as nearest_in_numpy
from engine.clusters.units import FINE_UNITS, MOST_WEIGHT, UNITS

ROOT = Path(__file__).parents[2]
SHAPES = [(1, 1, 1), (3, 4, 2), (511, 3, 3), (512, 8, 8), (513, 5, 1), (1500, 20, 8), (1025, 7, 11), (600, 2, 50)]


@pytest.fixture(scope="module")
def loops() -> ModuleType:
    found = kernel.compiled_loops()
    assert found is not None
    return found


def data(n: int, d: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(n * d * k)
    rows = np.asfortranarray(random.normal(scale=3, size=(n, d)))
    # Equally near centroids, and rows on centroids.
    centroids = rows[random.integers(0, n, k)] + random.integers(0, 2, (k, 1))
    return rows, centroids, random.integers(0, 4, n)


def same(one: Sums, other: Sums) -> bool:
    arrays = one.counts.tolist() == other.counts.tolist() and one.sums.tolist() == other.sums.tolist()
    return arrays and one.costs == other.costs


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_the_compiled_loops_give_the_bits_of_numpy(loops: ModuleType, n: int, d: int, k: int) -> None:
    rows, centroids, weights = data(n, d, k)
    labels, squared = nearest_in_numpy(rows, centroids)
    found = kernel._nearest_compiled(loops, rows, centroids, 1)
    assert found[0].tobytes() == labels.tobytes()
    assert found[1].tobytes() == squared.tobytes()
    offsets = np.random.default_rng(k).random(k)
    expected = kernel._own_and_other_in_numpy(rows, centroids, labels, offsets)
    pair = kernel._own_and_other_compiled(loops, rows, centroids, labels, offsets, 1)
    assert [array.tobytes() for array in pair] == [array.tobytes() for array in expected]
    for mass in (None, weights):
        sums = kernel._sums_in_numpy(rows, centroids, mass)
        assert same(kernel._sums_compiled(loops, rows, centroids, mass, 1), sums)


@pytest.mark.parametrize("path", ["numpy", "compiled"])
def test_sums_agree_with_brute_force(loops: ModuleType, path: str) -> None:
    rows, centroids, weights = data(700, 5, 4)
    squared = ((rows[:, None, :] - centroids[None]) ** 2).sum(axis=2)
    labels = squared.argmin(axis=1)
    if path == "numpy":
        sums = kernel._sums_in_numpy(rows, centroids, weights)
    else:
        sums = kernel._sums_compiled(loops, rows, centroids, weights, 1)
    for cluster in range(4):
        own = labels == cluster
        assert sums.counts[cluster] == weights[own].sum()
        units = np.rint(rows[own] * UNITS).astype(np.int64)
        assert sums.sums[cluster].tolist() == (units * weights[own, None]).sum(axis=0).tolist()
        cost = (squared[own, cluster] * weights[own]).sum()
        assert sums.costs[cluster] / FINE_UNITS == pytest.approx(cost, abs=1e-6)
    assert sums.cost == sum(sums.costs)


def test_own_and_other_agree_with_brute_force() -> None:
    rows, centroids, _ = data(300, 3, 4)
    labels = np.random.default_rng(1).integers(0, 4, 300)
    offsets = np.array([0.0, 5.0, 0.5, np.inf])
    own, other = own_and_other(rows, centroids, labels, offsets)
    squared = ((rows[:, None, :] - centroids[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(own, squared[np.arange(300), labels], rtol=1e-12)
    squared += offsets
    squared[np.arange(300), labels] = np.inf
    np.testing.assert_allclose(other, squared.min(axis=1), rtol=1e-12)


def test_without_another_centroid_the_other_one_is_infinitely_far(loops: ModuleType) -> None:
    rows, labels = np.ones((3, 2)), np.zeros(3, dtype=np.intp)
    for found in (
        own_and_other(rows, np.zeros((1, 2)), labels),
        kernel._own_and_other_compiled(loops, rows, np.zeros((1, 2)), labels, np.zeros(1), 1),
    ):
        assert found[0].tolist() == [2, 2, 2]
        assert np.isposinf(found[1]).all()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("layout", ["columns", "rows", "every other row", "read-only"])
def test_threads_and_layout_change_no_bit(
    loops: ModuleType, monkeypatch: pytest.MonkeyPatch, threads: int, layout: str
) -> None:
    monkeypatch.setattr(kernel, "_SLICE_ROWS", 300)
    plain, centroids, weights = data(1100, 6, 5)
    rows = plain
    if layout == "rows":
        rows = np.ascontiguousarray(plain)
    elif layout == "every other row":
        rows = np.repeat(plain, 2, axis=0)[::2]
    elif layout == "read-only":
        rows, weights = plain.copy(order="F"), weights.copy()
        rows.setflags(write=False)
        weights.setflags(write=False)
    labels, squared = nearest_in_numpy(plain, centroids)
    found = nearest(rows, centroids, threads)
    assert (found[0].tobytes(), found[1].tobytes()) == (labels.tobytes(), squared.tobytes())
    offsets = np.zeros(5)
    pair = own_and_other(rows, centroids, labels, offsets, threads)
    expected = kernel._own_and_other_in_numpy(plain, centroids, labels, offsets)
    assert [array.tobytes() for array in pair] == [array.tobytes() for array in expected]
    for mass in (None, weights):
        assert same(block_sums(rows, centroids, mass, threads), kernel._sums_in_numpy(plain, centroids, mass))


def test_no_rows_have_no_sums() -> None:
    empty = np.empty((0, 3))
    sums = block_sums(empty, np.zeros((2, 3)))
    assert (sums.counts.tolist(), sums.sums.tolist(), sums.costs) == ([0, 0], [[0] * 3] * 2, (0, 0))
    assert nearest(empty, np.zeros((2, 3)))[0].shape == (0,)
    assert own_and_other(empty, np.zeros((2, 3)), np.zeros(0, dtype=np.intp))[1].shape == (0,)


@pytest.mark.parametrize("path", ["numpy", "compiled"])
def test_sums_at_the_limits_of_a_block_are_exact(loops: ModuleType, path: str) -> None:
    rows, weights = np.array([[1024.0, -1024.0], [0.0, 0.0]]), np.array([MOST_WEIGHT - 2, 1])
    centroids = np.array([[1024.0, 1023.5]])
    run = kernel._sums_in_numpy if path == "numpy" else lambda *given: kernel._sums_compiled(loops, *given, 1)
    sums = run(rows, centroids, weights)
    assert sums.sums.tolist() == [[2**30 * (MOST_WEIGHT - 2), -(2**30) * (MOST_WEIGHT - 2)]]
    near = int(2047.5**2 * FINE_UNITS)
    assert sums.cost == near * (MOST_WEIGHT - 2) + int((1024**2 + 1023.5**2) * FINE_UNITS)


def test_a_block_that_is_too_heavy_is_refused() -> None:
    with pytest.raises(ValueError, match="a block may weigh up to 2147483647, got 2147483648"):
        block_sums(np.zeros((1, 1)), np.zeros((1, 1)), np.array([MOST_WEIGHT]))


def test_means_are_rounded_once_and_empty_clusters_keep_their_place() -> None:
    sums = Sums(np.array([3, 0]), np.array([[2**60 + 1, -1], [0, 0]]), (0, 0))
    found = means(sums, np.array([[9.0, 9.0], [7.0, 8.0]]))
    assert found.tolist() == [[(2**60 + 1) / (3 * UNITS), -1 / (3 * UNITS)], [7.0, 8.0]]


def test_sums_of_parts_add_up() -> None:
    rows, centroids, weights = data(900, 4, 3)
    parts = [block_sums(rows[part], centroids, weights[part]) for part in (slice(0, 1), slice(1, 600), slice(600, 900))]
    before = parts[0].counts.tolist()
    assert same(add_sums(parts), block_sums(rows, centroids, weights))
    assert parts[0].counts.tolist() == before


# ----------------------------------------------------------------------------------------------------- which of the two


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.compiled_loops.cache_clear()
    kernel._work.cache_clear()


def test_the_loops_are_loaded_when_numpy_has_taken_as_long(unloaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, centroids, _ = data(100, 2, 4)
    monkeypatch.setattr(kernel, "_WORTH_LOADING", 2500)
    loaded = []
    for _ in range(4):
        nearest(rows, centroids)
        loaded.append(kernel.compiled_loops.cache_info().currsize)
    assert loaded == [0, 0, 0, 1]


def test_without_numba_numpy_does_the_work(unloaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(engine.clusters, "kernel_loops", raising=False)
    monkeypatch.setitem(sys.modules, "engine.clusters.kernel_loops", None)
    monkeypatch.setattr(kernel, "_WORTH_LOADING", 0)
    rows, centroids, weights = data(100, 2, 4)
    assert nearest(rows, centroids)[0].tolist() == nearest_in_numpy(rows, centroids)[0].tolist()
    assert kernel.compiled_loops() is None
    assert same(block_sums(rows, centroids, weights), kernel._sums_in_numpy(rows, centroids, weights))
    kernel.compiled_loops.cache_clear()


def test_loops_that_disagree_in_one_bit_are_not_used(
    loops: ModuleType, unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = loops.nearest_rows

    def wrong(*arguments: np.ndarray) -> None:
        right(*arguments)
        arguments[-1][7] = np.nextafter(arguments[-1][7], np.inf)

    monkeypatch.setattr(loops, "nearest_rows", wrong)
    assert kernel.compiled_loops() is None
    kernel.compiled_loops.cache_clear()


def test_small_data_does_not_pay_for_numba() -> None:
    code = """
import sys
import numpy as np
from engine.clusters.kmeans import kmeans
kmeans(np.random.default_rng(0).normal(size=(2000, 4)), 3, seed=1)
print("numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
