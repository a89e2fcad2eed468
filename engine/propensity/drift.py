"""Histograms of features and scores: made of the users of the fit, and counted again at every score run.

The fit keeps the reference in the bundle; a run counts its users into the same bins, and `engine.propensity.psi` says
how far apart the two are. Counts are whole numbers that add up over buckets, so nothing depends on how users were cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import ConfigDict, TypeAdapter

from engine.propensity.codes import MAX_LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Kind = Literal["numeric", "categorical", "score"]

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class ColumnReference:
    """The histogram of one column at the fit.

    Attributes:
        edges: Of a number: the inner edges, ascending; bins are closed on the right and the outer two are open.
        values: Of a category: the known values as text, ascending by code point.
        counts: Rows per bin: one more than there are edges or values, for categories the last one is of all others.
        nulls: Rows without a value.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    column: str
    kind: Kind
    edges: tuple[float, ...]
    values: tuple[str, ...]
    counts: tuple[int, ...]
    nulls: int


@dataclass(frozen=True)
class Reference:
    """The histograms of the users at the fit, in the order in which the columns were given; part of the bundle."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    rows: int
    columns: tuple[ColumnReference, ...]

    def to_json(self) -> str:
        """One JSON object with one column per line; equal references give equal text."""
        lines = (_column_adapter().dump_json(column).decode() for column in self.columns)
        return f'{{"rows": {self.rows}, "columns": [\n' + ",\n".join(lines) + "\n]}\n"

    @staticmethod
    def from_json(text: str | bytes) -> Reference:
        """The reference that `to_json` wrote.

        Raises:
            ValueError: It is not JSON, has other fields or types, or its parts contradict each other.
        """
        reference = _adapter().validate_json(text)
        problems = _contradictions(reference)
        if problems:
            message = "the drift reference contradicts itself: " + "; ".join(problems)
            raise ValueError(message)
        return reference


@dataclass(frozen=True)
class Counts:
    """Rows of a run in the bins of a reference, in the order of its columns.

    Attributes:
        rows: Users that were counted.
        bins: Per column, rows per bin, as `ColumnReference.counts`.
        nulls: Per column, rows without a value.
    """

    rows: int
    bins: tuple[tuple[int, ...], ...]
    nulls: tuple[int, ...]


def fit_reference(
    frame: pl.DataFrame, numeric: Sequence[str], categorical: Sequence[str], bins: int, scores: Sequence[str] = ()
) -> Reference:
    """The histograms of a frame of users.

    A number gets at most `bins` bins of equal share: inner edges are type-1 quantiles (Hyndman and Fan 1996) of its
    values, so equal values share a bin and there are fewer bins where one value fills several. A column of one single
    value gets a bin for it and one on either side. A category keeps its most frequent values, as many as a model does
    (`MAX_LEVELS`), the smaller one first where counts are equal.

    Args:
        frame: One row per user. Null and NaN are no value; infinite values count in the outer bins.
        numeric: Its columns that are numbers or truth values.
        categorical: Its columns that are categories: text, whole numbers, truth values or dates.
        bins: Bins per numeric column or score, at most.
        scores: Its columns that are scores; null outside of the population of a target.
    """
    columns = [_fit_numeric(frame, name, "numeric", bins) for name in numeric]
    columns += [_fit_categorical(frame, name) for name in categorical]
    columns += [_fit_numeric(frame, name, "score", bins) for name in scores]
    return Reference(frame.height, tuple(columns))


def count(frame: pl.DataFrame, reference: Reference) -> Counts:
    """The rows of a frame in the bins of a reference.

    Args:
        frame: One row per user with the columns of the reference; no rows are fine.
        reference: What `fit_reference` gave.
    """
    bins, nulls = [], []
    for column in reference.columns:
        if column.kind == "categorical":
            values = _text(frame, column.column)
            bins.append(_count_values(values, column.values))
            nulls.append(values.null_count())
        else:
            numbers = _numbers(frame, column.column)
            bins.append(_count_between(numbers, column.edges))
            nulls.append(frame.height - numbers.size)
    return Counts(frame.height, tuple(bins), tuple(nulls))


def add(first: Counts, second: Counts) -> Counts:
    """The counts of the users of both.

    Raises:
        ValueError: They are counts of different references.
    """
    bins = zip(first.bins, second.bins, strict=True)
    return Counts(
        first.rows + second.rows,
        tuple(tuple(a + b for a, b in zip(one, other, strict=True)) for one, other in bins),
        tuple(a + b for a, b in zip(first.nulls, second.nulls, strict=True)),
    )


def _numbers(frame: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return frame.get_column(column).cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()


def _text(frame: pl.DataFrame, column: str) -> pl.Series:
    return frame.get_column(column).cast(pl.String)


def _fit_numeric(frame: pl.DataFrame, column: str, kind: Kind, bins: int) -> ColumnReference:
    numbers = _numbers(frame, column)
    edges = _edges(np.sort(numbers), bins)
    counts = _count_between(numbers, edges)
    return ColumnReference(column, kind, edges, (), counts, frame.height - numbers.size)


def _edges(ordered: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    # Adding 0 makes a negative zero an ordinary one.
    ordered = ordered[np.isfinite(ordered)] + 0.0
    if not ordered.size:
        return ()
    lowest, highest = float(ordered[0]), float(ordered[-1])
    if lowest == highest:
        below = math.nextafter(lowest, -math.inf)
        return (below, lowest) if math.isfinite(below) else (lowest,)
    ranks = -(-np.arange(1, bins) * ordered.size // bins)
    inner = np.unique(ordered[ranks - 1])
    # Above the highest value nobody is.
    return tuple(float(edge) for edge in inner if edge < highest)


def _count_between(numbers: NDArray[np.float64], edges: tuple[float, ...]) -> tuple[int, ...]:
    # A comparison with every edge takes a seventh of the time of a search for every number.
    above = [numbers.size, *(int(np.count_nonzero(numbers > edge)) for edge in edges), 0]
    return tuple(more - less for more, less in pairwise(above))


def _fit_categorical(frame: pl.DataFrame, column: str) -> ColumnReference:
    text = _text(frame, column)
    sizes = text.drop_nulls().value_counts(name="rows").sort(["rows", column], descending=[True, False])
    values = tuple(sorted(sizes.get_column(column).head(MAX_LEVELS)))
    counts = _count_values(text, values)
    return ColumnReference(column, "categorical", (), values, counts, text.null_count())


def _count_values(text: pl.Series, values: tuple[str, ...]) -> tuple[int, ...]:
    known = text.drop_nulls()
    if not values:
        return (len(known),)
    places = known.replace_strict(
        list(values), list(range(len(values))), default=len(values), return_dtype=pl.Int32
    ).to_numpy()
    return tuple(int(rows) for rows in np.bincount(places, minlength=len(values) + 1))


def _contradictions(reference: Reference) -> list[str]:
    names = [column.column for column in reference.columns]
    problems = [f"{name!r} is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    for column in reference.columns:
        rules = {
            "edges or values of another kind": not (column.edges if column.kind == "categorical" else column.values),
            "edges or values not ascending": list(column.edges) == sorted(set(column.edges))
            and list(column.values) == sorted(set(column.values)),
            "not one count per bin": len(column.counts) == len(column.edges) + len(column.values) + 1,
            "counts below 0": min((*column.counts, column.nulls)) >= 0,
            "counts that are not its rows": sum(column.counts) + column.nulls == reference.rows,
        }
        problems += [f"{column.column!r} has {problem}" for problem, holds in rules.items() if not holds]
    return problems


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Reference]:
    return TypeAdapter(Reference)


@lru_cache(maxsize=1)
def _column_adapter() -> TypeAdapter[ColumnReference]:
    return TypeAdapter(ColumnReference)
