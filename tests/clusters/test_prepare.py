from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from engine.clusters.prepare import fit_preparation, to_matrix
from engine.errors import DataError

NAN = math.nan


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, np.newaxis]


def test_mean_and_scale_are_those_of_the_filled_logarithms() -> None:
    random = np.random.default_rng(3)
    rows = random.normal(scale=1000, size=(500, 3))
    prepared = fit_preparation(rows, ["a", "b", "c"]).apply(rows)
    expected = StandardScaler().fit_transform(np.sign(rows) * np.log1p(np.abs(rows)))
    np.testing.assert_allclose(prepared, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("values", "fill"),
    [((1, 9, NAN, 2), 2.0), ((1, 2, 3, 10, NAN, NAN), 2.5), ((-5, NAN), -5.0), ((0, 0, 7), 0.0)],
)
def test_missing_values_take_the_median_of_the_others(values: tuple[float, ...], fill: float) -> None:
    preparation = fit_preparation(column(*values), ["x"])
    assert preparation.fill == (fill,)
    assert preparation.apply(column(NAN)).tobytes() == preparation.apply(column(fill)).tobytes()


def test_the_logarithm_is_defined_and_odd_for_negative_values() -> None:
    preparation = fit_preparation(column(-3, 0, 3), ["x"])
    assert preparation.mean == (0.0,)
    low, middle, high = preparation.apply(column(-3, 0, 3))[:, 0].tolist()
    assert low == -high < middle == 0
    assert high == pytest.approx(math.sqrt(1.5))


@pytest.mark.parametrize("values", [(0.1,) * 7, (5,), (0.3, 0.1 + 0.2, 0.3), (1e9, 1e9 * (1 + 2e-16))])
def test_a_constant_feature_keeps_scale_one_and_lands_on_zero(values: tuple[float, ...]) -> None:
    preparation = fit_preparation(column(*values), ["x"])
    assert preparation.scale == (1.0,)
    np.testing.assert_allclose(preparation.apply(column(*values)), 0, atol=1e-12)


@given(st.lists(st.floats(-1e12, 1e12) | st.just(NAN), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_preparation_does_not_depend_on_the_order_of_rows(values: list[float], random: object) -> None:
    values = [*values, 1.0]
    shuffled = list(values)
    random.shuffle(shuffled)
    assert fit_preparation(column(*values), ["x"]) == fit_preparation(column(*shuffled), ["x"])


@pytest.mark.parametrize("features", [1, 9])
def test_a_prepared_row_has_the_same_bits_in_any_company(features: int) -> None:
    rows = np.random.default_rng(1).exponential(1000, size=(103, features))
    preparation = fit_preparation(rows, [f"f{i}" for i in range(features)])
    prepared = preparation.apply(rows)
    for index in range(len(rows)):
        assert preparation.apply(rows[index : index + 1]).tobytes() == prepared[index].tobytes()


def test_negative_zero_becomes_zero() -> None:
    preparation = fit_preparation(column(-1, 1), ["x"])
    assert preparation.apply(column(-0.0)).tobytes() == preparation.apply(column(0.0)).tobytes()


def test_infinite_and_absent_values_are_refused_together_by_name() -> None:
    rows = np.array([[math.inf, NAN, 1.0], [-math.inf, NAN, 2.0]])
    with pytest.raises(DataError) as raised:
        fit_preparation(rows, ["spend", "clicks", "visits"])
    assert raised.value.code == "clusters-values"
    assert "'spend' has 2 infinite values" in raised.value.message
    assert "'clicks' has no value in any of 2 rows" in raised.value.message
    assert "visits" not in raised.value.message
    assert raised.value.hint


def test_infinite_values_are_refused_when_applying_too() -> None:
    preparation = fit_preparation(column(1, 2), ["spend"])
    with pytest.raises(DataError, match="'spend' has 1 infinite"):
        preparation.apply(column(1, math.inf))


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no users"):
        fit_preparation(np.empty((0, 2)), ["a", "b"])


def test_read_only_rows_are_enough() -> None:
    rows = column(1, NAN, 3)
    rows.setflags(write=False)
    assert fit_preparation(rows, ["x"]).apply(rows).shape == (3, 1)


def test_matrix_follows_the_names_and_turns_null_into_nan() -> None:
    frame = pl.DataFrame({"a": [1, None], "b": [True, False], "c": [0.5, NAN], "d": ["x", "y"]})
    matrix = to_matrix(frame, ["c", "a", "b"])
    np.testing.assert_array_equal(matrix, [[0.5, 1, 1], [NAN, NAN, 0]])


def test_matrix_names_every_column_it_cannot_use() -> None:
    frame = pl.DataFrame({"a": [1], "name": ["x"]})
    with pytest.raises(DataError) as raised:
        to_matrix(frame, ["a", "name", "absent"])
    assert raised.value.code == "clusters-features"
    assert "2 of 3" in raised.value.message
    assert "'name' must be numeric, got String" in raised.value.message
    assert "'absent' is not there" in raised.value.message
