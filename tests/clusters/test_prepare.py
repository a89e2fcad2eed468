from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats.mstats import winsorize
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from engine.clusters.prepare import Preparation, fit_preparation, to_matrix
from engine.config_learning import Clusters
from engine.errors import DataError

NAN = math.nan
UNIT = 2.0**-20
EVERY_WAY = [
    {"transform": transform, "scale": scale, "winsorise": winsorise, "outliers": outliers, "reduce": reduce}
    for transform, scale, winsorise, outliers, reduce in [
        ("log1p", "z_score", 0, "keep", "none"),
        ("none", "z_score", 0.05, "clip", "pca"),
        ("log1p", "min_max", 0, "apart", "factor"),
        ("log1p", "robust", 0.01, "apart", "pca"),
        ("none", "none", 0, "clip", "none"),
        ("none", "robust", 0, "keep", "factor"),
    ]
]


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, np.newaxis]


def users(rows: int = 500, features: int = 5, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    hidden = random.lognormal(2, 1, size=(rows, 1))
    values = hidden * random.lognormal(1, 1, size=(rows, features)) - 5
    values[random.random(values.shape) < 0.1] = NAN
    return values


def fitted(rows: np.ndarray, **settings: Any) -> Preparation:
    return fit_preparation(rows, [f"f{index}" for index in range(rows.shape[1])], Clusters(**settings))[0]


@pytest.mark.parametrize(
    ("scale", "oracle"), [("z_score", StandardScaler()), ("min_max", MinMaxScaler()), ("robust", RobustScaler())]
)
@pytest.mark.parametrize("transform", ["log1p", "none"])
def test_coordinates_are_those_of_scikit_learn(scale: str, oracle: Any, transform: str) -> None:
    rows = np.random.default_rng(3).normal(scale=1000, size=(500, 3))
    transformed = np.sign(rows) * np.log1p(np.abs(rows)) if transform == "log1p" else rows
    prepared = fitted(rows, scale=scale, transform=transform).apply(rows)
    np.testing.assert_allclose(prepared, oracle.fit_transform(transformed), atol=UNIT)


def test_winsorised_standardised_components_are_those_of_scipy_and_scikit_learn() -> None:
    rows = np.random.default_rng(5).lognormal(3, 1, size=(400, 4)) * [1, 10, 100, 1000]
    rows[:, 3] += 1000 * rows[:, 2]
    preparation = fitted(rows, winsorise=0.03, reduce="pca", variance=0.9)
    cut = np.column_stack([np.asarray(winsorize(rows[:, index], (0.03, 0.03))) for index in range(4)])
    expected = make_pipeline(StandardScaler(), PCA(0.9, svd_solver="full")).fit_transform(np.log1p(cut))
    prepared = preparation.apply(rows)
    assert prepared.shape == expected.shape
    signs = np.sign((prepared * expected).sum(axis=0))
    np.testing.assert_allclose(prepared * signs, expected, atol=1e-4)
    assert preparation.coordinates == ("component_1", "component_2", "component_3")


@pytest.mark.parametrize(
    ("values", "fill"),
    [((1, 9, NAN, 2), 2.0), ((1, 2, 3, 10, NAN, NAN), 2.5), ((-5, NAN), -5.0), ((0, 0, 7), 0.0), ((NAN, NAN), 0.0)],
)
def test_missing_values_take_the_median_of_the_others(values: tuple[float, ...], fill: float) -> None:
    preparation = fitted(column(*values))
    assert preparation.fill == (fill,)
    assert preparation.apply(column(NAN)).tobytes() == preparation.apply(column(fill)).tobytes()


def test_the_logarithm_is_defined_and_odd_for_negative_values() -> None:
    preparation = fitted(column(-3, 0, 3))
    assert preparation.centre == (0.0,)
    low, middle, high = preparation.apply(column(-3, 0, 3))[:, 0].tolist()
    assert low == -high < middle == 0
    assert high == pytest.approx(math.sqrt(1.5), abs=UNIT)


@pytest.mark.parametrize("values", [(0.1,) * 7, (5,), (0.3, 0.1 + 0.2, 0.3), (NAN, NAN)])
def test_a_constant_or_empty_feature_keeps_scale_one_lands_on_zero_and_is_reported(values: tuple[float, ...]) -> None:
    preparation, report = fit_preparation(column(*values), ["x"], Clusters())
    assert preparation.scale == (1.0,)
    assert preparation.limits == (None,)
    assert preparation.apply(column(*values)).tolist() == [[0]] * len(values)
    assert report.features[0].constant


def test_winsorised_values_are_cut_to_stored_edges() -> None:
    rows = column(*range(1, 11))
    preparation, report = fit_preparation(rows, ["x"], Clusters(winsorise=0.1))
    assert preparation.edges == ((2.0, 9.0),)
    assert preparation.apply(column(-100, 9e9)).tobytes() == preparation.apply(column(2, 9)).tobytes()
    assert (report.features[0].winsorised_low, report.features[0].winsorised_high) == (1, 1)


@pytest.mark.parametrize("outliers", ["keep", "clip", "apart"])
def test_outliers_are_kept_clipped_or_set_apart_and_always_counted(outliers: str) -> None:
    rows = np.random.default_rng(2).normal(size=(200, 2))
    rows[:3, 0], rows[2:4, 1] = 1e6, -1e6
    preparation, report = fit_preparation(rows, ["a", "b"], Clusters(outliers=outliers, transform="none"))
    far = preparation.apply(rows)[:4]
    mask = preparation.apart(rows)
    assert [feature.outliers for feature in report.features] == [3, 2]
    assert report.with_outliers == 4
    assert report.apart == mask.sum() == (4 if outliers == "apart" else 0)
    if outliers == "keep":
        assert far[0, 0] == pytest.approx(math.sqrt(197 / 3), abs=1e-3)
    elif outliers == "clip":
        assert far[0, 0] == far[2, 0] == preparation.apply(np.array([[preparation.limits[0][1], 0]]))[0, 0]
        assert 4 < far[0, 0] < 8
    else:
        assert mask.nonzero()[0].tolist() == [0, 1, 2, 3]
        assert np.abs(far).max() == 1024
        np.testing.assert_allclose(preparation.apply(rows)[4:].mean(axis=0), 0, atol=UNIT)
        np.testing.assert_allclose(preparation.apply(rows)[4:].std(axis=0), 1, atol=1e-5)


def test_a_missing_value_is_no_outlier_and_does_not_narrow_the_limits() -> None:
    values = np.random.default_rng(2).normal(size=(100, 1))
    sparse = np.concatenate([values, np.full((900, 1), NAN)])
    preparation = fitted(sparse, outliers="apart")
    assert preparation.limits == fitted(values, outliers="apart").limits
    assert not preparation.apart(sparse).any()


def test_users_who_are_all_outliers_are_refused() -> None:
    rows = np.zeros((4, 4))
    np.fill_diagonal(rows, 1)
    with pytest.raises(DataError, match="all 4 users") as raised:
        fitted(rows, outliers="apart", outlier_limit=1)
    assert raised.value.code == "clusters-too-few-rows"
    assert "outlier_limit" in raised.value.hint


def test_the_report_counts_and_tells_components() -> None:
    rows = users()
    preparation, report = fit_preparation(rows, list("abcde"), Clusters(reduce="pca", variance=0.8))
    assert report.users == 500
    assert [feature.missing for feature in report.features] == np.isnan(rows).sum(axis=0).tolist()
    assert report.components == len(preparation.coordinates) == len(report.explained) < 5
    assert 0.8 <= report.kept == pytest.approx(sum(report.explained))
    assert not any(feature.constant for feature in report.features)
    assert report.to_json()["features"][0]["name"] == "a"


def test_without_common_variance_factors_give_way_to_the_features() -> None:
    preparation, report = fit_preparation(column(1, 2, 5), ["x"], Clusters(reduce="factor"))
    assert preparation.reduction is None
    assert preparation.coordinates == ("x",)
    assert (report.components, report.explained, report.kept) == (1, (), 1.0)


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-1e12, 1e12) | st.just(NAN) | st.just(-0.0)] * 3), min_size=1, max_size=25),
    st.sampled_from(EVERY_WAY),
    st.randoms(use_true_random=False),
)
def test_the_preparation_does_not_depend_on_the_order_of_rows(
    values: list[tuple[float, ...]], way: dict[str, Any], random: Any
) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    outcomes = []
    for rows in (values, shuffled):
        try:
            preparation, report = fit_preparation(np.array(rows), ["a", "b", "c"], Clusters(**way))
            outcomes.append((str(preparation.to_json()), report))
        except DataError as error:
            outcomes.append((error.message, None))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_prepared_row_has_the_same_bits_in_any_company_and_lies_on_the_grid(way: dict[str, Any]) -> None:
    rows = users(rows=300)
    preparation = fitted(rows, **way)
    prepared, apart = preparation.apply(rows), preparation.apart(rows)
    assert prepared.flags.f_contiguous
    np.testing.assert_array_equal(prepared / UNIT, np.rint(prepared / UNIT))
    assert np.abs(prepared).max() <= 1024
    assert not np.signbit(prepared[prepared == 0]).any()
    for part in [slice(index, index + 1) for index in range(20)] + [slice(20, 83), slice(83, 300)]:
        assert np.asfortranarray(prepared[part]).tobytes() == preparation.apply(rows[part]).tobytes()
        assert apart[part].tolist() == preparation.apart(rows[part]).tolist()


def test_negative_zero_becomes_zero() -> None:
    preparation = fitted(column(-1, 1))
    assert preparation.apply(column(-0.0)).tobytes() == preparation.apply(column(0.0)).tobytes()


def test_infinite_values_are_refused_together_by_name() -> None:
    rows = np.array([[math.inf, 1e101, 1.0, NAN], [-math.inf, NAN, 2.0, NAN]])
    with pytest.raises(DataError) as raised:
        fit_preparation(rows, ["spend", "clicks", "visits", "empty"], Clusters())
    assert raised.value.code == "clusters-values"
    assert "'spend' has 2 infinite values; 'clicks' has 1 infinite values" in raised.value.message
    assert "visits" not in raised.value.message
    assert "empty" not in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize("method", ["apply", "apart"])
def test_infinite_values_are_refused_when_applying_too(method: str) -> None:
    preparation = fitted(column(1, 2))
    with pytest.raises(DataError, match="'f0' has 1 infinite"):
        getattr(preparation, method)(column(1, math.inf))


@pytest.mark.parametrize("way", EVERY_WAY)
def test_the_greatest_values_that_are_allowed_are_prepared(way: dict[str, Any]) -> None:
    rows = np.array([[-1e100, 1.0], [0.0, 2.0], [1e100, 5.0], [1e-300, -1e-300]])
    preparation = fitted(rows, **way)
    assert np.isfinite(preparation.apply(rows)).all()


def test_no_rows_are_refused_and_none_are_prepared() -> None:
    with pytest.raises(DataError, match="no users"):
        fitted(np.empty((0, 2)))
    preparation = fitted(users(), outliers="apart", reduce="pca")
    assert preparation.apply(np.empty((0, 5))).shape == (0, len(preparation.coordinates))
    assert preparation.apart(np.empty((0, 5))).shape == (0,)


def test_read_only_rows_are_enough() -> None:
    rows = column(1, NAN, 3)
    rows.setflags(write=False)
    assert fitted(rows, outliers="clip").apply(rows).shape == (3, 1)


def test_matrix_follows_the_names_and_turns_null_into_nan() -> None:
    frame = pl.DataFrame({"a": [1, None], "b": [True, False], "c": [0.5, NAN], "d": ["x", "y"], "e": [None, None]})
    matrix = to_matrix(frame, ["c", "a", "b", "e"])
    np.testing.assert_array_equal(matrix, [[0.5, 1, 1, NAN], [NAN, NAN, 0, NAN]])


def test_matrix_names_every_column_it_cannot_use() -> None:
    frame = pl.DataFrame({"a": [1], "name": ["x"], "kind": pl.Series(["b"], dtype=pl.Categorical)})
    with pytest.raises(DataError) as raised:
        to_matrix(frame, ["a", "name", "kind", "absent"])
    assert raised.value.code == "clusters-features"
    assert "3 of 4" in raised.value.message
    assert "'name' must be numeric, got String" in raised.value.message
    assert "'kind' must be numeric, got Categorical" in raised.value.message
    assert "'absent' is not there" in raised.value.message
