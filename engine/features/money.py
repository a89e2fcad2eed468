"""From minor to major units: the one division by which money leaves the integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
