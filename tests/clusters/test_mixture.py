from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from engine.clusters.blocks import ArrayBlocks, Block, FileBlocks, array_blocks, write_block
from engine.clusters.gaussians import Kind, Mixture
from engine.clusters.mixture import MixtureFit, fit_mixture, parameters, responsibilities
from engine.clusters.units import rounded
from engine.execution.local import LocalExecutor

CENTRES = np.array([[0.0, 0, 0], [4, 0, 1], [0, 5, -2]])
SPREADS = np.array([[0.5, 1, 0.7], [1, 0.4, 0.5], [0.8, 0.8, 0.8]])
SHARES = np.array([0.5, 0.3, 0.2])
KINDS: list[Kind] = ["diagonal", "full"]


def planted(n: int = 4000, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    kind = random.choice(3, size=n, p=SHARES)
    return np.asfortranarray(rounded(CENTRES[kind] + random.normal(size=(n, 3)) * SPREADS[kind]))


def bits(fit: MixtureFit) -> tuple[object, ...]:
    return fit.mixture, fit.sizes.tolist(), fit.log_likelihood, fit.bic, fit.iterations


@pytest.mark.parametrize("kind", KINDS)
def test_known_centres_are_recovered(kind: Kind) -> None:
    fit = fit_mixture(array_blocks(planted(20_000)), 3, CENTRES + 0.5, covariance=kind)
    order = [0, 2, 1]
    assert fit.converged
    means = sorted(fit.mixture.means, key=lambda mean: (round(mean[0]), mean[1]))
    np.testing.assert_allclose(means, CENTRES[order], atol=0.05)
    places = [fit.mixture.means.index(mean) for mean in means]
    np.testing.assert_allclose(np.array(fit.mixture.weights)[places], SHARES[order], atol=0.01)
    diagonal = slice(None) if kind == "diagonal" else [0, 2, 5]
    found = np.array(fit.mixture.covariances)[places][:, diagonal]
    np.testing.assert_allclose(found, SPREADS[order] ** 2, rtol=0.06)
    if kind == "full":
        np.testing.assert_allclose(np.array(fit.mixture.covariances)[:, [1, 3, 4]], 0, atol=0.03)


@pytest.mark.parametrize(("kind", "theirs"), [("diagonal", "diag"), ("full", "full")])
def test_the_mixture_of_scikit_learn_from_the_same_start(kind: Kind, theirs: str) -> None:
    rows = planted(1500, seed=3)
    random = np.random.default_rng(4)
    start = fit_mixture(array_blocks(rows), 3, CENTRES + random.normal(size=(3, 3)) * 0.5, covariance=kind, max_iter=0)
    precisions = 1 / np.array(start.mixture.covariances)
    if kind == "full":
        triangles = np.zeros((3, 3, 3))
        triangles[:, *np.tril_indices(3)] = start.mixture.covariances
        precisions = np.linalg.inv(triangles + np.tril(triangles, -1).transpose(0, 2, 1))
    reference = GaussianMixture(
        3,
        covariance_type=theirs,
        weights_init=start.mixture.weights,
        means_init=start.mixture.means,
        precisions_init=precisions,
        tol=1e-12,
        max_iter=1000,
    ).fit(rows)
    fit = fit_mixture(array_blocks(rows), 3, start.mixture, covariance=kind, tol=1e-12, max_iter=1000)
    order = np.lexsort(reference.means_.T[::-1])
    covariances = reference.covariances_[order]
    covariances = covariances if kind == "diagonal" else covariances[:, *np.tril_indices(3)]
    np.testing.assert_allclose(fit.mixture.means, reference.means_[order], atol=1e-6)
    np.testing.assert_allclose(fit.mixture.weights, reference.weights_[order], atol=1e-7)
    np.testing.assert_allclose(fit.mixture.covariances, covariances, atol=1e-6)
    assert fit.bic == pytest.approx(reference.bic(rows), rel=1e-8)
    assert fit.log_likelihood == pytest.approx(reference.score(rows) * len(rows), rel=1e-8)
    np.testing.assert_allclose(responsibilities(rows, fit.mixture), reference.predict_proba(rows)[:, order], atol=1e-6)
    assert fit.sizes.tolist() == np.bincount(np.argsort(order)[reference.predict(rows)]).tolist()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 100), cuts=st.lists(st.integers(0, 9000), max_size=4), threads=st.sampled_from([1, 3]))
def test_order_blocks_and_threads_change_no_bit(kind: Kind, seed: int, cuts: list[int], threads: int) -> None:
    rows = planted(9000)
    whole = fit_mixture(array_blocks(rows), 3, CENTRES, covariance=kind, max_iter=2)
    shuffled = np.random.default_rng(seed).permutation(rows)
    blocks = tuple(Block(np.asfortranarray(part), threads=threads) for part in np.split(shuffled, sorted(cuts)))
    assert bits(fit_mixture(ArrayBlocks(blocks), 3, CENTRES, covariance=kind, max_iter=2)) == bits(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_in_files_and_in_memory_give_the_same_bits(kind: Kind, tmp_path: Path) -> None:
    rows = planted(1000)
    parts = enumerate(np.split(rows, [0, 300, 990]))
    files = [write_block(part, tmp_path / f"{number}.npy") for number, part in parts]
    found = fit_mixture(FileBlocks(LocalExecutor(), files), 3, CENTRES, covariance=kind)
    assert bits(found) == bits(fit_mixture(array_blocks(rows), 3, CENTRES, covariance=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_is_a_number_of_equal_rows(kind: Kind) -> None:
    random = np.random.default_rng(5)
    rows = planted(400)
    weights = random.integers(0, 6, 400)
    weights[:3] = 2000
    repeated = np.asfortranarray(np.repeat(rows, weights, axis=0))
    weighted = fit_mixture(array_blocks(rows, weights), 3, CENTRES, covariance=kind, max_iter=5)
    assert bits(weighted) == bits(fit_mixture(array_blocks(repeated), 3, CENTRES, covariance=kind, max_iter=5))


def test_great_weights_at_the_limit_of_the_coordinates_are_summed_exactly() -> None:
    rows = np.array([[1024.0], [-1024.0], [1023.0]])
    weights = np.array([2**30, 2**29, 2**29])
    fit = fit_mixture(array_blocks(rows, weights), 1, np.array([[-1024.0]]), max_iter=0)
    mean = sum(Fraction(int(w)) * Fraction(float(x)) for w, x in zip(weights, rows[:, 0], strict=True)) / 2**31
    assert fit.mixture.means == ((float(mean),),)
    variance = sum(int(w) * (Fraction(float(x)) - mean) ** 2 for w, x in zip(weights, rows[:, 0], strict=True)) / 2**31
    assert fit.mixture.covariances[0][0] == pytest.approx(float(variance) + 1e-6, rel=1e-12)
    assert fit.sizes.tolist() == [2**31]


def test_the_likelihood_never_falls() -> None:
    rows, start, before = planted(800, seed=7), np.array([[1.0, 1, 0], [1.5, 1, 0], [2, 2, 0]]), -math.inf
    for iterations in range(25):
        fit = fit_mixture(array_blocks(rows), 3, start, covariance="full", max_iter=iterations, tol=0)
        assert fit.log_likelihood >= before - 1e-3
        before = fit.log_likelihood


@pytest.mark.parametrize(("kind", "expected"), [("diagonal", 3 * 4 + 3 * 4 + 2), ("full", 3 * 4 + 3 * 10 + 2)])
def test_parameters_of_the_criterion(kind: Kind, expected: int) -> None:
    size = 4 if kind == "diagonal" else 10
    assert parameters(Mixture((0.5, 0.3, 0.2), ((0.0,) * 4,) * 3, ((1.0,) * size,) * 3, kind)) == expected


def test_the_criterion_finds_the_planted_number() -> None:
    rows = planted(3000)
    starts = [CENTRES[:1], CENTRES[:2], CENTRES, np.vstack([CENTRES, [[4.0, 1, 1]]])]
    found = [fit_mixture(array_blocks(rows), len(start), start, max_iter=50).bic for start in starts]
    assert found.index(min(found)) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_spike_on_one_row_is_removed(kind: Kind) -> None:
    rows = np.vstack([planted(500), [[100.0, 100, 100]]])
    fit = fit_mixture(array_blocks(rows), 4, np.vstack([CENTRES, rows[-1:]]), covariance=kind)
    assert len(fit.mixture.weights) == 3
    assert sum(fit.mixture.weights) == pytest.approx(1)
    assert fit.sizes.sum() == 501


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_component_is_removed(kind: Kind) -> None:
    start = np.vstack([CENTRES, [[500.0, 500, 500]]])
    fit = fit_mixture(array_blocks(planted(500)), 4, start, covariance=kind)
    assert bits(fit) == bits(fit_mixture(array_blocks(planted(500)), 3, CENTRES, covariance=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_one_component_stays_when_all_are_spikes(kind: Kind) -> None:
    rows = CENTRES
    fit = fit_mixture(array_blocks(rows), 3, rows, covariance=kind)
    assert fit.mixture.weights == (1.0,)
    assert fit.sizes.tolist() == [3]
    np.testing.assert_allclose(fit.mixture.means[0], rows.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_identical_rows_have_the_least_variance(kind: Kind) -> None:
    rows = np.repeat([[1.0, 2.0], [5.0, 5.0]], 10, axis=0)
    fit = fit_mixture(array_blocks(rows), 2, rows[[0, -1]], covariance=kind)
    assert fit.mixture.means == ((1.0, 2.0), (5.0, 5.0))
    least = (1e-6, 1e-6) if kind == "diagonal" else (1e-6, 0.0, 1e-6)
    assert fit.mixture.covariances == (least, least)
    assert math.isfinite(fit.bic)


def test_features_that_say_the_same_have_a_covariance() -> None:
    values = rounded(np.random.default_rng(8).normal(size=(300, 1)) * 300)
    fit = fit_mixture(
        array_blocks(np.hstack([values, values, -values])), 2, np.array([[-100.0] * 3, [100.0] * 3]), covariance="full"
    )
    assert math.isfinite(fit.log_likelihood)
    assert fit.sizes.sum() == 300


def test_one_coordinate_is_enough() -> None:
    rows = rounded(
        np.concatenate([np.random.default_rng(9).normal(size=500), 8 + np.random.default_rng(10).normal(size=500)])
    )
    fits = [fit_mixture(array_blocks(rows[:, None]), 2, np.array([[0.0], [1.0]]), covariance=kind) for kind in KINDS]
    np.testing.assert_allclose(fits[0].mixture.means, [[0], [8]], atol=0.15)
    assert fits[0].mixture.means == fits[1].mixture.means
    assert fits[0].bic == fits[1].bic


def test_components_are_in_the_order_of_their_means() -> None:
    fit = fit_mixture(array_blocks(planted()), 3, CENTRES[[1, 2, 0]])
    assert list(fit.mixture.means) == sorted(fit.mixture.means)
    assert bits(fit) == bits(fit_mixture(array_blocks(planted()), 3, CENTRES))


def test_a_start_of_another_size_or_kind_is_refused() -> None:
    blocks = array_blocks(planted(100))
    with pytest.raises(ValueError, match="start of 4 components"):
        fit_mixture(blocks, 4, CENTRES)
    with pytest.raises(ValueError, match="full covariances, got diagonal"):
        fit_mixture(blocks, 3, fit_mixture(blocks, 3, CENTRES, max_iter=1).mixture, covariance="full")
