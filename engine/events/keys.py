"""The 64-bit key of a user, and a second hash beside it: algorithms that no version of a library changes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from engine.events.mapping import stable_hash


def user_key(user: pl.Expr, rekeyed: Sequence[tuple[str, int]] = ()) -> pl.Expr:
    """The key of user ids (UInt64): xxHash3 of their text.

    Args:
        user: The ids.
        rekeyed: Ids that share their key with another one, and the salt that gives them one of their own.
    """
    key = stable_hash(user)
    for user_id, salt in rekeyed:
        is_it = user.cast(pl.String) == user_id
        key = pl.when(is_it).then(stable_hash(pl.lit(f"{salt}\x1f{user_id}"))).otherwise(key)
    return key


def check_hash(user: pl.Expr) -> pl.Expr:
    """32-bit xxHash of the value's text (UInt32), to tell two ids of one key apart; null stays null."""
    import polars_hash as plh

    hashed: pl.Expr = plh.concat_str(user.cast(pl.String)).nchash.xxhash32()
    return hashed
