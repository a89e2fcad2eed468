from __future__ import annotations

import json
from typing import Any

import pytest

from engine.config import Columns, Config, Source
from engine.errors import ConfigError
from engine.features.catalogue import catalogue
from engine.features.choice import feature_spec
from engine.features.spec import EventType, FeatureSpec, slug
from tests.features.specs import spec_of


def config_with(**sections: Any) -> Config:
    source = Source(name="log", path="log.parquet", columns=Columns(user_id="u", event_type="t", event_time="e"))
    return Config.model_validate({"sources": (source,), **sections})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("purchase", "purchase"),
        ("Email Open", "email_open"),
        ("élève-clé", "eleve_cle"),
        ("a//b", "a_b"),
        ("  x  ", "x"),
        ("PageView2", "pageview2"),
        ("d’Oléron — été", "d_oleron_ete"),
        ("!?", "type"),
        ("購入", "type_a78fd552"),
        ("покупка", "type_5855ad0b"),
        ("søk", "sk_4343582a"),
        ("Покупка 2", "2_6278b742"),
        ("🛒", "type_00922290"),
        ("ﬁx", "fix"),
    ],
)
def test_slugs_are_plain_lower_case(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_names_without_a_latin_letter_stay_apart_in_columns() -> None:
    types = ("покупка", "просмотр", "購入", "売却", "کھرید", "🛒", "👀")
    spec = feature_spec(config_with(), types, frozenset(types))
    names = [feature.name for feature in catalogue(spec)]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and name.isidentifier() and name.islower() for name in names)


def test_a_configuration_becomes_a_specification() -> None:
    config = config_with(
        timezone="Europe/Paris",
        currency_digits=0,
        events={"purchase": "Achat", "send": "envoi"},
        features={"windows": (3, 5)},
        engagement={"weights": {"Achat": 7}, "window_days": 11},
        rfm={"frequency_unit": "days"},
    )
    assert feature_spec(config, ("envoi", "Achat"), frozenset({"Achat"})) == FeatureSpec(
        types=(EventType("envoi", "envoi", priced=False), EventType("Achat", "achat", priced=True)),
        purchase="Achat",
        send="envoi",
        open=None,
        click=None,
        windows=(3, 5),
        weights=(0, 7),
        engagement_days=11,
        frequency_unit="days",
        timezone="Europe/Paris",
        currency_digits=0,
        columns=("user_id", "event_type", "event_time"),
    )


def test_every_type_weighs_one_when_nothing_is_said() -> None:
    assert feature_spec(config_with(), ("a", "b"), frozenset()).weights == (1, 1)


@pytest.mark.parametrize(
    ("types", "named"),
    [
        (("email open", "email_open"), ["'email open'", "'email_open'"]),
        (("!", "Type"), ["'!'", "'Type'", "'type_count_7d'"]),
        (("Last event",), ["'Last event' and another feature", "'days_since_last_event'"]),
        (("days since x", "x", "x count 30d"), ["'days since x' and 'x count 30d'", "'days_since_x_count_30d'"]),
        (("a", "A", "Last event"), ["'a' and 'A'", "'Last event'"]),
    ],
)
def test_types_that_would_share_a_column_are_refused(types: tuple[str, ...], named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        feature_spec(config_with(), types, frozenset())
    assert caught.value.code == "event-type-names"
    assert all(name in caught.value.message for name in named)
    assert "event_type = { sql" in str(caught.value.hint)


AWKWARD = (
    "active_days",
    "engagement",
    "rfm",
    "btyd",
    "open_rate",
    "x",
    "x_count",
    "days_since_x",
    "total",
    "user",
    "event",
)


def test_no_two_columns_share_a_name() -> None:
    spec = feature_spec(config_with(events={"purchase": "x", "send": "x_count"}), AWKWARD, frozenset(AWKWARD))
    names = [feature.name for feature in catalogue(spec)]
    assert len(set(names)) == len(names)
    assert not {"user_id", "user", "user_key", "segment", "engagement_score"} & set(names)


def test_json_gives_the_same_specification_back() -> None:
    spec = spec_of(("purchase", "Île d'Oléron"), send="Île d'Oléron", windows=(1, 365), weights=(0, 3))
    assert FeatureSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_codes_and_slugs_are_found_by_name() -> None:
    spec = spec_of(("b", "purchase"))
    assert (spec.code("purchase"), spec.code("b"), spec.code(None)) == (1, 0, None)
    assert spec.slug("purchase") == "purchase"
    assert spec.type_names == ("b", "purchase")
