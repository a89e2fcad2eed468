from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from engine.clusters.gaussians import (
    Kind,
    Mixture,
    cholesky,
    chunks,
    densities,
    dimensions,
    log_densities,
    most_likely,
    shares,
)


def mixture(kind: Kind, k: int = 3, d: int = 4, seed: int = 0) -> Mixture:
    random = np.random.default_rng(seed)
    weights = random.uniform(0.2, 1, k)
    factors = random.normal(size=(k, d, d)) + 2 * np.eye(d)
    covariances = np.einsum("kij,klj->kil", factors, factors)
    stored = covariances[:, *np.tril_indices(d)] if kind == "full" else np.diagonal(covariances, axis1=1, axis2=2)
    means = random.normal(size=(k, d)) * 3
    return Mixture(
        tuple((weights / weights.sum()).tolist()),
        tuple(map(tuple, means.tolist())),
        tuple(map(tuple, stored.tolist())),
        kind,
    )


def full_covariances(of: Mixture) -> list[np.ndarray]:
    if of.kind == "diagonal":
        return [np.diag(variances) for variances in of.covariances]
    result = []
    for triangle in of.covariances:
        lower = np.zeros((len(of.means[0]),) * 2)
        lower[np.tril_indices(len(lower))] = triangle
        result.append(lower + np.tril(lower, -1).T)
    return result


@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_densities_are_those_of_scipy(kind: Kind) -> None:
    of, rows = mixture(kind), np.random.default_rng(1).normal(size=(200, 4)) * 4
    logarithms, squared = log_densities(rows, densities(of))
    for component, covariance in enumerate(full_covariances(of)):
        mean = np.array(of.means[component])
        expected = np.log(of.weights[component]) + multivariate_normal(mean, covariance).logpdf(rows)
        np.testing.assert_allclose(logarithms[component], expected, rtol=1e-11)
        away = rows - mean
        mahalanobis = (away * np.linalg.solve(covariance, away.T).T).sum(axis=1)
        np.testing.assert_allclose(squared[component], mahalanobis, rtol=1e-10)


@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_most_likely_is_the_greatest_share(kind: Kind) -> None:
    of, rows = mixture(kind), np.random.default_rng(2).normal(size=(5000, 4)) * 4
    logarithms, squared = log_densities(rows, densities(of))
    labels, certainty, distances = most_likely(rows, densities(of))
    relative = np.exp(logarithms - logarithms.max(axis=0))
    expected = relative / relative.sum(axis=0)
    assert labels.tolist() == expected.argmax(axis=0).tolist()
    np.testing.assert_allclose(certainty, expected.max(axis=0), rtol=1e-13)
    np.testing.assert_allclose(distances, np.sqrt(squared[labels, np.arange(5000)]), rtol=1e-15)


@given(cut=st.integers(0, 60), kind=st.sampled_from(["diagonal", "full"]))
def test_a_row_has_the_same_bits_among_any_rows(cut: int, kind: Kind) -> None:
    ready, rows = densities(mixture(kind, k=9)), np.random.default_rng(3).normal(size=(60, 4))
    whole = most_likely(np.asfortranarray(rows), ready)
    parts = [most_likely(part, ready) for part in (rows[:cut], rows[cut:])]
    for found, *pieces in zip(whole, *parts, strict=True):
        assert np.concatenate(pieces).tobytes() == found.tobytes()


def test_rows_far_from_everything_have_shares_too() -> None:
    ready = densities(Mixture((0.5, 0.5), ((0.0,), (1.0,)), ((1e-6,), (1e-6,)), "diagonal"))
    labels, certainty, distances = most_likely(np.array([[1024.0], [-1024.0], [0.5]]), ready)
    assert labels.tolist() == [1, 0, 0]
    assert certainty.tolist() == [1, 1, 0.5]
    np.testing.assert_allclose(distances, [1023e3, 1024e3, 500])


def test_shares_sum_to_one_and_the_density_is_log_sum_exp() -> None:
    logarithms = np.array([[-1e6, 0.0, 3.0], [-1e6, -800.0, 2.0]])
    parts, likelihood = shares(logarithms)
    np.testing.assert_allclose(parts.sum(axis=0), 1)
    np.testing.assert_allclose(likelihood, np.logaddexp(*logarithms), rtol=1e-15)


def test_cholesky_is_that_of_numpy() -> None:
    (covariance,) = full_covariances(mixture("full", k=1, d=6))
    np.testing.assert_allclose(
        cholesky(covariance[np.tril_indices(6)]), np.linalg.cholesky(covariance), rtol=1e-10, atol=1e-13
    )


@pytest.mark.parametrize("covariance", [(0.0,), (-1.0,), (1.0, 1.0, 1.0), (1.0, 2.0, 1.0)])
def test_what_is_no_covariance_is_refused(covariance: tuple[float, ...]) -> None:
    mean = (0.0,) * dimensions(len(covariance))
    with pytest.raises(ValueError, match="not positive definite"):
        densities(Mixture((1.0,), (mean,), (covariance,), "full"))


def test_a_variance_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not positive: 0\.0"):
        densities(Mixture((1.0,), ((0.0, 0.0),), ((1.0, 0.0),), "diagonal"))


def test_sizes_of_triangles() -> None:
    assert [dimensions(d * (d + 1) // 2) for d in range(1, 60)] == list(range(1, 60))


@pytest.mark.parametrize("rows", [0, 1, 4096, 4097, 10_000])
def test_chunks_cover_the_rows(rows: int) -> None:
    assert [row for part in chunks(rows) for row in range(rows)[part]] == list(range(rows))
