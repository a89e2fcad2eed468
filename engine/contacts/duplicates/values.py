"""The distinct values of an attribute: what is done to a text is done once, however many contacts have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Rows = npt.NDArray[np.int32]
"""Positions of contacts, or numbers of values; -1 for none."""


@dataclass(frozen=True, eq=False)
class Values:
    """An attribute of contacts.

    Attributes:
        texts: Its distinct values, sorted, without null.
        numbers: The place of each contact's value in `texts`; -1 for null.
    """

    texts: pl.Series
    numbers: Rows


def values_of(column: pl.Series, form: Callable[[str], pl.Expr]) -> Values:
    """The values of a column in a form of `engine.contacts.duplicates.normal`."""
    raw = column.cast(pl.String).alias("raw")
    formed = raw.drop_nulls().unique().to_frame().with_columns(form("raw").alias("text"))
    texts = formed["text"].drop_nulls().unique().sort()
    places = formed.join(texts.to_frame().with_row_index("place"), on="text", how="inner").select("raw", "place")
    numbers = raw.to_frame().join(places, on="raw", how="left", maintain_order="left")["place"]
    return Values(texts, numbers.cast(pl.Int32).fill_null(-1).to_numpy().astype(np.int32, copy=False))


def numbered(texts: pl.Series) -> Rows:
    """A number per distinct text, in the order of the texts; -1 for null."""
    ranks = texts.rank("dense").cast(pl.Int32) - 1
    return ranks.fill_null(-1).to_numpy().astype(np.int32, copy=False)


def together(numbers: Rows, more: Rows) -> Rows:
    """A number per distinct pair of numbers; -1 where one of them is."""
    known = np.flatnonzero((numbers >= 0) & (more >= 0))
    found = np.full(numbers.size, -1, np.int32)
    if known.size:
        span = int(more[known].max()) + 1
        _, places = np.unique(numbers[known].astype(np.int64) * span + more[known], return_inverse=True)
        found[known] = places
    return found


def picked(numbers: Rows, of: Rows) -> Rows:
    """`of` at each number; -1 where there is none."""
    if not of.size:
        return np.full(numbers.size, -1, np.int32)
    return np.where(numbers >= 0, of[np.maximum(numbers, 0)], -1).astype(np.int32)
