from __future__ import annotations

from random import Random

import polars as pl
import pytest
from phonenumbers import PhoneMetadata

from engine.contacts import phones
from engine.contacts.phones import check_library, cleaned_phones, normalised


def one(number: str, region: str = "FR") -> tuple[object, ...]:
    return cleaned_phones(pl.Series([number], dtype=pl.String), region).row(0)


@pytest.mark.parametrize(
    ("given", "region", "number"),
    [
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("06.12.34.56.78", "FR", "+33612345678"),
        ("0033 6 12 34 56 78", "FR", "+33612345678"),
        ("+33 (0)6 12 34 56 78", "FR", "+33612345678"),
        ("612345678", "FR", "+33612345678"),
        ("33612345678", "FR", "+33612345678"),
        ("\u200b06\u00a012 34 56 78 ", "FR", "+33612345678"),
        ("020 7946 0958", "GB", "+442079460958"),
        ("+44 20 7946 0958", "FR", "+442079460958"),
        ("01 42 68 53 00 ext. 5", "FR", "+33142685300"),
        ("(212) 555-0123", "US", "+12125550123"),
    ],
)
def test_dq04_numbers_are_e164(given: str, region: str, number: str) -> None:
    assert one(given, region) == (number, True, False)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("123", "123"), ("no number", "no number"), (" 0612 ", "0612"), ("06\ufffd12345678", "06\ufffd12345678")],
)
def test_dq05_numbers_that_cannot_be_right(given: str, kept: str) -> None:
    assert one(given)[:2] == (kept, False)


def test_possible_and_not_valid() -> None:
    assert one("+33 0 00 00 00 00 0")[1] is False
    assert one("+1 555 555 5555") == ("+15555555555", False, False)


def test_nothing_is_no_number() -> None:
    assert one(" \u200b") == (None, None, False)


def test_regions() -> None:
    assert check_library("FR") == []
    assert check_library("XX") == [
        "  contacts.cleaning.phone_region: expected a country such as 'FR' (ISO 3166), got 'XX'"
    ]


# With one meaning of the national prefix and with several, with none, and of country codes with several regions.
REGIONS = ["FR", "BE", "CH", "DE", "GB", "IE", "IL", "IT", "US", "CA", "RU", "BR", "JP", "RE", "GG", "MX", "ZA"]


def numbers_of(region: str, draw: Random) -> list[str]:
    """Numbers of all kinds, changed in some digits, and written in several ways."""
    plan = PhoneMetadata.metadata_for_region(region)
    kinds = [getattr(plan, kind) for kind in ("fixed_line", "mobile", "toll_free", "shared_cost", "uan", "voip")]
    numbers = []
    for example in [kind.example_number for kind in kinds if kind is not None and kind.example_number] * 8:
        digits = list(example)
        for _ in range(draw.choice([0, 0, 1, 2])):
            digits[draw.randrange(len(digits))] = draw.choice("0123456789")
        number = "".join(digits)[: draw.choice([None, None, None, -1])] + draw.choice(["", "", "", "7"])
        prefix = plan.national_prefix or ""
        ways = ("+{0}{2}", "00{0} {2}", "{1}{2}", "{2}", "+{0} ({1}) {2}", "({1}{3}) {4}", "+{0}-{3}/{4}", "{0}{2}")
        numbers.append(draw.choice(ways).format(plan.country_code, prefix, number, number[:2], number[2:]))
    return numbers


@pytest.mark.parametrize("region", REGIONS)
def test_the_plain_form_and_the_library_agree(region: str) -> None:
    numbers = numbers_of(region, Random(region))
    found = cleaned_phones(pl.Series(numbers, dtype=pl.String), region)
    expected = [normalised(number, region) for number in numbers]
    assert found["value"].to_list() == [text or number for (text, _), number in zip(expected, numbers, strict=True)]
    assert found["valid"].to_list() == [is_valid for _, is_valid in expected]


def test_plain_numbers_do_not_need_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones, "normalised", None)
    assert one("06 12 34 56 78") == ("+33612345678", True, False)
    with pytest.raises(TypeError):
        one("06 12 34 56")
