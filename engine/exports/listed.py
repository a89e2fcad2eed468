"""What a value of a list may be: an id, an address, a telephone number. A list does not say, so it is all of them.

An id of digits is also the number that they are: whether the ids of the events are text, in which `007` is another user
than `7`, or whole numbers is not known where a list is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.config import Config
from engine.contacts.phones import cleaned_phones
from engine.exports.addresses import compared

TEL: Final = "tel:"
"""What a telephone number begins with where it stands beside addresses (RFC 3966); it may stand so in a list, too."""
FORMS: Final = pl.Schema({"value": pl.String(), "id": pl.String(), "address": pl.String()})

_WHOLE_NUMBER: Final = r"^[+-]?\d{1,19}$"
_NOT_A_DIGIT: Final = r"[^\d]+"
# Digits alone are a number only if they begin as one that is dialled; others are ids.
_MAY_BE_PHONE: Final = r"^(?:\+|0|\(|\d+[ .\-/)])[\d .\-/()\x{A0}\x{202F}]{5,}$"
_IS_PHONE: Final = r"^(?:tel:|\+[\d .\-/()\x{A0}\x{202F}]{7,}$)"


@dataclass(frozen=True)
class Phones:
    """The telephone numbers of the contacts, which those of lists are compared with.

    Attributes:
        columns: Columns of the contacts; none where no number can be compared.
        region: Country of numbers without a country code; None where they are compared as they are written.
    """

    columns: tuple[str, ...] = ()
    region: str | None = None


def phones_of(config: Config) -> Phones:
    """The columns of the contacts with telephone numbers, by the configuration."""
    contacts = config.contacts
    if contacts is None:
        return Phones()
    named = (contacts.cleaning.phone, config.exports.phone)
    columns = tuple(dict.fromkeys(name for name in named if name is not None))
    return Phones(columns, None if contacts.cleaning.phone is None else contacts.cleaning.phone_region)


def compared_phone(value: pl.Expr) -> pl.Expr:
    """A telephone number as it is compared: its digits, without the zeros of an international call."""
    digits = value.cast(pl.String).str.replace_all(_NOT_A_DIGIT, "").str.replace("^00", "")
    return pl.when(digits != "").then(digits)


def phone_address(value: pl.Expr) -> pl.Expr:
    """A telephone number as the `address` of `forms` has it."""
    return pl.format(TEL + "{}", compared_phone(value))


def forms(values: pl.Series, phones: Phones | None = None) -> pl.DataFrame:
    """Everything that values of a list may be, as `FORMS`: the value, an id, and what its person is reached by.

    Args:
        values: Trimmed texts.
        phones: The numbers of the contacts; None to compare numbers as they are written.

    Returns:
        A row per value and id that it may be, in their order: `address` is an address as it is compared, `tel:` and the
        digits of a number, or else the value; nothing of a number without digits.
    """
    value = pl.col("value")
    is_tel = value.str.starts_with(TEL)
    given = values.alias("value").to_frame().drop_nulls().unique(maintain_order=True)
    number = pl.when(is_tel).then(value.str.strip_prefix(TEL)).when(value.str.contains(_MAY_BE_PHONE)).then(value)
    told = given.with_columns(number=number)
    if phones is not None and phones.region is not None and told["number"].count():
        asked = told.select("number").drop_nulls().unique().sort("number")
        normal = asked.with_columns(cleaned_phones(asked["number"], phones.region)["value"].alias("normal"))
        told = told.join(normal, on="number", how="left", maintain_order="left").with_columns(
            number=pl.coalesce("normal", "number")
        )
    told = told.with_columns(phone=phone_address(pl.col("number"))).filter(~is_tel | pl.col("phone").is_not_null())
    address = pl.coalesce("phone", pl.when(value.str.contains("@", literal=True)).then(compared(value)), value)
    whole = pl.when(value.str.contains(_WHOLE_NUMBER)).then(value.cast(pl.Int64, strict=False).cast(pl.String))
    ids = [pl.when(is_tel).then(pl.col("phone")).otherwise(value), whole]
    rows = told.select("value", address.alias("address"), pl.concat_list(ids).alias("id"))
    exploded = rows.explode("id").drop_nulls("id").unique(maintain_order=True)
    return exploded.select(FORMS.names())


def numbers_alone(values: pl.Series) -> int:
    """How many of some values can be nothing but telephone numbers."""
    return int(values.str.contains(_IS_PHONE).sum())


def named_phones(columns: Sequence[str]) -> Sequence[pl.Expr]:
    """Columns with telephone numbers, as the addresses of lists."""
    return [phone_address(pl.col(name)) for name in columns]
