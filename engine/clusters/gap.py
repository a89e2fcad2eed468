"""The gap statistic: how much tighter the clusters are than those that k-means would find where there are none.

Source: R. Tibshirani, G. Walther and T. Hastie, "Estimating the number of clusters in a data set via the gap statistic"
(2001): gap(k) = mean over references of ln W*(k) - ln W(k), where W is the sum of squared distances to the cluster
means, and s(k) = sd √(1 + 1/B). References are uniform in the box of the ranges of the principal components, choice (b)
of the paper: a plain box around features that go together has empty corners, and anything is tighter than that. The
number of clusters is the smallest k with gap(k) ≥ gap(k + 1) - s(k + 1).

Whatever the algorithm, W is that of k-means, and it is taken on a sample: a difference of logarithms of means hardly
depends on how many rows they are over, while every k is fitted once per reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.clusters.eigen import eigen, product
from engine.clusters.kmeans import kmeans
from engine.clusters.nearest import Floats
from engine.clusters.seeding import generator
from engine.clusters.units import rounded
from engine.clusters.weighted import Weighted, thinned
from engine.stable_math import log

_ROWS: Final = 4000
_REFERENCES: Final = 10
_STARTS: Final = 2
_ITERATIONS: Final = 20
# Seeds of references and of their starts must not meet those of the clusterings themselves.
_PATH: Final = 1_000_003


@dataclass(frozen=True)
class Gap:
    """The gap of one k and its standard error s(k); both NaN where a gap is not defined: no spread is left."""

    gap: float
    error: float


def gaps(users: Weighted, ks: Sequence[int], seed: int, *, threads: int = 1) -> tuple[Gap, ...]:
    """The gap statistic for each number of clusters, on a sample of at most 4,000 rows against 10 references.

    Args:
        users: Prepared rows, in whole units.
        ks: Numbers of clusters.
        seed: Same seed, same users: same bits.
        threads: Threads that may be used.
    """
    few = thinned(users, _ROWS, seed)
    sample = np.asfortranarray(np.repeat(few.rows, few.counts, axis=0))
    middle, axes = _principal_axes(sample)
    turned = product(sample - middle, axes)
    low, high = turned.min(axis=0), turned.max(axis=0)
    logs = np.full((_REFERENCES + 1, len(ks)), np.nan)
    logs[0] = _log_within(sample, ks, seed, threads)
    for reference in range(_REFERENCES):
        random = generator(seed, _PATH, reference)
        drawn = product(low + (high - low) * random.random(sample.shape), axes.T) + middle
        logs[reference + 1] = _log_within(rounded(np.asfortranarray(drawn)), ks, seed, threads)
    return tuple(_gap(float(column[0]), column[1:].tolist()) for column in logs.T)


def _principal_axes(rows: Floats) -> tuple[Floats, Floats]:
    """The mean, and unit vectors of the principal components as columns."""
    d = rows.shape[1]
    middle = np.array([np.add.reduce(np.ascontiguousarray(rows[:, i])) / len(rows) for i in range(d)])
    columns = [np.ascontiguousarray(rows[:, i]) - middle[i] for i in range(d)]
    covariance = np.array([[np.add.reduce(one * other) / len(rows) for other in columns] for one in columns])
    return middle, eigen(covariance)[1]


def _gap(log_within: float, references: list[float]) -> Gap:
    count = len(references)
    mean = math.fsum(references) / count
    deviation = math.sqrt(math.fsum((value - mean) * (value - mean) for value in references) / count)
    if math.isnan(mean - log_within):
        return Gap(math.nan, math.nan)
    return Gap(mean - log_within, deviation * math.sqrt(1 + 1 / count))


def _log_within(rows: Floats, ks: Sequence[int], seed: int, threads: int) -> list[float]:
    distinct = len(np.unique(rows, axis=0))
    values = []
    for k in ks:
        inertia = 0.0
        if k < distinct:
            inertia = kmeans(rows, k, seed=seed, n_init=_STARTS, max_iter=_ITERATIONS, threads=threads).inertia
        values.append(float(log(inertia)) if inertia > 0 else math.nan)
    return values
