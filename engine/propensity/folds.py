"""Which users test a model, which stop its training, and which are sampled: by a hash of their key, for good.

A user's place is the 64-bit xxHash3 of a salt, a separator and the decimal digits of the user key, as an unsigned
number: even over `[0, 2**64)`, the same in every run, version and place, and unrelated to the key's order, by which
buckets and other samples are cut. Folds are ranges of that number, so a fold of a larger share holds every smaller one.
Samples have a salt of their own: whoever is sampled is no more likely to be in one fold than in another.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import polars as pl

from engine.events.mapping import stable_hash

_PLACES: Final = 1 << 64
_FOLD_SALT: Final = "fold-1"
_SAMPLE_SALT: Final = "sample-1"
_VALID_SHARE: Final = Fraction(1, 3)


def fold_place(user_key: pl.Expr) -> pl.Expr:
    """The place of users among the folds: UInt64, even over `[0, 2**64)`.

    Args:
        user_key: User keys (UInt64).
    """
    return _place(user_key, _FOLD_SALT)


def in_test(user_key: pl.Expr, share: float) -> pl.Expr:
    """Whether users are of the test fold, which holds `share` of them.

    Args:
        user_key: User keys (UInt64).
        share: In `[0, 1)`; 0 is nobody.
    """
    return _below(fold_place(user_key), Fraction(share))


def in_valid(user_key: pl.Expr, test_share: float) -> pl.Expr:
    """Whether users are of the validation fold: a third of those outside the test fold, next to it.

    Args:
        user_key: User keys (UInt64).
        test_share: Share of the test fold.
    """
    test = Fraction(test_share)
    place = fold_place(user_key)
    return ~_below(place, test) & _below(place, test + (1 - test) * _VALID_SHARE)


def in_sample(user_key: pl.Expr, rows: int, limit: int) -> pl.Expr:
    """Whether users are of the sample that keeps about `limit` of `rows` rows: all rows of a user or none.

    A smaller sample is part of every larger one.

    Args:
        user_key: User keys (UInt64).
        rows: Rows there are; at least 1.
        limit: Rows wanted; everyone is in the sample when it is not less than `rows`.
    """
    return _below(_place(user_key, _SAMPLE_SALT), Fraction(limit, rows))


def _place(user_key: pl.Expr, salt: str) -> pl.Expr:
    return stable_hash(pl.concat_str(pl.lit(f"{salt}\x1f"), user_key.cast(pl.String)))


def _below(place: pl.Expr, share: Fraction) -> pl.Expr:
    end = int(share * _PLACES)
    return pl.lit(value=True) if end >= _PLACES else place < pl.lit(end, pl.UInt64)
