"""How good a clustering is: silhouette, Calinski-Harabasz, Davies-Bouldin, in two passes over blocks of rows.

The silhouette uses squared Euclidean distances, for which the mean distance of a row to a whole cluster follows from
the cluster's mean and spread alone: mean ‖x - y‖² = ‖x - μ‖² + mean ‖y - μ‖². Spark computes the same number from norms
and sums (`ClusteringEvaluator`); this form subtracts nothing large. It is exact, and not comparable to the silhouette
on plain Euclidean distances. The first pass finds sizes, means and spreads; the second one the silhouettes and the mean
distances to the means. All sums are of whole numbers: no bit depends on how rows are cut into blocks, on their order or
on threads.

Sources: P. Rousseeuw (1987); T. Caliński and J. Harabasz (1974); D. Davies and D. Bouldin (1979); edge cases as in
scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from engine.clusters.blocks import Block, Blocks
from engine.clusters.exact import LAST_UNITS, PER_FINE_UNIT, PER_UNIT, sums_to_the_last_bit
from engine.clusters.kernel import block_sums, nearest, own_and_other
from engine.clusters.nearest import Floats, Labels, squared_distances
from engine.clusters.units import LIMIT, Whole, sum_all

Label = Callable[[Block], Labels]
"""Gives the rows of a block their labels: ≥ 0, negative for rows in no cluster. Picklable, as it goes to the blocks."""

# Where rows in memory are resized to: their squared distances keep the most digits.
_LARGEST: Final = LIMIT


@dataclass(frozen=True)
class ClusterQuality:
    """Figures of one cluster.

    `size` counts its rows; `silhouette` is the mean over them; `radius` their mean distance to the cluster's mean, in
    units of the rows.
    """

    cluster: int
    size: int
    silhouette: float
    radius: float


@dataclass(frozen=True)
class Quality:
    """Figures of one clustering; empty clusters, and rows that are in none, are left out of them.

    `silhouette` is in [-1, 1] and better high, `calinski_harabasz` ≥ 0 and better high, `davies_bouldin` ≥ 0 and better
    low; `smallest_share` is the share of the rows in the smallest cluster. `within` is the sum of squared distances to
    the means of the clusters. `clusters` has one entry per cluster with rows, ascending.
    """

    silhouette: float
    calinski_harabasz: float
    davies_bouldin: float
    smallest_share: float
    within: float
    clusters: tuple[ClusterQuality, ...]


@dataclass(frozen=True, eq=False)
class _First:
    """Of some rows, per cluster: size, sum of squared distances to the reference, sums per feature; units of 2⁻⁷²."""

    sizes: tuple[int, ...]
    squared: tuple[int, ...]
    features: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class _Second:
    """Of some rows, per cluster with rows: sum of silhouettes, and of distances to the mean, in units of 2⁻⁷²."""

    silhouettes: tuple[int, ...]
    distances: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Moments:
    """The clusters with rows, ascending: labels, sizes, means (k, d), mean squared distances to the mean."""

    present: Labels
    sizes: Floats
    means: Floats
    spread: Floats


@dataclass(frozen=True, eq=False)
class _Labelling:
    """How blocks label their rows: by the nearest reference when `label` is None."""

    reference: Floats
    label: Label | None


def assess_blocks(blocks: Blocks, reference: Floats, label: Label | None = None) -> Quality:
    """Figures of a clustering of all rows of the blocks; every block is read twice.

    Args:
        blocks: Prepared rows in whole units.
        reference: Shape (k, d): for each label a place near the mean of its rows, such as its centroid.
        label: What labels rows, with labels below k. The nearest reference when None.

    Raises:
        ValueError: There are fewer than two clusters with rows.
    """
    labelling = _Labelling(reference, label)
    moments = _moments(blocks.map(_first_of_block, labelling), reference)
    return _figures(moments, blocks.map(_second_of_block, (labelling, moments)))


def assess(rows: Floats, labels: Labels, weights: Floats | Whole | None = None) -> Quality:
    """Figures of a clustering of rows in memory, of any size and unit.

    Args:
        rows: Shape (n, d), finite.
        labels: Cluster of each row; rows with negative ones are left out.
        weights: How many times each row counts, whole numbers; once when None. The result is that of the repeated rows.

    Raises:
        ValueError: There are fewer than two clusters with rows.
    """
    resized, unit = _resized(rows)
    mass = None if weights is None else weights.astype(np.int64)
    moments = _moments_in_memory(resized, labels, mass)
    found = _figures(moments, [_second(resized, labels, mass, moments)])
    clusters = tuple(replace(each, radius=each.radius * unit) for each in found.clusters)
    return replace(found, within=found.within * unit * unit, clusters=clusters)


def silhouettes(rows: Floats, labels: Labels, weights: Floats | Whole | None = None) -> Floats:
    """Silhouette of each row on squared Euclidean distances, shape (n,); 0 for the only row of a cluster.

    Raises:
        ValueError: There are fewer than two clusters with rows.
    """
    resized, _ = _resized(rows)
    moments = _moments_in_memory(resized, labels, None if weights is None else weights.astype(np.int64))
    return _silhouettes(resized, np.searchsorted(moments.present, labels), moments, 1)[0]


def _resized(rows: Floats) -> tuple[Floats, float]:
    """The rows about their mean, resized to ±2¹⁰ by a power of two, which costs no digit; and the size of that unit."""
    if not rows.size:
        return rows, 1.0
    # Without the common offset, differences keep the digits that tell clusters apart.
    middle = [np.add.reduce(np.ascontiguousarray(rows[:, feature])) / len(rows) for feature in range(rows.shape[1])]
    centred = np.asfortranarray(rows - np.array(middle))
    largest = float(np.abs(centred).max())
    unit = float(np.ldexp(1.0, int(np.frexp(largest / _LARGEST)[1])))
    return (centred / unit, unit) if largest > 0 else (centred, 1.0)


# ------------------------------------------------------------------------------------------------------ sizes and means


def _first_of_block(block: Block, labelling: _Labelling) -> _First:
    if labelling.label is not None:
        return _first(block.rows, labelling.label(block), block.weights, labelling.reference)
    found = block_sums(block.rows, labelling.reference, block.weights, block.threads)
    return _First(
        sizes=tuple(found.counts.tolist()),
        squared=tuple(cost * PER_FINE_UNIT for cost in found.costs),
        features=tuple(tuple(total * PER_UNIT for total in column) for column in found.sums.T.tolist()),
    )


def _first(rows: Floats, labels: Labels, weights: Whole | None, reference: Floats) -> _First:
    rows, labels, weights = _clustered(rows, labels, weights)
    k = len(reference)
    sizes = np.zeros(k, dtype=np.int64)
    np.add.at(sizes, labels, 1 if weights is None else weights)
    squared, features = np.zeros(len(rows)), []
    for feature in range(rows.shape[1]):
        values = np.ascontiguousarray(rows[:, feature])
        features.append(sums_to_the_last_bit(values, labels, k, weights))
        squared += np.square(values - reference[labels, feature])
    return _First(tuple(sizes.tolist()), sums_to_the_last_bit(squared, labels, k, weights), tuple(features))


def _moments_in_memory(rows: Floats, labels: Labels, weights: Whole | None) -> _Moments:
    places = np.zeros((int(labels.max(initial=-1)) + 1, rows.shape[1]))
    rough = _moments([_first(rows, labels, weights, places)], places)
    places[rough.present] = rough.means
    # Distances to the means themselves, so that nothing has to be taken from them.
    return _moments([_first(rows, labels, weights, places)], places)


def _moments(parts: Sequence[_First], reference: Floats) -> _Moments:
    sizes = np.array(sum_all([part.sizes for part in parts]), dtype=np.int64)
    present = np.flatnonzero(sizes)
    if len(present) < 2:
        message = f"the quality of a clustering needs at least 2 clusters with rows, got {len(present)}"
        raise ValueError(message)
    means = np.empty((len(present), reference.shape[1]))
    spread = _per_row(sum_all([part.squared for part in parts]), sizes, present)
    for feature in range(reference.shape[1]):
        means[:, feature] = _per_row(sum_all([part.features[feature] for part in parts]), sizes, present)
        # mean ‖x - μ‖² = mean ‖x - r‖² - ‖μ - r‖², and little is taken where the reference is near the mean.
        spread -= np.square(means[:, feature] - reference[present, feature])
    return _Moments(present, sizes[present].astype(np.float64), means, np.maximum(spread, 0.0))


def _per_row(totals: Sequence[int], sizes: Whole, present: Labels) -> Floats:
    # Quotients of Python's integers are rounded once.
    return np.array([totals[cluster] / (int(sizes[cluster]) * LAST_UNITS) for cluster in present.tolist()])


# ------------------------------------------------------------------------------------------------ silhouettes and radii


def _second_of_block(block: Block, argument: tuple[_Labelling, _Moments]) -> _Second:
    labelling, moments = argument
    if labelling.label is None:
        labels, _ = nearest(block.rows, labelling.reference, block.threads)
    else:
        labels = labelling.label(block)
    return _second(block.rows, labels, block.weights, moments, block.threads)


def _second(rows: Floats, labels: Labels, weights: Whole | None, moments: _Moments, threads: int = 1) -> _Second:
    rows, labels, weights = _clustered(rows, labels, weights)
    own = np.searchsorted(moments.present, labels)
    values, squared = _silhouettes(rows, own, moments, threads)
    k = len(moments.present)
    return _Second(
        sums_to_the_last_bit(values, own, k, weights), sums_to_the_last_bit(np.sqrt(squared), own, k, weights)
    )


def _silhouettes(rows: Floats, own: Labels, moments: _Moments, threads: int) -> tuple[Floats, Floats]:
    """Silhouettes of rows, and squared distances to the mean of their cluster."""
    squared, outer = own_and_other(rows, moments.means, own, moments.spread, threads)
    alone = moments.sizes <= 1
    # The mean over the other members of the own cluster: a row's distance to itself is 0 and does not count.
    others = moments.sizes / np.where(alone, 1.0, moments.sizes - 1)
    inner = (squared + moments.spread[own]) * others[own]
    larger = np.maximum(inner, outer)
    values = np.zeros(len(rows))
    np.divide(outer - inner, larger, out=values, where=~alone[own] & (larger > 0))
    return values, squared


def _clustered(rows: Floats, labels: Labels, weights: Whole | None) -> tuple[Floats, Labels, Whole | None]:
    """Only what is in a cluster."""
    inside = labels >= 0
    if inside.all():
        return rows, labels, weights
    return np.asfortranarray(rows[inside]), labels[inside], None if weights is None else weights[inside]


# -------------------------------------------------------------------------------------------------------------- figures


def _figures(moments: _Moments, parts: Sequence[_Second]) -> Quality:
    sizes = moments.sizes.astype(np.int64)
    everything = np.arange(len(sizes))
    totals = sum_all([part.silhouettes for part in parts])
    silhouette = _per_row(totals, sizes, everything)
    radius = _per_row(sum_all([part.distances for part in parts]), sizes, everything)
    within = float(np.add.reduce(moments.spread * moments.sizes))
    users = int(np.add.reduce(sizes))
    clusters = zip(moments.present.tolist(), sizes.tolist(), silhouette.tolist(), radius.tolist(), strict=True)
    return Quality(
        silhouette=sum(totals) / (users * LAST_UNITS),
        calinski_harabasz=_calinski_harabasz(moments, within),
        davies_bouldin=_davies_bouldin(moments.means, radius),
        smallest_share=int(sizes.min()) / users,
        within=within,
        clusters=tuple(ClusterQuality(*each) for each in clusters),
    )


def _calinski_harabasz(moments: _Moments, within: float) -> float:
    if within == 0:
        return 1.0
    n, k = float(np.add.reduce(moments.sizes)), len(moments.sizes)
    between = 0.0
    for feature in range(moments.means.shape[1]):
        means = moments.means[:, feature]
        overall = float(np.add.reduce(means * moments.sizes)) / n
        between += float(np.add.reduce(moments.sizes * np.square(means - overall)))
    return between * (n - k) / (within * (k - 1))


def _davies_bouldin(means: Floats, radius: Floats) -> float:
    between = np.sqrt(squared_distances(means, means))
    if not radius.any() or not between.any():
        return 0.0
    between[between == 0] = np.inf
    similarity = (radius[:, np.newaxis] + radius) / between
    return float(np.add.reduce(similarity.max(axis=1))) / len(radius)
