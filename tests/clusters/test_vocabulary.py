from __future__ import annotations

from dataclasses import replace

import pytest

from engine.clusters.names_en import ENGLISH
from engine.clusters.names_fr import FRENCH
from engine.clusters.vocabulary import Language, vocabulary
from engine.features.page import full_spec
from engine.features.spec import EventType


def test_both_languages_have_words_for_the_same() -> None:
    assert set(ENGLISH.high) == set(ENGLISH.low) == set(FRENCH.high) == set(FRENCH.low)
    assert set(ENGLISH.pairs) == set(FRENCH.pairs)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_kind_has_words_and_every_word_a_feature(language: Language) -> None:
    words = vocabulary(full_spec(), language)
    assert set(words.kinds.values()) == set(words.words.high)
    assert {kind[:-1] for pair in words.words.pairs for kind in pair} <= set(words.words.high)


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("high", [True, False])
def test_every_feature_can_be_called_something(language: Language, high: bool) -> None:
    words = vocabulary(full_spec(), language)
    for name, feature in words.wording.features.items():
        if not feature.dtype.is_numeric() or not words.has_scale(name):
            continue
        lead, detail = words.attribute(name, high=high)
        assert lead[:1].isupper(), name
        assert detail[:1].islower(), name
        assert not set("[]{}|~#_") & set((lead + detail).replace("product_page", "")), name
        assert words.attribute(name, high=not high) != (lead, detail), name


def test_kinds_follow_roles_and_not_names() -> None:
    spec = full_spec()
    types = (*spec.types, EventType("Kauf", "kauf", priced=True))
    words = vocabulary(replace(spec, types=types, weights=(*spec.weights, 0), purchase="Kauf"), "en")
    assert words.kind("kauf_count_30d") == words.kind("rfm_frequency") == "purchase_count"
    assert words.kind("purchase_count_30d") == words.kind("purchase_count_365d") == "feature purchase_count"
    assert words.attribute("purchase_count_30d", high=True) == ("Many purchase events", "many purchase events")


def test_a_pair_in_either_order() -> None:
    words = vocabulary(full_spec(), "en")
    count, spend = ("rfm_frequency", True), ("purchase_amount_30d", True)
    assert words.pair(count, spend) == words.pair(spend, count) == "Frequent big spenders"
    assert words.pair(count, ("tenure_days", False)) == "New frequent buyers"
    assert words.pair(count, ("open_count_30d", True)) is None
