"""The kinds of values that a rule tells apart, and columns read as them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

Kind = Literal["number", "text", "date", "truth", "null", "days", "unknown"]
"""`null` is the word NULL, `days` an interval, `unknown` what a problem has been told of."""

NAMED: Final = {
    "number": "a number",
    "text": "text",
    "date": "a date",
    "truth": "true or false",
    "null": "NULL",
    "days": "a number of days (INTERVAL)",
    "unknown": "unknown",
}


@dataclass(frozen=True, eq=False)
class Typed:
    """A value of a rule.

    Attributes:
        kind: What it can be compared with.
        expr: Its value, of the row alone. Numbers are Int64, Int128 or Float64, text is String.
        text: As it is written.
        dtype: Type of the column that it is; None for others.
        number: Its value, for a literal number.
        may_be_nan: Whether `expr` is NaN where it should be null: of arithmetic, which passes both on alike.
    """

    kind: Kind
    expr: pl.Expr
    text: str
    dtype: pl.DataType | None = None
    number: float | None = None
    may_be_nan: bool = False

    @property
    def clean(self) -> pl.Expr:
        """The value without NaN."""
        return self.expr.fill_nan(None) if self.may_be_nan else self.expr

    @property
    def shown(self) -> str:
        """`region is text (String)`."""
        dtype = "" if self.dtype is None else f" ({self.dtype})"
        return f"{self.text} is {NAMED[self.kind]}{dtype}"


def kind_of(dtype: pl.DataType) -> Kind | None:
    """The kind of a column; None for lists, structs, durations and other types that no rule can look at."""
    if dtype.is_numeric():
        return "number"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    if dtype in (pl.Date, pl.Datetime):
        return "date"
    return "truth" if dtype == pl.Boolean else None


def column(name: str, dtype: pl.DataType, timezone: str | None) -> pl.Expr:
    """A column as rules see it: NaN is null, an instant is its day in `timezone`, numbers are wide enough."""
    values = pl.col(name)
    if dtype.is_float() or dtype.is_decimal():
        exact = values if dtype == pl.Float64 else values.cast(pl.Float64)
        return exact if dtype.is_decimal() else exact.fill_nan(None)
    if dtype.is_integer():
        # Small integers would overflow in arithmetic, and Polars fits a literal into the type of the column.
        wide = pl.Int128() if dtype in (pl.UInt64, pl.UInt128) else pl.Int64()
        return values if dtype in (pl.Int64, pl.Int128) else values.cast(wide)
    if isinstance(dtype, pl.Datetime):
        zoned = dtype.time_zone is not None and timezone is not None
        return (values.dt.convert_time_zone(str(timezone)) if zoned else values).dt.date()
    return values.cast(pl.String) if dtype in (pl.Categorical, pl.Enum) else values
