"""Ranges of user keys: the portions in which users are worked on, and the files of the store that each has to open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import polars as pl

from engine.events.mapping import stable_hash

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


def in_range(keys: KeyRange, users: pl.Series) -> pl.Expr:
    """Whether a row of a part (`user_key` as it is made of the id, `user_id`) may be of one of the users of a range.

    A key may have been changed to keep two users apart: those users are found by their id, which takes
    reading the whole part. Without any, a range of a sorted part is all that is read.

    Args:
        keys: The range.
        users: The ids of its users.
    """
    made = users.to_frame("user_id").select(pl.col("user_id"), user_key=stable_hash(pl.col("user_id")))
    moved = made.filter(~keys.contains())["user_id"]
    if moved.is_empty():
        return keys.contains()
    return keys.contains() | pl.col("user_id").is_in(moved.implode())


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
