"""Gaussian mixtures by expectation-maximisation over blocks of rows.

Source: A. Dempster, N. Laird and D. Rubin, "Maximum likelihood from incomplete data via the EM algorithm" (1977); the
start and the ridge `reg_covar` as in scikit-learn's `GaussianMixture`.

One iteration needs only sums over the rows (sufficient statistics), and these are sums of whole numbers: the same rows
give the same mixture however they are cut into blocks, in whatever order, wherever the sums are made. For that, what
is added is rounded: a row's responsibilities to multiples of 2⁻⁴⁰ (what rounding took goes to the most likely
component, so that they still sum to 1), each product of a responsibility and a coordinate to a multiple of 2⁻⁴⁰, of a
responsibility and two deviations from the mean to a multiple of 2⁻²⁸, a logarithm of a density to one of 2⁻²⁰. A mean
is thereby off by at most some 2⁻⁴¹, a covariance by 2⁻²⁹ (2 · 10⁻⁹), both divided by the component's share of the
rows: below `reg_covar` for shares down to 0.2 %, and for smaller ones too unless the errors all have one sign.

A component that is responsible for fewer than two rows is a spike on one row, where the likelihood has no bound: it is
removed and its rows fall to the others, of which at least one, the heaviest, stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.clusters.blocks import Block, Blocks
from engine.clusters.gaussians import Densities, Kind, Mixture, cholesky, chunks, densities, log_densities, shares
from engine.clusters.kernel import nearest
from engine.clusters.nearest import Floats, Labels
from engine.clusters.units import Whole
from engine.stable_math import log

# Python's integers, which never overflow.
Totals = NDArray[np.object_]

# Of at most 4,096 rows with coordinates within ±2¹⁰, sums of each of the products below fit 64 bits.
_SHARE_UNITS: Final = 2**40
_PRODUCT_UNITS: Final = 2**28
_LIKELIHOOD_UNITS: Final = 2**20
_LEAST_LOGARITHM: Final = -(2.0**30)
_LIMB_BITS: Final = 17
_LEAST_ROWS: Final = 2


@dataclass(frozen=True, eq=False)
class MixtureFit:
    """A mixture and the rows it was fitted to.

    `sizes` (k,), the weight of the rows most likely of each component, and `log_likelihood`, its natural logarithm
    summed over the rows, belong to exactly this mixture. `bic` is the Bayesian information criterion, lower is better.
    `iterations` counts updates of the parameters. The mixture may have fewer components than the start.
    """

    mixture: Mixture
    sizes: Floats
    log_likelihood: float
    bic: float
    iterations: int
    converged: bool


@dataclass(frozen=True, eq=False)
class MixtureSums:
    """What an iteration must know of a block, in whole units.

    Per component the rows most likely of it (k,), the responsibilities (k,), the sums of coordinates (k, d) and of
    products of deviations (k, d or d (d + 1) / 2), and the sum of the rows' log-densities (1,).
    """

    sizes: Totals
    weights: Totals
    sums: Totals
    products: Totals
    log_likelihood: Totals


def fit_mixture(
    blocks: Blocks,
    k: int,
    start: Floats | Mixture,
    *,
    covariance: Kind = "diagonal",
    reg_covar: float = 1e-6,
    max_iter: int = 100,
    tol: float = 1e-4,
) -> MixtureFit:
    """Expectation-maximisation until the likelihood rests; components in the lexicographic order of their means.

    Args:
        blocks: Prepared rows, at least one in total, of coordinates within ±2¹⁰; read once per iteration.
        k: Number of components at the start.
        start: Centroids of k-means, shape (k, d), whose clusters are the first components, or a mixture.
        covariance: What the components' covariances are.
        reg_covar: Positive; added to every variance, in squared units of the rows.
        max_iter: Most updates of the parameters.
        tol: Stop when the mean log-likelihood of a row changes by at most this.

    Raises:
        ValueError: `start` does not have k components, or is a mixture of another kind of covariance.
    """
    if len(start.means if isinstance(start, Mixture) else start) != k:
        message = f"expected a start of {k} components"
        raise ValueError(message)
    if isinstance(start, Mixture):
        if start.kind != covariance:
            message = f"expected a start with {covariance} covariances, got {start.kind}"
            raise ValueError(message)
        mixture = start
    else:
        mixture = _maximised(_added(blocks.map(_hard_sums, (start, covariance))), start, covariance, reg_covar)
    iterations, change, before = 0, math.inf, -math.inf
    while True:
        found = _added(blocks.map(_soft_sums, densities(mixture)))
        rows = int(found.sizes.sum())
        likelihood = int(found.log_likelihood[0]) / _LIKELIHOOD_UNITS
        change, before = abs(likelihood / rows - before), likelihood / rows
        if change <= tol or iterations == max_iter:
            break
        components = len(mixture.weights)
        mixture = _maximised(found, np.array(mixture.means), covariance, reg_covar)
        iterations += 1
        if len(mixture.weights) < components:
            before = -math.inf
    bic = parameters(mixture) * float(log(rows)) - 2 * likelihood
    fit = MixtureFit(mixture, found.sizes.astype(np.float64), likelihood, bic, iterations, converged=change <= tol)
    return _ordered(fit)


def parameters(mixture: Mixture) -> int:
    """How many numbers a mixture is free to choose: means, distinct covariances, and all shares but one."""
    k, d = len(mixture.weights), len(mixture.means[0])
    return k * d + sum(map(len, mixture.covariances)) + k - 1


def responsibilities(rows: Floats, mixture: Mixture) -> Floats:
    """How likely each row is of each component, shape (n, k); the responsibilities of a row sum to 1.

    Args:
        rows: Shape (n, d), finite. A row's bits depend on that row alone.
        mixture: The mixture.
    """
    ready = densities(mixture)
    result = np.empty((len(rows), len(mixture.weights)))
    for part in chunks(len(rows)):
        result[part] = shares(log_densities(rows[part], ready)[0])[0].T
    return result


def _hard_sums(block: Block, argument: tuple[Floats, Kind]) -> MixtureSums:
    centroids, kind = argument

    def expect(rows: Floats) -> _Expected:
        labels, _ = nearest(rows, centroids)
        return _Expected(
            labels, np.where(_one_hot(labels, len(centroids)), float(_SHARE_UNITS), 0.0), np.zeros(len(rows))
        )

    return _sums(block, expect, centroids, kind)


def _soft_sums(block: Block, ready: Densities) -> MixtureSums:
    def expect(rows: Floats) -> _Expected:
        logarithms, _ = log_densities(rows, ready)
        labels = logarithms.argmax(axis=0)
        parts, likelihood = shares(logarithms)
        units = np.rint(parts * _SHARE_UNITS)
        units[labels, np.arange(len(rows))] += _SHARE_UNITS - np.add.reduce(units, axis=0)
        return _Expected(labels, units, likelihood)

    return _sums(block, expect, ready.means, "diagonal" if ready.factors.ndim == 2 else "full")


class _Expected(NamedTuple):
    """Of some rows: the most likely component, the responsibilities in units (k, n), the logarithm of the density."""

    labels: Labels
    units: Floats
    likelihood: Floats


def _one_hot(labels: Labels, k: int) -> NDArray[np.bool_]:
    return np.asarray(labels == np.arange(k)[:, np.newaxis])


def _sums(block: Block, expect: Callable[[Floats], _Expected], means: Floats, kind: Kind) -> MixtureSums:
    def add(part: slice) -> MixtureSums:
        weights = None if block.weights is None else block.weights[part]
        return _chunk_sums(block.rows[part], weights, expect(block.rows[part]), means, kind)

    parts = list(chunks(len(block.rows))) or [slice(0)]
    if block.threads == 1 or len(parts) == 1:
        return _added(map(add, parts))
    with ThreadPoolExecutor(min(block.threads, len(parts))) as pool:
        return _added(pool.map(add, parts))


def _chunk_sums(rows: Floats, weights: Whole | None, expected: _Expected, means: Floats, kind: Kind) -> MixtureSums:
    k, d = means.shape
    columns = [np.ascontiguousarray(rows[:, feature]) for feature in range(d)]
    sums = [_exact(np.rint(expected.units * values), weights) for values in columns]
    deviations = [values - means[:, feature, np.newaxis] for feature, values in enumerate(columns)]
    products = []
    for i in range(d):
        for j in range(i, i + 1) if kind == "diagonal" else range(i + 1):
            product = expected.units * (deviations[i] * deviations[j]) * (_PRODUCT_UNITS / _SHARE_UNITS)
            products.append(_exact(np.rint(product), weights))
    likelihood = np.maximum(expected.likelihood, _LEAST_LOGARITHM)
    return MixtureSums(
        sizes=_exact(_one_hot(expected.labels, k), weights),
        weights=_exact(expected.units, weights),
        sums=np.column_stack(sums),
        products=np.column_stack(products),
        log_likelihood=_exact(np.rint(likelihood * _LIKELIHOOD_UNITS)[np.newaxis], weights),
    )


def _exact(values: NDArray[np.generic], weights: Whole | None) -> Totals:
    """Sums over the last axis of whole numbers up to 2⁵⁰, each times its weight (up to 2³²), as Python's integers."""
    whole = values.astype(np.int64)
    if weights is None:
        return np.asarray(np.add.reduce(whole, axis=-1), dtype=np.object_)
    result = np.zeros(whole.shape[:-1], dtype=np.object_)
    for limb in range(3):
        part = whole >> (limb * _LIMB_BITS)
        # The highest limb keeps the sign.
        part = part if limb == 2 else part & ((1 << _LIMB_BITS) - 1)
        result += np.add.reduce(part * weights, axis=-1).astype(np.object_) * (1 << (limb * _LIMB_BITS))
    return result


def _added(parts: Iterable[MixtureSums]) -> MixtureSums:
    return reduce(
        lambda one, other: MixtureSums(
            one.sizes + other.sizes,
            one.weights + other.weights,
            one.sums + other.sums,
            one.products + other.products,
            one.log_likelihood + other.log_likelihood,
        ),
        parts,
    )


def _maximised(found: MixtureSums, means: Floats, kind: Kind, reg_covar: float) -> Mixture:
    """The most likely parameters; `means` are those that the products of deviations were taken from."""
    kept = [c for c, weight in enumerate(found.weights) if weight >= _LEAST_ROWS * _SHARE_UNITS]
    kept = kept or [int(np.argmax(found.weights))]
    everything = sum(found.weights[c] for c in kept)
    new_means, covariances = [], []
    for c in kept:
        # Quotients of whole numbers, rounded once.
        mean = [total / found.weights[c] for total in found.sums[c]]
        moved = [new - old for new, old in zip(mean, means[c].tolist(), strict=True)]
        products = [total * (_SHARE_UNITS // _PRODUCT_UNITS) / found.weights[c] for total in found.products[c]]
        new_means.append(tuple(mean))
        covariances.append(_covariance(products, moved, kind, reg_covar))
    shares_of_all = tuple(found.weights[c] / everything for c in kept)
    return Mixture(shares_of_all, tuple(new_means), tuple(covariances), kind)


def _covariance(products: Sequence[float], moved: Sequence[float], kind: Kind, ridge: float) -> tuple[float, ...]:
    if kind == "diagonal":
        return tuple(max(value - by * by, 0.0) + ridge for value, by in zip(products, moved, strict=True))
    pairs = [(i, j) for i in range(len(moved)) for j in range(i + 1)]
    while True:
        covariance = [
            value - moved[i] * moved[j] + (ridge if i == j else 0.0)
            for value, (i, j) in zip(products, pairs, strict=True)
        ]
        try:
            cholesky(covariance)
        except ValueError:
            # Rounding took more than the ridge gives, which only features that say the same at a large scale can do.
            ridge *= 10
            continue
        return tuple(covariance)


def _ordered(fit: MixtureFit) -> MixtureFit:
    mixture = fit.mixture
    order = sorted(range(len(mixture.means)), key=lambda c: mixture.means[c])
    weights = tuple(mixture.weights[c] for c in order)
    means = tuple(mixture.means[c] for c in order)
    covariances = tuple(mixture.covariances[c] for c in order)
    return replace(fit, mixture=Mixture(weights, means, covariances, mixture.kind), sizes=fit.sizes[order])
