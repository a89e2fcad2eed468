"""Ranges of user keys: the portions in which users are worked on, and the files of the store that each has to open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import polars as pl

KEYS: Final = 1 << 64
_PORTION: Final = re.compile(r"-(\d{5,})-of-(\d{5,})\.parquet$")


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


def portion_name(stem: str, number: int, ranges: int) -> str:
    """Name of the file that has the users of `key_ranges(ranges)[number]`, and no others."""
    return f"{stem}-{number:05d}-of-{ranges:05d}.parquet"


class Files:
    """Files of the store, by the users that their names say they can have.

    Args:
        names: Paths; one that `portion_name` has not made can have any user.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._whole: list[int] = []
        self._cut: dict[int, dict[int, list[int]]] = {}
        for place, name in enumerate(self._names):
            if (found := _PORTION.search(name)) is None:
                self._whole.append(place)
            else:
                of_cut = self._cut.setdefault(int(found[2]), {})
                of_cut.setdefault(int(found[1]), []).append(place)

    def within(self, keys: KeyRange) -> tuple[str, ...]:
        """Those that can have users of a range, in their order; one of them all where none can, for its schema."""
        if not self._cut:
            return self._names
        places = list(self._whole)
        for ranges, numbers in self._cut.items():
            for number in _overlapping(ranges, keys):
                places += numbers.get(number, [])
        return tuple(self._names[place] for place in sorted(places)) or self._names[:1]


@cache
def _edges(ranges: int) -> tuple[int, ...]:
    return tuple(KEYS * index // ranges for index in range(ranges + 1))


def _overlapping(ranges: int, keys: KeyRange) -> Iterator[int]:
    """Positions in `key_ranges(ranges)` of those that share keys with a range."""
    number = keys.start * ranges // KEYS
    edges = _edges(ranges)
    while number + 1 < ranges and edges[number + 1] <= keys.start:
        number += 1
    while number < ranges and edges[number] < keys.end:
        yield number
        number += 1
