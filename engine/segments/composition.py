"""The table `segment_composition`: what kind of users a segment has, beside all users."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import polars as pl

from engine.contacts.personal import is_of_one
from engine.propensity.psi import stability_index
from engine.segments.bins import is_attribute
from engine.segments.stats import Histogram, SegmentStats

OTHER: Final = "(other)"
"""The bin of all values of a column but its `MOST_NAMED` most frequent ones."""

MOST_NAMED: Final = 20

LEAST_USERS: Final = 5
"""A value of a contact attribute that fewer users have is among the others: it would name its owner."""

COMPOSITION_SCHEMA: Final = pl.Schema(
    {
        "segment": pl.String(),
        "column": pl.String(),
        "bin": pl.String(),
        "users": pl.Int64(),
        "share": pl.Float64(),
        "base_share": pl.Float64(),
        "psi": pl.Float64(),
        "psi_chance": pl.Float64(),
        "chi_square": pl.Float64(),
        "degrees_of_freedom": pl.Int32(),
    }
)
"""Columns of `segment_composition`."""


def segment_composition(stats: SegmentStats) -> pl.DataFrame:
    """Users of every segment by bins of scores, tenure, classes of points and contact attributes.

    How far a segment is from all users is told twice per column, and repeated in each of its rows. `psi` is the
    population stability index of the segment against all users; a `psi` below `psi_chance` says nothing (see
    `engine.propensity.psi.psi_table`). `chi_square` is Pearson's statistic of the table bin × in the segment or not,
    with its `degrees_of_freedom`; null for a segment of nobody or everybody.

    Columns with more than `engine.segments.bins.MOST_VALUES` values are left out; of others the `MOST_NAMED` values
    that most of all users have are named, and none of a contact attribute that fewer than `LEAST_USERS` have, or that
    looks like an address, a telephone number or an id: a family or a company shares one.

    Args:
        stats: Counts of the whole run.

    Returns:
        Key `segment`, `column`, `bin` (null: users without a value); the segments in the order of the definitions.
        Bins that no user is in are left out.
    """
    named = [_named(histogram) for histogram in stats.histograms if histogram.bins is not None]
    rows: list[tuple[object, ...]] = []
    for place, segment in enumerate(stats.segments):
        for column, bins, counts in named:
            base, users = counts[0], counts[place + 1]
            away = (*stability_index(base, users), *_chi_square(base, users))
            size, everyone = sum(users), sum(base)
            rows += (
                (segment, column, name, count, count / size if size else None, total / everyone, *away)
                for name, count, total in zip(bins, users, base, strict=True)
                if total
            )
    return pl.DataFrame(rows, COMPOSITION_SCHEMA, orient="row")


def composition_shift(
    then: Sequence[tuple[str | None, int]], now: Sequence[tuple[str | None, int]]
) -> tuple[float, float] | tuple[None, None]:
    """The stability index of one segment and column between two runs, and what chance would give.

    Args:
        then: Bins and users of the earlier run, as the table has them.
        now: The same of the later run.
    """
    before, after = dict(then), dict(now)
    bins = before.keys() | after.keys()
    if OTHER in bins:
        # A value that only one of the runs names is among the other ones of the other run.
        bins = (before.keys() & after.keys()) | (bins & {None})
    named = bins - {OTHER}
    counts = [
        (
            *(side.get(name, 0) for name in named),
            sum(users for name, users in side.items() if name not in named),
        )
        for side in (before, after)
    ]
    return stability_index(*counts)


def named_counts(stats: SegmentStats) -> dict[str, dict[str, list[tuple[str | None, int]]]]:
    """Bins and users of each segment by column, with the bins of the table."""
    named = [_named(histogram) for histogram in stats.histograms if histogram.bins is not None]
    return {
        segment: {column: list(zip(bins, counts[place], strict=True)) for column, bins, counts in named}
        for place, segment in enumerate(stats.segments, start=1)
    }


def _named(histogram: Histogram) -> tuple[str, tuple[str | None, ...], list[list[int]]]:
    """Column, bins and users per bin of all users and of each segment: rare values together, numbers in their order."""
    given = histogram.bins or ()
    base = dict(zip(given, histogram.counts[0], strict=True))
    values = [name for name in given if name is not None]
    missing = [None] if None in base else []
    bins: list[str | None]
    own = is_attribute(histogram.column)
    rare = {name for name in values if own and (base[name] < LEAST_USERS or is_of_one(name))}
    if len(values) > MOST_NAMED or rare:
        frequent = sorted((name for name in values if name not in {OTHER, *rare}), key=lambda name: (-base[name], name))
        bins = [*sorted(frequent[:MOST_NAMED]), OTHER, *missing]
    elif all(name.removeprefix("-").isdecimal() for name in values):
        bins = [*sorted(values, key=int), *missing]
    else:
        bins = list(given)
    places = {name: place for place, name in enumerate(bins)}
    counts = []
    for row in histogram.counts:
        total = [0] * len(bins)
        for name, count in zip(given, row, strict=True):
            total[places[name if name in places else OTHER]] += count
        counts.append(total)
    return histogram.column, tuple(bins), counts


def _chi_square(base: Sequence[int], users: Sequence[int]) -> tuple[float, int] | tuple[None, None]:
    everyone, inside = sum(base), sum(users)
    outside = everyone - inside
    if not inside or not outside:
        return None, None
    used = [(count, total) for count, total in zip(users, base, strict=True) if total]
    # Σ (o − e)² ÷ e over both rows of the table, e = total · row ÷ all, the rows put together.
    terms = ((count * everyone - total * inside) ** 2 / (total * inside * outside) for count, total in used)
    return math.fsum(terms), len(used) - 1
