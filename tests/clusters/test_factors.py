from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.decomposition import FactorAnalysis

from engine.clusters.factors import Factors, count_for, principal_axes, varimax

PLANTED = np.array([[0.9, 0.0], [0.8, 0.1], [0.7, 0.0], [0.0, 0.8], [0.1, 0.7], [0.0, 0.6]])


def correlation_of(loadings: np.ndarray) -> np.ndarray:
    common = loadings @ loadings.T
    return common - np.diag(np.diag(common)) + np.eye(len(loadings))


def sample(rows: int = 5000) -> np.ndarray:
    random = np.random.default_rng(4)
    own = np.sqrt(1 - (PLANTED**2).sum(axis=1))
    values = random.normal(size=(rows, 2)) @ PLANTED.T + random.normal(size=(rows, 6)) * own
    return (values - values.mean(axis=0)) / values.std(axis=0)


def factors_of(correlation: np.ndarray, share: float) -> Factors:
    factors = principal_axes(correlation, share)
    assert factors is not None
    return factors


def like(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    order = min(
        itertools.permutations(range(found.shape[1])),
        key=lambda order: np.abs(np.abs(found[:, order]) - np.abs(expected)).sum(),
    )
    ordered = found[:, order]
    return ordered * np.sign((ordered * expected).sum(axis=0))


def test_planted_factors_are_recovered_from_their_correlations() -> None:
    factors = factors_of(correlation_of(PLANTED), 0.9)
    np.testing.assert_allclose(like(factors.loadings, PLANTED), varimax(PLANTED), atol=1e-3)
    assert 0.9 <= factors.kept <= 1


def test_loadings_and_scores_are_near_those_of_scikit_learn() -> None:
    rows = sample()
    factors = factors_of(np.corrcoef(rows.T), 0.9)
    oracle = FactorAnalysis(n_components=2, rotation="varimax", svd_method="lapack", tol=1e-4).fit(rows)
    expected = oracle.components_.T
    np.testing.assert_allclose(like(factors.loadings, expected), expected, atol=0.02)
    scores, others = rows @ like(factors.weights, expected), oracle.transform(rows)
    assert all(np.corrcoef(scores[:, index], others[:, index])[0, 1] > 0.999 for index in range(2))
    np.testing.assert_allclose(scores.std(axis=0), others.std(axis=0), rtol=0.02)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_turning_keeps_communalities_and_no_turn_of_a_pair_simplifies_further(size: int) -> None:
    loadings = np.random.default_rng(size).normal(size=(9, size))
    turned = varimax(loadings)
    np.testing.assert_allclose((turned**2).sum(axis=1), (loadings**2).sum(axis=1))
    assert (np.diff((turned**2).sum(axis=0)) <= 0).all()
    best = (turned**2).var(axis=0).sum()
    assert best > (loadings**2).var(axis=0).sum()
    for first, second in itertools.combinations(range(size), 2):
        for angle in np.linspace(0, np.pi / 2, 181):
            other = turned.copy()
            other[:, first] = np.cos(angle) * turned[:, first] + np.sin(angle) * turned[:, second]
            other[:, second] = np.cos(angle) * turned[:, second] - np.sin(angle) * turned[:, first]
            assert (other**2).var(axis=0).sum() <= best + 1e-9


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, np.pi / 4, 1.2, np.pi / 2, 2.0, 3.0])
def test_a_turned_simple_structure_is_turned_back(angle: float) -> None:
    simple = np.array([[1.0, 0.0], [0.5, 0.0], [0.0, 0.8]])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(np.abs(varimax(simple @ rotation)), simple, atol=1e-7)


def test_features_with_nothing_in_common_have_no_factors() -> None:
    assert principal_axes(np.eye(4), 0.9) is None
    assert principal_axes(np.eye(1), 0.9) is None


@pytest.mark.parametrize("size", [2, 3, 6])
def test_copies_of_one_feature_have_one_factor_with_finite_weights(size: int) -> None:
    factors = factors_of(np.ones((size, size)), 1.0)
    np.testing.assert_allclose(np.abs(factors.loadings), np.full((size, 1), 1), atol=0.02)
    assert np.isfinite(factors.weights).all()


@pytest.mark.parametrize(("share", "count"), [(0.1, 1), (0.5, 1), (0.5001, 2), (0.75, 2), (0.9, 3), (1.0, 3)])
def test_the_fewest_values_that_reach_the_share_are_counted(share: float, count: int) -> None:
    assert count_for(np.array([4.0, 2.0, 2.0, 0.0]), share) == count


def test_no_variance_at_all_is_one_component() -> None:
    assert count_for(np.zeros(3), 0.9) == 1
