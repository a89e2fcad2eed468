from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import median_abs_deviation
from scipy.stats.mstats import winsorize

from engine.clusters.outliers import beyond, in_any, outlier_limits, robust_deviation, winsorising_edges


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.floats(0, 0.49))
def test_edges_cut_the_values_that_scipy_cuts(values: list[int], share: float) -> None:
    rows = np.array(values, dtype=np.float64)
    low, high = winsorising_edges(np.sort(rows), share)
    expected = winsorize(rows, limits=(share, share))
    np.testing.assert_array_equal(np.clip(rows, low, high), np.asarray(expected))
    assert (rows < low).mean() <= share
    assert (rows > high).mean() <= share


@pytest.mark.parametrize(("share", "edges"), [(0.0, (1, 10)), (0.1, (2, 9)), (0.19, (2, 9)), (0.49, (5, 6))])
def test_edges_are_values_of_the_data(share: float, edges: tuple[float, float]) -> None:
    assert winsorising_edges(np.arange(1.0, 11.0), share) == edges


@pytest.mark.parametrize("rows", [3, 10, 501])
def test_deviation_is_the_scaled_median_absolute_deviation(rows: int) -> None:
    values = np.random.default_rng(rows).normal(5, 3, size=rows)
    expected = 1.4826 * median_abs_deviation(values)
    assert robust_deviation(np.sort(values)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0, 0, 0, 4, 8, 9], 0.7413 * 6),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 9], 2.7),
        ([3, 3, 3], 0),
        ([7], 0),
        ([0.3, 0.1 + 0.2, 0.3], 0),
    ],
)
def test_where_most_values_are_equal_wider_measures_are_taken(values: list[float], expected: float) -> None:
    assert robust_deviation(np.array(values)) == pytest.approx(expected)


def test_limits_are_on_both_sides_of_the_median_and_include_their_ends() -> None:
    values = np.array([-1.0, 0.0, 1.0, 2.0, 1e6])
    limits = outlier_limits(values, 2)
    assert limits == (1 - 2 * 1.4826, 1 + 2 * 1.4826)
    assert beyond(values, limits).tolist() == [False, False, False, False, True]
    assert beyond(np.array(limits), limits).tolist() == [False, False]


def test_a_constant_feature_has_no_outliers() -> None:
    assert outlier_limits(np.full(5, 2.0), 3) is None
    assert beyond(np.array([1.0, math.inf]), None).tolist() == [False, False]


def test_a_row_with_an_outlier_in_some_feature_is_in_the_mask() -> None:
    masks = [np.array([True, False, False]), np.array([False, False, True])]
    assert in_any(masks).tolist() == [True, False, True]
