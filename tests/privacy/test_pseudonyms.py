from __future__ import annotations

import hmac
import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.privacy.key import Key
from engine.privacy.pseudonyms import distinct_pseudonyms, is_pseudonym, pseudonym, pseudonym_of

SECRET = bytes(range(32))
KEY = Key(SECRET)
# Computed with `openssl dgst -sha256 -mac HMAC`: the key of the second step is the text that the first one prints.
GOLDEN = {
    "u1": "496930ac8182aa42162b779ff4c762a9f2616012ab448630b082b21af06d2e14",
    "42": "a1549ed0ca95fede7bb222f48c50df43a4840a255e70d69c675051c84df59ae6",
    "am\u00e9lie@example.com": "646aabe5c6f3276f4708a4991a8e30d02f33bc77c572845d853e81eac9f76f54",
}


def by_hand(text: str) -> str:
    derived = hmac.new(SECRET, b"tamis pseudonyms 1", "sha256").hexdigest()
    return hmac.new(derived.encode(), unicodedata.normalize("NFC", text).encode(), "sha256").hexdigest()


def hashed(ids: pl.Series) -> list[str | None]:
    return ids.to_frame("id").select(pseudonym(pl.col("id"), KEY))["id"].to_list()


@pytest.mark.parametrize(("text", "wanted"), GOLDEN.items())
def test_gd06_golden_pseudonyms(text: str, wanted: str) -> None:
    assert pseudonym_of(text, KEY) == wanted
    assert hashed(pl.Series("id", [text])) == [wanted]


@given(st.lists(st.text() | st.none(), max_size=20))
def test_gd06_a_pseudonym_is_the_hmac_of_the_standard_library(texts: list[str | None]) -> None:
    wanted = [None if text is None else by_hand(text) for text in texts]
    assert hashed(pl.Series("id", texts, pl.String)) == wanted
    assert [None if text is None else pseudonym_of(text, KEY) for text in texts] == wanted


def test_gd06_integers_have_the_pseudonym_of_their_text() -> None:
    assert hashed(pl.Series("id", [7, -1, None, 2**63 - 1])) == [
        by_hand("7"),
        by_hand("-1"),
        None,
        by_hand("9223372036854775807"),
    ]


def test_gd06_accents_however_they_are_written_are_one_id() -> None:
    assert pseudonym_of("ame\u0301lie", KEY) == pseudonym_of("am\u00e9lie", KEY) != pseudonym_of("amelie", KEY)


@pytest.mark.parametrize("repeats", [1, 5])
def test_gd06_repeated_ids_are_hashed_once_and_stay_in_their_rows(repeats: int) -> None:
    ids = pl.Series("user", ["b", "a", None, "", "c"] * repeats)
    found = distinct_pseudonyms(ids, KEY)
    assert found.name == "user"
    assert found.to_list() == [by_hand("b"), by_hand("a"), None, "", by_hand("c")] * repeats
    assert distinct_pseudonyms(pl.Series("user", [3, 3, 1, None]), KEY).to_list() == [
        by_hand("3"),
        by_hand("3"),
        by_hand("1"),
        None,
    ]


def test_gd06_the_key_is_in_no_plan_and_no_expression() -> None:
    expression = pseudonym(pl.col("id"), KEY)
    plan = pl.LazyFrame({"id": ["a"]}).select(expression)
    shown = [str(expression), repr(expression), plan.explain(), plan.explain(optimized=False), repr(plan)]
    derived = KEY.derived("pseudonyms 1")
    assert not any(derived in text or SECRET.hex() in text for text in shown)


def test_gd06_what_has_the_form_of_a_pseudonym() -> None:
    assert is_pseudonym(pseudonym_of("a", KEY))
    assert not any(map(is_pseudonym, ("a", "", pseudonym_of("a", KEY)[:-1], pseudonym_of("a", KEY).upper())))
