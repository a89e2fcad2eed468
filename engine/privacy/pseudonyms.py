"""Pseudonyms: what stands in for an id where nobody without the key shall know whose it is.

A pseudonym is the HMAC-SHA256 (RFC 2104) of the id's text in NFC, under a key that is derived for this, in 64
hexadecimal digits.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from typing import Final

import polars as pl

from engine.privacy.key import Key

PURPOSE: Final = "pseudonyms 1"
"""What the key of pseudonyms is derived for; another number is another algorithm."""
IS_PSEUDONYM: Final = "^[0-9a-f]{64}$"
"""Expression of texts that have the form of one."""
_PSEUDONYM: Final = re.compile(r"[0-9a-f]{64}")


def pseudonym(expr: pl.Expr, key: Key) -> pl.Expr:
    """Pseudonyms of ids (text or integers); null stays null."""
    return keyed_hash(expr, key, PURPOSE)


def pseudonym_of(text: str, key: Key) -> str:
    """The pseudonym of one id."""
    return keyed_hash_of(text, key, PURPOSE)


def is_pseudonym(text: str) -> bool:
    """Whether a text has the form of a pseudonym."""
    return _PSEUDONYM.fullmatch(text) is not None


def distinct_pseudonyms(ids: pl.Series, key: Key) -> pl.Series:
    """As `pseudonym`, of a column with repeated ids: each is hashed once. Empty text is no id, and stays.

    Returns:
        Text, in the order of the rows.
    """
    unique = ids.unique()
    text = pl.col("id").cast(pl.String)
    hashed = pl.when(text == "").then(text).otherwise(pseudonym(text, key))
    if 2 * unique.len() > ids.len():
        return ids.to_frame("id").select(hashed.alias(ids.name)).to_series()
    table = unique.to_frame("id").with_columns(hashed.alias("pseudonym"))
    found = ids.to_frame("id").join(table, on="id", how="left", nulls_equal=True, maintain_order="left")
    return found["pseudonym"].alias(ids.name)


def keyed_hash(expr: pl.Expr, key: Key, purpose: str) -> pl.Expr:
    """HMAC-SHA256 in hexadecimal digits of the value's text in NFC, under the key derived for a purpose.

    Text that is empty is hashed like any other; null stays null.
    """
    import polars_hash as plh

    # Plans and errors of Polars show the name of a plugin, and nothing of what it was given.
    text = expr.cast(pl.String).str.normalize("NFC")
    hashed: pl.Expr = plh.concat_str(text).chash.hmac_sha256(key=key.derived(purpose))
    return hashed


def keyed_hash_of(text: str, key: Key, purpose: str) -> str:
    """`keyed_hash` of one text."""
    normal = unicodedata.normalize("NFC", text).encode()
    return hmac.digest(key.derived(purpose).encode(), normal, "sha256").hex()
