"""From minor to major units: the one division by which money leaves the integers."""

from __future__ import annotations

import polars as pl


def major_units(minor: pl.Expr, digits: int) -> pl.Expr:
    """Money in major units, correctly rounded, so that 57 cents equal the 0.57 of a rule or of a target's `where`.

    Args:
        minor: Minor units (Int64); null stays null.
        digits: Decimals of the minor unit.
    """
    unit: int = 10**digits
    # Polars multiplies by the reciprocal when it divides by a constant, and 57 × 0.01 is 0.5700000000000001.
    return minor / (minor * 0 + unit)


def minor_units(major: pl.Expr, digits: int) -> pl.Expr:
    """The minor units (Int64) that `major_units` was given; null stays null.

    The division and this product each err by at most 2⁻⁵³ of the amount, which is less than half a minor unit below 2⁵¹
    minor units (22 million million at two decimals): up to there rounding gives back the integer.

    Args:
        major: Money in major units.
        digits: Decimals of the minor unit.
    """
    unit: int = 10**digits
    return (major * unit).round().cast(pl.Int64)
