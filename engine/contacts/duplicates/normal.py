"""Values of contacts as they are compared: without case, accents and punctuation."""

from __future__ import annotations

from typing import Final

import polars as pl

# What small letters leave of case: the sharp s, which has no capital in most texts, and the sigma at the end of words.
_CASE: Final = {"ß": "ss", "\u03c2": "\u03c3"}
# Also letters that no decomposition takes apart; at the end the i without a dot.
_LETTERS: Final = {
    **_CASE,
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
    "đ": "d",
    "ð": "d",
    "ł": "l",
    "þ": "th",
    "\u0131": "i",
}


def is_comparable(dtype: pl.DataType) -> bool:
    """Whether values of a type have a text that can be compared: text, numbers, days, times, and true or false."""
    return dtype in (pl.String, pl.Boolean, pl.Null) or dtype.is_numeric() or dtype.is_temporal()


def exact(name: str) -> pl.Expr:
    """An attribute as its equality is told: NFC, without case, white space folded to one blank and trimmed.

    Accents, punctuation and letters such as `ø` stay: `a.b@example.org` and `ab@example.org` are two addresses. Null
    where nothing is left.
    """
    text = pl.col(name).cast(pl.String).str.normalize("NFC").str.to_lowercase().str.replace_many(_CASE)
    return _or_null(text.str.replace_all(r"\s+", " ").str.strip_chars())


def folded(name: str) -> pl.Expr:
    """An attribute as it is compared: also without accents, everything but letters and digits being one blank.

    Compatibility forms (full width, ligatures) are their usual letters (NFKD). Null where nothing is left.
    """
    apart = pl.col(name).cast(pl.String).str.normalize("NFKD").str.replace_all(r"\p{M}+", "")
    text = apart.str.to_lowercase().str.replace_many(_LETTERS)
    return _or_null(text.str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars())


def _or_null(text: pl.Expr) -> pl.Expr:
    return pl.when(text != "").then(text)
