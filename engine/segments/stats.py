"""What is counted of the segments of a bucket, for guards, key figures and composition: integers that add up.

Counts are of whole numbers alone, so the sum over buckets does not depend on how users were cut into them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.features.spec import FeatureSpec
from engine.segments.bins import MOST_VALUES, Binned, binned
from engine.segments.bitsets import Words, in_common, packed, sums_over
from engine.segments.figures import figures

if TYPE_CHECKING:
    import polars as pl

MOST_PAIRED: Final = 200
"""With more segments than these, pairs of them are not compared: there would be too many to read."""


@dataclass(frozen=True)
class Histogram:
    """Users of every segment in the bins of one column.

    Attributes:
        bins: What each bin is called, None for users without a value; as a whole None with more than `MOST_VALUES`
            different values.
        counts: Users per bin: of all users first, then of each segment.
    """

    column: str
    bins: tuple[str | None, ...] | None
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class SegmentStats:
    """Counts of one bucket, or of several together.

    Attributes:
        users: All users.
        segments: Names, in the order of the definitions.
        sizes: Users of each.
        sums: By name as `engine.segments.figures.figures` gives them: the sum over all users, then over each segment.
        shared: Users of both segments of a pair: for each segment those with the ones behind it; None with more than
            `MOST_PAIRED` segments.
        clauses: Segment, clause, and users for whom it holds.
        histograms: In the order in which the columns are told.
        matched: Segment of a group, and users for whom its rule holds, also those whom others take before.
    """

    users: int
    segments: tuple[str, ...]
    sizes: tuple[int, ...]
    sums: tuple[tuple[str, tuple[int, ...]], ...]
    shared: tuple[tuple[int, ...], ...] | None
    clauses: tuple[tuple[str, str, int], ...]
    histograms: tuple[Histogram, ...]
    matched: tuple[tuple[str, int], ...] = ()


def segment_stats(
    users: pl.DataFrame,
    holds: pl.DataFrame,
    clauses: Sequence[tuple[str, str, int]],
    *,
    spec: FeatureSpec,
    window: int,
    attributes: Collection[str] = (),
    cards: Collection[str] = (),
    matched: Mapping[str, int] | None = None,
) -> SegmentStats:
    """The counts of one bucket.

    Args:
        users: One row per user with features, `rfm_monetary_minor`, scores, classes of points and contact attributes.
        holds: One Boolean column per segment, in the same order of users: who is in it in the end.
        clauses: Segment, clause, and users for whom it holds.
        spec: The features.
        window: Window of the key figures in days.
        attributes: Contact attributes.
        cards: Names of the point cards.
        matched: By segment of a group, users for whom its rule holds; not known when None.
    """
    everyone = np.ones(users.height, dtype=np.bool_)
    sets = packed((everyone, *(holds[name].to_numpy() for name in holds.columns)), users.height)
    values = users.select(**figures(spec, window, users.columns))
    return SegmentStats(
        users=users.height,
        segments=tuple(holds.columns),
        sizes=tuple(int(holds[name].sum()) for name in holds.columns),
        sums=tuple((name, sums_over(sets, values[name].to_numpy())) for name in values.columns),
        shared=None if holds.width > MOST_PAIRED else _shared(sets[1:]),
        clauses=tuple(clauses),
        histograms=tuple(_histogram(sets, column) for column in binned(users, attributes, cards)),
        matched=tuple((matched or {}).items()),
    )


def add(left: SegmentStats, right: SegmentStats) -> SegmentStats:
    """The counts of the users of both, who are different ones.

    Raises:
        ValueError: They are of other segments, figures, clauses, columns or rules.
    """
    shapes = [
        (
            some.segments,
            [name for name, _ in some.sums],
            [clause[:2] for clause in some.clauses],
            [histogram.column for histogram in some.histograms],
            [name for name, _ in some.matched],
        )
        for some in (left, right)
    ]
    if shapes[0] != shapes[1]:
        message = (
            "expected counts of the same segments, figures, clauses, columns and rules, "
            f"got {shapes[0]} and {shapes[1]}"
        )
        raise ValueError(message)
    return SegmentStats(
        users=left.users + right.users,
        segments=left.segments,
        sizes=_plus(left.sizes, right.sizes),
        sums=tuple((name, _plus(a, b)) for (name, a), (_, b) in zip(left.sums, right.sums, strict=True)),
        shared=None
        if left.shared is None or right.shared is None
        else tuple(_plus(a, b) for a, b in zip(left.shared, right.shared, strict=True)),
        clauses=tuple(
            (segment, text, a + b) for (segment, text, a), (_, _, b) in zip(left.clauses, right.clauses, strict=True)
        ),
        histograms=tuple(_together(a, b) for a, b in zip(left.histograms, right.histograms, strict=True)),
        matched=tuple((name, a + b) for (name, a), (_, b) in zip(left.matched, right.matched, strict=True)),
    )


def _shared(sets: Words) -> tuple[tuple[int, ...], ...]:
    found = (in_common(sets[place : place + 1], sets[place + 1 :])[0] for place in range(len(sets)))
    return tuple(tuple(row.tolist()) for row in found)


def _histogram(sets: Words, column: Binned) -> Histogram:
    if column.bins is None:
        return Histogram(column.column, None, ())
    inside = packed((column.places == place for place in range(len(column.bins))), len(column.places))
    return Histogram(column.column, column.bins, tuple(map(tuple, in_common(sets, inside).tolist())))


def _together(left: Histogram, right: Histogram) -> Histogram:
    if left.bins is None or right.bins is None:
        return Histogram(left.column, None, ())
    bins = left.bins if left.bins == right.bins else _all_bins(left.bins, right.bins)
    if len(bins) - (None in bins) > MOST_VALUES:
        return Histogram(left.column, None, ())
    spread = [_spread(some, bins) for some in (left, right)]
    return Histogram(left.column, bins, tuple(_plus(a, b) for a, b in zip(*spread, strict=True)))


def _all_bins(left: tuple[str | None, ...], right: tuple[str | None, ...]) -> tuple[str | None, ...]:
    """Values in their order, then the bin of users without one."""
    values = {value for value in (*left, *right) if value is not None}
    return (*sorted(values), *((None,) if None in (*left, *right) else ()))


def _spread(histogram: Histogram, bins: tuple[str | None, ...]) -> list[tuple[int, ...]]:
    if histogram.bins == bins or histogram.bins is None:
        return list(histogram.counts)
    known = [dict(zip(histogram.bins, row, strict=True)) for row in histogram.counts]
    return [tuple(row.get(value, 0) for value in bins) for row in known]


def _plus(left: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))
