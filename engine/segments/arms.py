"""Random arms of an experiment: each user has a place, each arm an interval of places.

The place is the first 8 hexadecimal digits of SHA-256(key ":" id), read as an integer: the same in every run, version
and engine, and for the share of one arm independent of the share of another key's.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import accumulate
from typing import Final

import polars as pl

PLACES: Final = 1 << 32
"""Places are integers in `[0, PLACES)`."""


def arm_bounds(weights: Mapping[str, float]) -> dict[str, tuple[int, int]]:
    """The interval `[low, high)` of each arm; together they cover all places without a gap.

    The bounds are the shares of the weights added up in their order, times 2^32, each rounded once: no arm is more than
    one place off its share.

    Args:
        weights: Arms in order, with positive weights of any sum.
    """
    exact = [Fraction(weight) for weight in weights.values()]
    total = sum(exact)
    edges = [0, *(round(PLACES * part / total) for part in accumulate(exact))]
    return {arm: (edges[index], edges[index + 1]) for index, arm in enumerate(weights)}


def places(user_id: pl.Series, key: str) -> pl.Series:
    """The place of each user: Int64 in `[0, PLACES)`, in the order of the ids.

    Args:
        user_id: Ids, text or whole numbers, which are hashed as their decimal text.
        key: Text that is hashed with each id.
    """
    import polars_hash as plh

    text = pl.concat_str(pl.lit(f"{key}:"), pl.lit(user_id).cast(pl.String))
    digest: pl.Expr = plh.concat_str(text).chash.sha2_256()
    place = digest.str.slice(0, 8).str.to_integer(base=16, dtype=pl.Int64)
    return pl.select(place.alias("place")).to_series()
