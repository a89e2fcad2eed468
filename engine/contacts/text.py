"""Text of contacts: one form for one value, and work that is done once per distinct value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

# Soft hyphen, marks without width, marks of direction, byte order mark: copied along, and seen by nobody.
_INVISIBLE: Final = "[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
REPLACEMENT: Final = "\ufffd"
"""What a reader puts where it cannot decode bytes; the character that stood there is lost."""


def is_textual(dtype: pl.DataType) -> bool:
    """Whether values of a column are text, or bytes that can be."""
    return dtype in (pl.String, pl.Null, pl.Binary) or isinstance(dtype, pl.Categorical | pl.Enum)


def as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as text in NFC; of bytes, those that are not UTF-8 become `REPLACEMENT`."""
    column = pl.col(name)
    if dtype == pl.Binary:
        column = column.map_batches(_decoded, return_dtype=pl.String())
    return column.cast(pl.String).str.normalize("NFC")


def _decoded(values: pl.Series) -> pl.Series:
    texts = [None if value is None else value.decode("utf-8", "replace") for value in values]
    return pl.Series(values.name, texts, dtype=pl.String)


def trimmed(text: pl.Expr) -> pl.Expr:
    """Text without white space around it and without invisible characters; null when nothing is left."""
    plain = text.str.replace_all(_INVISIBLE, "").str.replace_all(r"^\s+|\s+$", "")
    return pl.when(plain != "").then(plain)


def folded(text: pl.Expr) -> pl.Expr:
    """Text without white space around it, and one blank for each run of it; null when nothing is left."""
    plain = text.str.replace_all(r"\s+", " ").str.strip_chars(" ")
    return pl.when(plain != "").then(plain)


def is_broken(text: pl.Expr) -> pl.Expr:
    """Whether a reader has lost a character of the text."""
    return text.str.contains(REPLACEMENT, literal=True)


def by_value(frame: pl.DataFrame, column: str, work: Callable[[pl.Series], pl.DataFrame]) -> pl.DataFrame:
    """The columns that some work makes of a column, done once per distinct value.

    Args:
        frame: The rows.
        column: The column; null has null in every column that is made.
        work: Of distinct values without null, in any order: a frame in their order.

    Returns:
        One row per row of the frame, in its order.
    """
    values = frame[column].drop_nulls().unique()
    made = work(values)
    table = made.with_columns(values.alias("__value"))
    joined = frame.select(__value=pl.col(column)).join(table, on="__value", how="left", maintain_order="left")
    return joined.drop("__value")
