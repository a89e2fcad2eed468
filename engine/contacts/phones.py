"""Telephone numbers: one form for one number (ITU-T E.164), and whether a country gives such numbers.

The library phonenumbers knows the numbering plans of all countries; it calls nobody. Most numbers of a country are
written in a plain form that the plan's own expressions recognise; only the others are given to the library.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from engine.contacts.extra import missing_extra
from engine.contacts.text import is_broken, trimmed

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEPARATORS: Final = r"[ \u00a0.\-()/]"
_KINDS: Final = "fixed_line mobile toll_free premium_rate shared_cost voip personal_number pager uan voicemail".split()


def check_library(region: str) -> list[str]:
    """What is wrong with a region; nothing when numbers of it can be read.

    Raises:
        ConfigError: The library is not installed.
    """
    try:
        from phonenumbers import SUPPORTED_REGIONS
    except ImportError as error:
        raise missing_extra("phonenumbers", "contacts.cleaning.phone") from error
    if region in SUPPORTED_REGIONS:
        return []
    return [f"  contacts.cleaning.phone_region: expected a country such as 'FR' (ISO 3166), got {region!r}"]


def cleaned_phones(values: pl.Series, region: str) -> pl.DataFrame:
    """Numbers as E.164, and whether they are valid.

    A number is written as E.164 where its length is possible in its country. An extension is no part of E.164 and is
    left out there.

    Args:
        values: Numbers as they were given, without null.
        region: Country of numbers without a country code.

    Returns:
        In the order of the values: `value` (trimmed only where it is no possible number; null where nothing is left),
        `valid`, `broken` (a reader has lost a character).
    """
    check_library(region)
    frame = values.alias("raw").to_frame().select(value=trimmed(pl.col("raw")), broken=is_broken(pl.col("raw")))
    frame = frame.with_columns(plain=_plain(region))
    others = frame.filter(pl.col("value").is_not_null() & ~pl.col("broken") & pl.col("plain").is_null())
    asked = others["value"].unique()
    found = [normalised(value, region) for value in asked]
    table = pl.DataFrame(
        {"value": asked, "normal": [normal for normal, _ in found], "valid": [valid for _, valid in found]},
        schema={"value": pl.String, "normal": pl.String, "valid": pl.Boolean},
    )
    known = frame.join(table, on="value", how="left", maintain_order="left")
    return known.select(
        value=pl.coalesce("plain", "normal", "value"),
        valid=pl.when(pl.col("value").is_not_null()).then(
            pl.col("plain").is_not_null() | pl.col("valid").fill_null(value=False)
        ),
        broken="broken",
    )


def _plain(region: str) -> pl.Expr:
    """The E.164 form of numbers of a region that are valid and written with its country code or its national prefix.

    Null for all others. `number_type` of the library is what makes a number valid: the plan of the main region of a
    country code is the first that it looks at.
    """
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

    plan = PhoneMetadata.metadata_for_region(region)
    if plan is None or plan.country_code is None:
        return pl.lit(None, pl.String)
    prefix = plan.national_prefix
    # Where a prefix carries more than one meaning, the library has to say which.
    is_simple = plan.national_prefix_transform_rule is None and plan.national_prefix_for_parsing in (None, prefix)
    if not is_simple or COUNTRY_CODE_TO_REGION_CODE[plan.country_code][0] != region:
        return pl.lit(None, pl.String)
    abroad = plan.international_prefix
    starts = [rf"\+{plan.country_code}"]
    starts += [rf"00{plan.country_code}"] if abroad == "00" else []
    digits = pl.col("value").str.replace_all(_SEPARATORS, "")
    national = digits.str.extract(rf"^(?:{'|'.join(starts)})([1-9]\d*)$")
    if prefix is not None:
        inland = digits.str.extract(rf"^{re.escape(prefix)}([1-9]\d*)$")
        # What may begin a call to another country is for the library to tell.
        unclear = digits.str.contains(rf"^(?:{abroad})") if abroad is not None else pl.lit(value=False)
        national = pl.coalesce(national, pl.when(~unclear).then(inland))
    kinds = [getattr(plan, kind) for kind in _KINDS]
    is_valid = _is_of(national, plan.general_desc) & pl.any_horizontal(_is_of(national, kind) for kind in kinds)
    return pl.when(is_valid).then(pl.concat_str(pl.lit(f"+{plan.country_code}"), national))


def _is_of(national: pl.Expr, kind: Any) -> pl.Expr:
    """Whether a national number is of a kind of a numbering plan."""
    return pl.all_horizontal(_conditions(national, kind))


def _conditions(national: pl.Expr, kind: Any) -> Iterator[pl.Expr]:
    if kind is None or kind.national_number_pattern is None:
        yield pl.lit(value=False)
        return
    yield national.str.contains(rf"^(?:{kind.national_number_pattern})$")
    if kind.possible_length:
        yield national.str.len_bytes().is_in(list(kind.possible_length))


def normalised(value: str, region: str) -> tuple[str | None, bool]:
    """A trimmed number by the library as E.164, None when it is not possible; and whether it is valid.

    Raises:
        ConfigError: The library is not installed.
    """
    try:
        import phonenumbers as library
    except ImportError as error:
        raise missing_extra("phonenumbers", "contacts.cleaning.phone") from error
    try:
        number = library.parse(value, region)
    except library.NumberParseException:
        return None, False
    if not library.is_possible_number(number):
        return None, False
    text = library.format_number(number, library.PhoneNumberFormat.E164)
    return text, library.is_valid_number(number)
