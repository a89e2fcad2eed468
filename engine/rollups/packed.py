"""User, event type and day as one 64-bit key: Polars groups by one integer several times as fast as by three columns.

bits 63–36  number of the user in its bucket
bits 35–24  code of the event type
bits 23–0   day since 1970-01-01, shifted so that it is not negative; or a small number such as a band
"""

from __future__ import annotations

from typing import Final

import polars as pl

MAX_TYPES: Final = 1 << 12
_DAY_ZERO: Final = 1 << 23
_DAY_SPAN: Final = 1 << 24


def pack_day() -> pl.Expr:
    """The key of `user`, `type` and `day` (UInt64)."""
    return _user_and_type() + _shifted_day()


def pack_user_day() -> pl.Expr:
    """The key of `user` and `day` (UInt64), with type 0."""
    return _u64("user") * (MAX_TYPES * _DAY_SPAN) + _shifted_day()


def pack_band() -> pl.Expr:
    """The key of `user`, `type` and `band` (UInt64)."""
    return _user_and_type() + _u64("band")


def unpack_user(key: str) -> pl.Expr:
    """`user` (UInt32) of a packed key."""
    return (pl.col(key) // (MAX_TYPES * _DAY_SPAN)).cast(pl.UInt32).alias("user")


def unpack_type(key: str) -> pl.Expr:
    """`type` (UInt16) of a packed key."""
    return (pl.col(key) // _DAY_SPAN % MAX_TYPES).cast(pl.UInt16).alias("type")


def unpack_day(key: str) -> pl.Expr:
    """`day` (Int32) of a packed key."""
    return ((pl.col(key) % _DAY_SPAN).cast(pl.Int32) - _DAY_ZERO).alias("day")


def unpack_band(key: str) -> pl.Expr:
    """`band` (UInt8) of a packed key."""
    return (pl.col(key) % _DAY_SPAN).cast(pl.UInt8).alias("band")


def _user_and_type() -> pl.Expr:
    return (_u64("user") * MAX_TYPES + _u64("type")) * _DAY_SPAN


def _u64(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.UInt64)


def _shifted_day() -> pl.Expr:
    return (pl.col("day").cast(pl.Int64) + _DAY_ZERO).cast(pl.UInt64)
