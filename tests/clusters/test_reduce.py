from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from engine.clusters.reduce import Reduction, covariances, fit_reduction
from engine.clusters.units import rounded


def rows_with(spreads: tuple[float, ...], rows: int = 400, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(random.normal(size=(len(spreads), len(spreads))))
    return rounded(random.normal(size=(rows, len(spreads))) * spreads @ turned + 0.5)


def reduced(kind: str, rows: np.ndarray, variance: float) -> Reduction:
    reduction = fit_reduction(kind, rows, variance)
    assert reduction is not None
    return reduction


@pytest.mark.parametrize("rows", [1, 2, 4096, 4097])
def test_covariances_are_those_of_numpy(rows: int) -> None:
    values = rounded(np.random.default_rng(rows).normal(3, 200, size=(rows, 3)))
    centre, covariance = covariances(values)
    np.testing.assert_allclose(centre, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.atleast_2d(np.cov(values.T, ddof=0)), rtol=1e-9, atol=1e-9)


def test_covariances_are_exact_at_the_limits_of_coordinates() -> None:
    values = np.full((100_000, 2), 1024.0)
    values[::2, 0] = -1024.0
    centre, covariance = covariances(values)
    assert centre.tolist() == [0, 1024]
    assert covariance.tolist() == [[1024.0**2, 0], [0, 0]]


@pytest.mark.parametrize("variance", [0.3, 0.75, 0.9, 0.99])
def test_components_are_those_of_scikit_learn_up_to_sign(variance: float) -> None:
    rows = rows_with((3, 2, 1, 0.5, 0.2))
    reduction = reduced("pca", rows, variance)
    oracle = PCA(n_components=variance, svd_solver="full").fit(rows)
    weights = np.array(reduction.weights)
    signs = np.sign((weights * oracle.components_.T).sum(axis=0))
    np.testing.assert_allclose(weights * signs, oracle.components_.T, atol=1e-9)
    np.testing.assert_allclose(reduction.explained, oracle.explained_variance_ratio_, rtol=1e-9)
    np.testing.assert_allclose(reduction.project(rows) * signs, oracle.transform(rows), atol=1e-9)
    np.testing.assert_allclose(np.array(reduction.loadings), weights * np.sqrt(reduction.project(rows).var(axis=0)))
    assert variance <= reduction.kept <= 1


@pytest.mark.parametrize("kind", ["pca", "factor"])
def test_the_greatest_loading_is_positive_also_when_features_are_turned_round(kind: str) -> None:
    rows = rows_with((3, 2, 1, 0.5))
    for signs in ((1, 1, 1, 1), (-1, 1, -1, 1), (-1, -1, -1, -1)):
        loadings = np.array(reduced(kind, rows * signs, 0.9).loadings)
        greatest = np.abs(loadings).argmax(axis=0)
        assert (loadings[greatest, range(loadings.shape[1])] > 0).all()


def test_a_tie_of_loadings_is_decided_by_the_first_feature() -> None:
    rows = rounded(np.random.default_rng(1).normal(size=(100, 1)) * [1, -1])
    assert reduced("pca", rows, 0.9).weights == pytest.approx(np.array([[0.5**0.5], [-(0.5**0.5)]]))


@pytest.mark.parametrize("kind", ["pca", "factor"])
def test_a_refit_on_other_users_keeps_the_signs(kind: str) -> None:
    first, second = (reduced(kind, rows_with((3, 2, 0.5), rows=3000)[part::2], 0.8) for part in (0, 1))
    assert (np.sign(first.loadings) * np.sign(second.loadings) * (np.abs(first.loadings) > 0.3) >= 0).all()


@pytest.mark.parametrize("kind", ["pca", "factor"])
def test_the_order_of_rows_does_not_count_and_rows_are_projected_alone(kind: str) -> None:
    rows = rows_with((3, 2, 1, 0.5), rows=5000)
    reduction = reduced(kind, rows, 0.8)
    assert reduced(kind, np.asfortranarray(rows[::-1]), 0.8) == reduction
    whole = reduction.project(rows)
    for part in (slice(0, 1), slice(7, 8), slice(100, 163)):
        assert reduction.project(rows[part]).tobytes() == np.asfortranarray(whole[part]).tobytes()


def test_all_of_the_variance_takes_as_many_components_as_there_are_directions() -> None:
    rows = rows_with((3, 2))
    rows = np.column_stack([rows, rows.sum(axis=1), np.full(len(rows), 2.0)])
    assert len(reduced("pca", rows, 1.0).explained) == 2


def test_equal_users_have_one_component_of_zeros() -> None:
    rows = np.full((5, 3), 0.25)
    reduction = reduced("pca", rows, 0.9)
    assert reduction.explained == (0,)
    assert reduction.project(rows).tolist() == [[0]] * 5


def test_factor_scores_stand_for_what_features_share() -> None:
    random = np.random.default_rng(3)
    hidden = random.normal(size=(2000, 2))
    rows = np.repeat(hidden, 3, axis=1) * [1, 5, 0.2, 1, 2, 3] + random.normal(size=(2000, 6)) * 0.1
    reduction = reduced("factor", rounded(np.column_stack([rows, np.ones(2000)])), 0.9)
    scores = reduction.project(np.column_stack([rows, np.ones(2000)]))
    correlation = np.abs(np.corrcoef(scores.T, hidden.T)[:2, 2:])
    assert sorted(correlation.max(axis=0)) == pytest.approx([1, 1], abs=0.02)
    assert reduction.loadings[-1] == reduction.weights[-1] == (0, 0)
    assert sum(reduction.explained) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("rows", [np.ones((4, 2)), np.arange(5.0)[:, np.newaxis]])
def test_without_common_variance_there_are_no_factors(rows: np.ndarray) -> None:
    assert fit_reduction("factor", rows, 0.9) is None
