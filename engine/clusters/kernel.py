"""The passes over rows that clustering spends its time in: nearest centroid, sums per cluster, nearest other centroid.

Each exists twice, with the same bits: in numpy (`engine.clusters.nearest`), and compiled (`kernel_loops`), which is
several times as fast and takes about a second to load. The compiled one is loaded when numpy has taken as long in this
process, and used only if it gives numpy's bits for some made-up rows. Threads share the rows; a row's values depend on
that row and the centroids alone, and sums are of whole numbers, so no bit depends on threads either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from engine.clusters.nearest import Floats, Labels, row_chunks, squared_distances
from engine.clusters.nearest import nearest as nearest_in_numpy
from engine.clusters.units import MOST_WEIGHT, UNITS, Whole, exact_sums, joined, sum_all, to_units

if TYPE_CHECKING:
    from types import ModuleType

R = TypeVar("R")

# Rows of one piece of work.
_SLICE_ROWS = 1 << 14
# Rows x centroids x features that numpy takes as long for as loading the compiled loops takes.
_WORTH_LOADING = 500_000_000
_SOME_ROWS = 700


@dataclass(frozen=True, eq=False)
class Sums:
    """What an iteration must know of some rows: sums over the rows nearest to each centroid.

    Attributes:
        counts: Weight, shape (k,).
        sums: Weighted sums of the coordinates in units (`engine.clusters.units.UNITS`), shape (k, d).
        costs: Weighted sums of the squared distances to the centroid in fine units (`FINE_UNITS`), k of them.
    """

    counts: Whole
    sums: Whole
    costs: tuple[int, ...]

    @property
    def cost(self) -> int:
        """The sum of the costs, in fine units."""
        return sum(self.costs)


@dataclass(eq=False)
class _Work:
    """Rows x centroids x features that numpy has done in this process."""

    done: int = 0


def nearest(rows: Floats, centroids: Floats, threads: int = 1) -> tuple[Labels, Floats]:
    """As `engine.clusters.nearest.nearest`, bit for bit; compiled and by threads where that is faster."""
    loops = _loops_for(rows, centroids)
    if loops is None:
        return nearest_in_numpy(rows, centroids)
    return _nearest_compiled(loops, rows, centroids, threads)


def own_and_other(
    rows: Floats, centroids: Floats, labels: Labels, offsets: Floats | None = None, threads: int = 1
) -> tuple[Floats, Floats]:
    """Squared distance of each row to the centroid of its own cluster, and the least to another one plus its offset.

    That is all a silhouette on squared distances needs (centroids are the clusters' means, offsets their mean squared
    radius), and without offsets the two distances of a margin.

    Args:
        rows: Shape (n, d), finite; column-major arrays are read fastest.
        centroids: Shape (k, d).
        labels: Cluster of each row, 0 … k - 1.
        offsets: Shape (k,), finite or infinite; 0 when None. The own cluster's is not used.
        threads: Threads that may be used.

    Returns:
        Two arrays of shape (n,); the second is infinite where there is no other centroid.
    """
    added = np.zeros(len(centroids)) if offsets is None else np.asarray(offsets, dtype=np.float64)
    loops = _loops_for(rows, centroids)
    if loops is None:
        return _own_and_other_in_numpy(rows, centroids, labels, added)
    return _own_and_other_compiled(loops, rows, centroids, labels, added, threads)


def block_sums(rows: Floats, centroids: Floats, weights: Whole | None = None, threads: int = 1) -> Sums:
    """Sums of some rows, each counted for its nearest centroid: exact, whatever the order and the threads.

    Args:
        rows: Shape (n, d), within ±`engine.clusters.units.LIMIT`. Coordinates that are not whole units are rounded to
            them for the sums.
        centroids: Shape (k, d).
        weights: How many times each row counts, whole numbers ≥ 0; once when None.
        threads: Threads that may be used.

    Raises:
        ValueError: The weights sum to `engine.clusters.units.MOST_WEIGHT` or more.
    """
    total = len(rows) if weights is None else int(weights.sum())
    if total >= MOST_WEIGHT:
        message = f"a block may weigh up to {MOST_WEIGHT - 1}, got {total}"
        raise ValueError(message)
    loops = _loops_for(rows, centroids)
    if loops is None:
        return _sums_in_numpy(rows, centroids, weights)
    return _sums_compiled(loops, rows, centroids, weights, threads)


def add_sums(parts: Iterable[Sums]) -> Sums:
    """The sums of several sets of rows as those of all; at least one."""
    every = list(parts)
    counts, sums = every[0].counts.copy(), every[0].sums.copy()
    for part in every[1:]:
        counts += part.counts
        sums += part.sums
    return Sums(counts, sums, sum_all([part.costs for part in every]))


def means(sums: Sums, otherwise: Floats) -> Floats:
    """The mean of each cluster, correctly rounded, shape (k, d); one without rows keeps its row of `otherwise`."""
    found = otherwise.copy()
    for cluster, count in enumerate(sums.counts.tolist()):
        if count:
            found[cluster] = [total / (count * UNITS) for total in sums.sums[cluster].tolist()]
    return found


# ----------------------------------------------------------------------------------------------------- which of the two


@lru_cache(maxsize=1)
def compiled_loops() -> ModuleType | None:
    """The compiled loops; None where numba is missing, fails, or disagrees with numpy in any bit."""
    try:
        from engine.clusters import kernel_loops

        return kernel_loops if _agrees(kernel_loops) else None
    except Exception:  # noqa: BLE001 - whatever it is, numpy can do the work
        return None


@lru_cache(maxsize=1)
def _work() -> _Work:
    return _Work()


def _loops_for(rows: Floats, centroids: Floats) -> ModuleType | None:
    size = len(rows) * centroids.size
    if not size:
        return None
    if compiled_loops.cache_info().currsize:
        return compiled_loops()
    work = _work()
    if work.done + size >= _WORTH_LOADING:
        return compiled_loops()
    work.done += size
    return None


def _agrees(loops: ModuleType) -> bool:
    draw = np.random.Generator(np.random.PCG64(1))
    rows, centroids = np.asfortranarray(draw.random((_SOME_ROWS, 6)) * 9 - 4), draw.random((5, 6)) * 9 - 4
    labels, squared = nearest_in_numpy(rows, centroids)
    found, distances = _nearest_compiled(loops, rows, centroids, 1)
    same = found.tobytes() == labels.tobytes() and distances.tobytes() == squared.tobytes()
    added = draw.random(5)
    pairs = zip(
        _own_and_other_in_numpy(rows, centroids, labels, added),
        _own_and_other_compiled(loops, rows, centroids, labels, added, 1),
        strict=True,
    )
    same = same and all(one.tobytes() == other.tobytes() for one, other in pairs)
    for weights in (None, draw.integers(0, 9, _SOME_ROWS)):
        expected, got = _sums_in_numpy(rows, centroids, weights), _sums_compiled(loops, rows, centroids, weights, 1)
        same = same and expected.counts.tolist() == got.counts.tolist()
        same = same and expected.sums.tolist() == got.sums.tolist() and expected.costs == got.costs
    return same


# ------------------------------------------------------------------------------------------------------------- in numpy


def _own_and_other_in_numpy(rows: Floats, centroids: Floats, labels: Labels, offsets: Floats) -> tuple[Floats, Floats]:
    own, other = np.empty(len(rows)), np.empty(len(rows))
    for part in row_chunks(len(rows)):
        distances = squared_distances(rows[part], centroids)
        mine = (labels[part], np.arange(distances.shape[1]))
        own[part] = distances[mine]
        distances += offsets[:, np.newaxis]
        distances[mine] = np.inf
        other[part] = distances.min(axis=0)
    return own, other


def _sums_in_numpy(rows: Floats, centroids: Floats, weights: Whole | None) -> Sums:
    k = len(centroids)
    counts, sums = np.zeros(k, dtype=np.int64), np.zeros(centroids.shape, dtype=np.int64)
    costs = [(0,) * k]
    for part in row_chunks(len(rows)):
        labels, squared = nearest_in_numpy(rows[part], centroids)
        mass = None if weights is None else weights[part]
        np.add.at(counts, labels, 1 if mass is None else mass)
        for feature in range(rows.shape[1]):
            units = to_units(rows[part, feature])
            np.add.at(sums[:, feature], labels, units if mass is None else units * mass)
        costs.append(exact_sums(squared, labels, k, mass))
    return Sums(counts, sums, sum_all(costs))


# ------------------------------------------------------------------------------------------------------------- compiled


def _nearest_compiled(loops: ModuleType, rows: Floats, centroids: Floats, threads: int) -> tuple[Labels, Floats]:
    labels, squared = np.empty(len(rows), dtype=np.intp), np.empty(len(rows))
    centres = np.ascontiguousarray(centroids, dtype=np.float64)

    def find(part: slice) -> None:
        columns, start, stop = _columns(rows, part)
        loops.nearest_rows(columns, start, stop, centres, *_places(part, start, stop, labels, squared))

    _share(find, len(rows), threads)
    return labels, squared


def _own_and_other_compiled(
    loops: ModuleType, rows: Floats, centroids: Floats, labels: Labels, offsets: Floats, threads: int
) -> tuple[Floats, Floats]:
    own, other = np.empty(len(rows)), np.empty(len(rows))
    centres = np.ascontiguousarray(centroids, dtype=np.float64)
    known = _sealed(np.ascontiguousarray(labels, dtype=np.int64))

    def find(part: slice) -> None:
        columns, start, stop = _columns(rows, part)
        loops.own_and_other_rows(columns, start, stop, centres, offsets, *_places(part, start, stop, known, own, other))

    _share(find, len(rows), threads)
    return own, other


def _sums_compiled(loops: ModuleType, rows: Floats, centroids: Floats, weights: Whole | None, threads: int) -> Sums:
    centres = np.ascontiguousarray(centroids, dtype=np.float64)
    mass = _sealed(np.empty(0, dtype=np.int64) if weights is None else np.ascontiguousarray(weights, dtype=np.int64))

    def add(part: slice) -> Sums:
        columns, start, stop = _columns(rows, part)
        (of_rows,) = _places(part, start, stop, mass) if mass.size else (mass,)
        counts, sums, high, low = loops.sum_rows(columns, start, stop, centres, of_rows)
        return Sums(counts, sums, joined(high, low))

    return add_sums(_share(add, len(rows), threads))


def _share(work: Callable[[slice], R], rows: int, threads: int) -> list[R]:
    """What `work` gives for consecutive slices that cover the rows, in their order."""
    slices = [slice(start, min(start + _SLICE_ROWS, rows)) for start in range(0, rows, _SLICE_ROWS)]
    if threads == 1 or len(slices) < 2:
        return [work(part) for part in slices]
    with ThreadPoolExecutor(min(threads, len(slices))) as pool:
        return list(pool.map(work, slices))


def _columns(rows: Floats, part: slice) -> tuple[Floats, int, int]:
    """The rows of a slice as columns, and where they start and end in those."""
    columns = np.asarray(rows, dtype=np.float64).T
    if columns.flags.c_contiguous:
        return _sealed(columns), part.start, part.stop
    return _sealed(np.ascontiguousarray(columns[:, part])), 0, part.stop - part.start


def _places(part: slice, start: int, stop: int, *arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays with one entry per row, in which the entries of a slice have the places `start` to `stop`."""
    return [array if start == part.start and stop == part.stop else array[part] for array in arrays]


def _sealed(array: np.ndarray) -> np.ndarray:
    # One compiled program for arrays that may be written to and for those that may not.
    view = array.view()
    view.flags.writeable = False
    return view
