"""Values as the text of CSV cells: numbers without exponents, days as YYYY-MM-DD, quotes where they are needed."""

from __future__ import annotations

from typing import Final

import polars as pl

FORMULA_STARTS: Final = r"^[=+\-@\t\r\n]"
"""What a spreadsheet takes for the beginning of a formula, or skips before one (OWASP, CSV injection)."""

_DECIMALS: Final = 6
_LARGE: Final = 1e15
_LARGEST: Final = 1e37


def is_exportable(dtype: pl.DataType) -> bool:
    """Whether a column of this type has a plain text: text, numbers, truth, days and times."""
    return (
        dtype.is_numeric()
        or isinstance(dtype, pl.Datetime | pl.Categorical | pl.Enum)
        or dtype in (pl.String, pl.Boolean, pl.Date, pl.Null)
    )


def is_text(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds text that somebody wrote."""
    return isinstance(dtype, pl.Categorical | pl.Enum) or dtype == pl.String


def as_text(column: str, dtype: pl.DataType) -> pl.Expr:
    """The values of a column as text; null stays null.

    Numbers have 6 decimals at most, no trailing zeros and never an exponent; NaN and infinite values are null. Truth is
    `true` or `false`, a day `2026-01-31`, a time `2026-01-31T08:15:00` with a `Z` behind it when it is in UTC.
    """
    value = pl.col(column)
    if dtype.is_float() or dtype.is_decimal():
        return _number(value.cast(pl.Float64))
    if dtype == pl.Date:
        return value.dt.to_string("%Y-%m-%d")
    if isinstance(dtype, pl.Datetime):
        in_utc = value if dtype.time_zone is None else value.dt.convert_time_zone("UTC")
        return in_utc.dt.to_string("%Y-%m-%dT%H:%M:%S" + ("" if dtype.time_zone is None else "Z"))
    if is_text(dtype):
        return value.cast(pl.String).str.normalize("NFC")
    return value.cast(pl.String)


def _number(value: pl.Expr) -> pl.Expr:
    size = value.abs()
    decimal = pl.when(size < _LARGE).then(value).cast(pl.Decimal(38, _DECIMALS)).cast(pl.String)
    plain = decimal.str.strip_chars_end("0").str.strip_suffix(".")
    # Above this a number has no decimals left.
    whole = pl.when((size >= _LARGE) & (size < _LARGEST)).then(value).cast(pl.Int128, strict=False).cast(pl.String)
    return pl.coalesce(pl.when(plain == "-0").then(pl.lit("0")).otherwise(plain), whole)


def without_formula(text: pl.Expr) -> pl.Expr:
    """Text that a spreadsheet does not compute: an apostrophe before what begins like a formula."""
    return pl.when(text.str.contains(FORMULA_STARTS)).then("'" + text).otherwise(text)


def clipped(texts: pl.Series, most_bytes: int) -> pl.Series:
    """Texts of at most so many bytes of UTF-8, cut at the border of a character."""
    long = texts.str.len_bytes() > most_bytes
    if not long.fill_null(False).any():
        return texts
    cut = [text if text is None else text.encode()[:most_bytes].decode(errors="ignore") for text in texts]
    return pl.Series(texts.name, cut, dtype=pl.String)


def csv_lines(cells: pl.DataFrame, separator: str) -> pl.Series:
    """One CSV line per row (RFC 4180), without the end of the line.

    Args:
        cells: Text; null is an empty cell.
        separator: One character.
    """
    quoted = [_quoted(pl.col(name), separator) for name in cells.columns]
    line = pl.concat_str(quoted, separator=separator)
    # A line without anything is skipped by readers.
    return cells.select(line=pl.when(line == "").then(pl.lit('""')).otherwise(line))["line"]


def _quoted(text: pl.Expr, separator: str) -> pl.Expr:
    # Some readers take blanks around a value away, unless it stands in quotes.
    needs = text.str.contains_any([separator, '"', "\r", "\n"]) | text.str.contains(r"^\s|\s$")
    inner = text.str.replace_all('"', '""', literal=True)
    return pl.when(needs).then(pl.concat_str(pl.lit('"'), inner, pl.lit('"'))).otherwise(text).fill_null("")
