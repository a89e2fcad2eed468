from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import engine.clusters
from engine.clusters.kmeans import kmeans
from engine.clusters.nearest import nearest, row_chunks, squared_distances

PRODUCTS = {"dot", "matmul", "inner", "vdot", "einsum", "tensordot", "linalg"}


@pytest.mark.parametrize(("n", "d", "k"), [(0, 3, 2), (1, 1, 1), (7, 9, 3), (4096, 2, 5), (4097, 17, 4)])
def test_nearest_agrees_with_brute_force(n: int, d: int, k: int) -> None:
    random = np.random.default_rng(n + d)
    rows, centroids = random.normal(size=(n, d)), random.normal(size=(k, d))
    brute = ((rows[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2)
    labels, squared = nearest(rows, centroids)
    assert labels.tolist() == brute.argmin(axis=1).tolist()
    np.testing.assert_allclose(squared, brute.min(axis=1), rtol=1e-13)
    np.testing.assert_allclose(squared_distances(rows, centroids), brute.T, rtol=1e-12)


def test_of_equally_near_centroids_the_first_counts() -> None:
    labels, squared = nearest(np.array([[0.0], [1.0]]), np.array([[1.0], [-1.0], [1.0]]))
    assert labels.tolist() == [0, 0]
    assert squared.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("features", [1, 3, 8, 9, 20])
def test_a_row_has_the_same_bits_in_any_company_and_layout(features: int) -> None:
    random = np.random.default_rng(features)
    rows, centroids = random.normal(size=(5000, features)), random.normal(size=(4, features))
    labels, squared = nearest(rows, centroids)
    for start, stop in [(0, 1), (4095, 4097), (17, 18), (1, 5000), (4990, 5000)]:
        part_labels, part_squared = nearest(rows[start:stop], centroids)
        assert part_squared.tobytes() == squared[start:stop].tobytes()
        assert part_labels.tobytes() == labels[start:stop].tobytes()
    assert nearest(np.asfortranarray(rows), centroids)[1].tobytes() == squared.tobytes()


def test_read_only_rows_are_enough_and_stay_as_they_are() -> None:
    rows = np.arange(6.0).reshape(3, 2)
    rows.setflags(write=False)
    assert nearest(rows, rows[:2])[0].tolist() == [0, 1, 1]


@pytest.mark.parametrize("rows", [0, 1, 4096, 4097, 10_000])
def test_chunks_cover_every_row_once(rows: int) -> None:
    covered = [row for part in row_chunks(rows) for row in range(part.start, part.stop)]
    assert covered == list(range(rows))


def test_no_linear_algebra_library_takes_part() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in sorted(Path(engine.clusters.__path__[0]).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult))
        or (isinstance(node, ast.Attribute) and node.attr in PRODUCTS)
    ]
    assert found == []


def test_centroids_have_the_same_bits_for_one_and_two_threads() -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 12))
    bits = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            bits.append(kmeans(rows, 4, seed=1).centroids.tobytes())
    assert bits[0] == bits[1]
