from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clusters.eigen import eigen, product


def symmetric(size: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(size, size))
    return values + values.T


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 20, 61])
def test_values_are_those_of_lapack_and_vectors_are_orthonormal(size: int) -> None:
    matrix = symmetric(size, seed=size)
    before = matrix.copy()
    values, vectors = eigen(matrix)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[::-1], atol=1e-12 * size)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-12 * size)
    np.testing.assert_array_equal(matrix, before)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.zeros((3, 3)), [0, 0, 0]),
        (np.eye(4), [1, 1, 1, 1]),
        (np.ones((5, 5)), [5, 0, 0, 0, 0]),
        (np.diag([1.0, 3.0, 2.0]), [3, 2, 1]),
        (np.array([[0.0, 1.0], [1.0, 0.0]]), [1, -1]),
        (np.diag([1e-30, 1e30]), [1e30, 1e-30]),
    ],
)
def test_equal_absent_and_uneven_values(matrix: np.ndarray, expected: list[float]) -> None:
    values, vectors = eigen(matrix)
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(matrix)), atol=1e-12)


@given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.integers(-12, 12))
def test_a_matrix_is_the_sum_of_its_parts(size: int, seed: int, magnitude: int) -> None:
    matrix = symmetric(size, seed) * 10.0**magnitude
    values, vectors = eigen(matrix)
    np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=1e-12 * size * np.abs(matrix).max())


def test_product_is_the_matrix_product() -> None:
    random = np.random.default_rng(2)
    left, right = random.normal(size=(4, 6)), random.normal(size=(6, 3))
    np.testing.assert_allclose(product(left, right), left @ right, rtol=1e-12)
