from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from engine.reporting import words
from engine.reporting.message import Argument, Message, Name, Quantity, say
from engine.reporting.words import LANGUAGES, Voice, placeholders, texts

ENGINE = Path(__file__).parents[2] / "engine" / "reporting"


def test_the_languages_have_the_same_texts_with_the_same_placeholders() -> None:
    english, french = texts("en"), texts("fr")
    assert english.keys() == french.keys()
    differ = [key for key in english if placeholders(english[key]) != placeholders(french[key])]
    assert differ == []


def test_no_text_is_empty_or_left_in_english() -> None:
    assert [key for language in LANGUAGES for key, text in texts(language).items() if not text.strip()] == []
    sentences = {key: text for key, text in texts("en").items() if len(text.split()) > 5}
    assert [key for key, text in sentences.items() if texts("fr")[key] == text] == []


def test_every_brace_is_a_placeholder() -> None:
    for language in LANGUAGES:
        for key, text in texts(language).items():
            assert not set("{}|") & set(words._PLACE.sub("", text)), key


def test_every_key_of_the_code_is_a_text() -> None:
    said = {
        (file.name, key)
        for file in ENGINE.rglob("*.py")
        for key in re.findall(r"""(?:say|Message)\(\s*"([a-z_]+\.[a-z_0-9]+)\"""", file.read_text(encoding="utf-8"))
    }
    assert len(said) > 100
    assert {(file, key) for file, key in said if key not in texts("en")} == set()


@pytest.mark.parametrize(
    ("text", "argument", "english", "french"),
    [
        ("{x} {x|user|users}", Quantity(0), "0 users", "0 user"),
        ("{x} {x|user|users}", Quantity(1), "1 user", "1 user"),
        ("{x} {x|user|users}", Quantity(1.5, "number"), "1.50 users", "1,50 user"),
        ("{x} {x|user|users}", Quantity(None), "– users", "– users"),
        ("{x|it|all of {x}}", Quantity(3), "all of 3", "all of 3"),
        ("{x|it|all of {x}}", Quantity(1), "it", "it"),
        ("{x|is|are}", (Message("t.name"),), "is", "is"),
        ("{x|is|are}", (Message("t.name"), Message("t.name")), "are", "are"),
        ("{x}", (), "–", "–"),
        ("{x}", (Message("t.name"),), "a b", "a b"),
        ("{x}", (Message("t.name"),) * 3, "a b, a b and a b", "a b, a b et a b"),
        ("{x}", Name("at_Risk", "segment"), "At risk", "À risque"),
        ("{x}", Name("at_Risk"), "at_Risk", "at_Risk"),
        ("{x}", Name("own", "segment"), "Own", "Le nôtre"),
        ("{x}", Name("{x}"), "{x}", "{x}"),
        ("{x}", "plain", "plain", "plain"),
        ("{x}", date(2026, 2, 3), "3 February 2026", "3 février 2026"),
    ],
)
def test_arguments(monkeypatch: pytest.MonkeyPatch, text: str, argument: Argument, english: str, french: str) -> None:
    monkeypatch.setattr(words, "texts", lambda _: {"t.text": text, "t.name": "a b"})
    message = Message("t.text", (("x", argument),))
    assert Voice("en", names={("segment", "own"): "Own"}).put(message) == english
    assert Voice("fr", names={("segment", "own"): "Le nôtre"}).put(message) == french


@pytest.mark.parametrize("message", [Message("no.such"), Message("report.title")])
def test_what_is_not_there_is_an_error(message: Message) -> None:
    with pytest.raises(KeyError):
        Voice("en").put(message)


def test_whole_numbers_are_counts() -> None:
    assert say("report.masked", people=1234) == Message("report.masked", (("people", Quantity(1234)),))
