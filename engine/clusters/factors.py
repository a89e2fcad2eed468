"""Factor analysis: the few hidden quantities that the correlations of the features come from.

Principal axis factoring with varimax, rather than maximum likelihood (scikit-learn's `FactorAnalysis`): it needs the
correlation matrix alone, which is summed exactly, and eigenvectors, so that its bits do not depend on the order of the
users or on the linear algebra library; and it does not assume normal features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.clusters.eigen import eigen, product
from engine.clusters.nearest import Floats

# Less common variance than this is rounding noise.
_NOISE: Final = 1e-9
# A feature keeps some variance of its own, without which scores would weigh it infinitely (Heywood case).
_MAX_COMMUNALITY: Final = 0.995
_MAX_ITERATIONS: Final = 100
_TOLERANCE: Final = 1e-6
_MAX_SWEEPS: Final = 100
_STILL: Final = 1e-10


@dataclass(frozen=True, eq=False)
class Factors:
    """Factors of standardised features.

    Attributes:
        loadings: Shape (d, m): the correlations of features and factors, after varimax; factors fall with the variance
            that they explain. Signs are left as they come.
        weights: Shape (d, m): a factor's score is the sum of its weights times the standardised features, the
            regression estimate (Thomson 1939), as in scikit-learn.
        kept: Share of the common variance that was asked for and reached.
    """

    loadings: Floats
    weights: Floats
    kept: float


def count_for(values: Floats, share: float) -> int:
    """How many of falling non-negative values it takes for `share` of their sum; at least one."""
    total = math.fsum(values.tolist())
    kept = 1
    while kept < len(values) and math.fsum(values[:kept].tolist()) < (share - 1e-12) * total:
        kept += 1
    return kept


def principal_axes(correlation: Floats, share: float) -> Factors | None:
    """Principal axis factoring (Harman 1976, chapter 8) with varimax; None if the features have nothing in common.

    Communalities start at each feature's greatest absolute correlation with another, which a singular matrix has too.
    As many factors are kept as it takes for `share` of the common variance, which is the sum of the positive
    eigenvalues of the correlation matrix with those communalities on its diagonal (the rule PROPORTION of SAS). Then
    loadings and communalities are found from each other until no communality moves by 10⁻⁶, at most 100 times.

    Args:
        correlation: Shape (d, d), d ≥ 1.
        share: Share of the common variance to keep, above 0 and up to 1.
    """
    size = len(correlation)
    reduced = correlation.copy()
    diagonal = np.arange(size)
    reduced[diagonal, diagonal] = 0.0
    common = np.minimum(np.abs(reduced).max(axis=1), _MAX_COMMUNALITY)
    if common.max() <= _NOISE:
        return None
    reduced[diagonal, diagonal] = common
    values, vectors = eigen(reduced)
    positive = np.maximum(values, 0.0)
    count = count_for(positive, share)
    kept = math.fsum(positive[:count].tolist()) / math.fsum(positive.tolist())
    loadings = _loadings(values, vectors, count)
    for _ in range(_MAX_ITERATIONS):
        before, common = common, _communalities(loadings)
        if np.abs(common - before).max() <= _TOLERANCE:
            break
        reduced[diagonal, diagonal] = common
        loadings = _loadings(*eigen(reduced), count)
    loadings = varimax(loadings)
    return Factors(loadings, _score_weights(loadings), kept)


def varimax(loadings: Floats) -> Floats:
    """Turns factors so that each has few large loadings (Kaiser 1958, without his normalisation), as a new array.

    Factors are turned in pairs by the angle that maximises the variance of the squared loadings, until no pair moves.
    Columns then fall with their sum of squares.
    """
    turned = loadings.copy()
    count = turned.shape[1]
    for _ in range(_MAX_SWEEPS):
        moved = 0.0
        for first in range(count):
            for second in range(first + 1, count):
                one, other = turned[:, first].copy(), turned[:, second].copy()
                cosine, sine = _varimax_rotation(one, other)
                turned[:, first] = cosine * one + sine * other
                turned[:, second] = cosine * other - sine * one
                moved = max(moved, abs(sine))
        if moved <= _STILL:
            break
    return turned[:, np.argsort(-_sums(turned * turned), kind="stable")]


def _varimax_rotation(one: Floats, other: Floats) -> tuple[float, float]:
    """Cosine and sine of a quarter of Kaiser's angle, by halving it twice: square roots alone are the same anywhere."""
    difference, twice = one * one - other * other, 2.0 * one * other
    total, crossed = math.fsum(difference.tolist()), math.fsum(twice.tolist())
    sine = 2.0 * math.fsum((difference * twice).tolist()) - 2.0 * total * crossed / len(one)
    cosine = math.fsum((difference * difference - twice * twice).tolist())
    cosine -= (total * total - crossed * crossed) / len(one)
    length = math.sqrt(sine * sine + cosine * cosine)
    if length == 0.0:
        return 1.0, 0.0
    cosine, sine = cosine / length, sine / length
    for _ in range(2):
        # The greater of the two comes from the root, the smaller from their product: neither loses digits.
        greater = math.sqrt((1.0 + abs(cosine)) / 2.0)
        smaller = abs(sine) / (2.0 * greater)
        pair = (greater, smaller) if cosine >= 0.0 else (smaller, greater)
        cosine, sine = pair[0], math.copysign(pair[1], sine)
    return cosine, sine


def _loadings(values: Floats, vectors: Floats, count: int) -> Floats:
    return vectors[:, :count] * np.sqrt(np.maximum(values[:count], 0.0))


def _communalities(loadings: Floats) -> Floats:
    return np.minimum(_sums((loadings * loadings).T), _MAX_COMMUNALITY)


def _score_weights(loadings: Floats) -> Floats:
    """Ψ⁻¹ Λ (I + Λᵀ Ψ⁻¹ Λ)⁻¹, Ψ being what a feature's variance has of its own."""
    weighted = loadings / (1.0 - _communalities(loadings))[:, np.newaxis]
    values, vectors = eigen(product(loadings.T, weighted))
    return product(weighted, product(vectors / (1.0 + values), vectors.T))


def _sums(columns: Floats) -> Floats:
    """The sum of each column, exact and rounded once."""
    return np.array([math.fsum(column) for column in columns.T.tolist()])
