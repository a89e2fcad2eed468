"""E-mail addresses: as they are written, as they are compared, and which of them cannot be one."""

from __future__ import annotations

from typing import Final

import polars as pl

# What spreadsheets and web forms leave around an address: white space, and marks without width.
_AROUND: Final = " \t\r\n\v\f\x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_AROUND_TOO: Final = "\u2028\u2029\u202f\u205f\u3000\u200b\u200c\u200d\u2060\ufeff"
# One @, no white space or control characters, no sign that stands for a lost one, a dot between parts of the domain.
_ADDRESS: Final = r"^[^@\s\pC\x{FFFD}]+@[^@\s\pC.\x{FFFD}]+(?:\.[^@\s\pC.\x{FFFD}]+)+$"

_ACE: Final = "xn--"
_ENCODED: Final = r"@(?:.*\.)?xn--"


def trimmed(text: pl.Expr) -> pl.Expr:
    """Text in NFC without white space around it; null when nothing is left."""
    plain = text.str.normalize("NFC").str.strip_chars(_AROUND + _AROUND_TOO)
    return pl.when(plain != "").then(plain)


def compared(text: pl.Expr) -> pl.Expr:
    """An address as it is compared: trimmed and in small letters, for no provider in use tells capitals apart.

    A domain in ASCII (`xn--exmple-cua.de`, as cleaning writes it) is compared by the letters that it stands for.
    """
    # Small letters may be of another form: that of İ is two characters.
    small = trimmed(text.str.to_lowercase())
    return small.map_batches(_with_letters, return_dtype=pl.String, is_elementwise=True)


def _with_letters(addresses: pl.Series) -> pl.Series:
    encoded = addresses.str.contains(_ENCODED).fill_null(value=False)
    if not encoded.any():
        return addresses
    read = pl.Series([_decoded(address) for address in addresses.filter(encoded)], dtype=pl.String)
    return addresses.scatter(encoded.arg_true(), read.str.normalize("NFC"))


def _decoded(address: str) -> str:
    mailbox, _, domain = address.rpartition("@")
    return f"{mailbox}@{'.'.join(map(_label, domain.split('.')))}"


def _label(label: str) -> str:
    if not label.startswith(_ACE):
        return label
    try:
        # RFC 3492: the same for all versions of IDNA.
        return label.removeprefix(_ACE).encode("ascii").decode("punycode")
    except UnicodeError:
        return label


def is_address(text: pl.Expr) -> pl.Expr:
    """Whether a trimmed text can be an address at all: one `@`, no white space, a dot in the domain."""
    return text.str.contains(_ADDRESS)
