"""Ranges of user keys: the portions in which users are worked on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import polars as pl

KEYS: Final = 1 << 64


@dataclass(frozen=True)
class KeyRange:
    """User keys in `[start, end)`."""

    start: int
    end: int

    def contains(self, column: str = "user_key") -> pl.Expr:
        """Whether a UInt64 column lies in the range."""
        key = pl.col(column)
        last = pl.lit(self.end - 1, pl.UInt64)
        return (key >= pl.lit(self.start, pl.UInt64)) & (key <= last)


def key_ranges(buckets: int) -> list[KeyRange]:
    """`buckets` equal ranges that cover all 64-bit keys."""
    edges = [KEYS * index // buckets for index in range(buckets + 1)]
    return [KeyRange(start, end) for start, end in pairwise(edges)]
