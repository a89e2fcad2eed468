from __future__ import annotations

from dataclasses import replace

import pytest

from engine.features.page import full_spec
from engine.features.spec import EventType, FeatureSpec
from engine.propensity.sentences import Value, plain_value, sentence
from engine.propensity.wording import Language, wording

RAISES = {"en": (" raise the probability", " raises the probability"), "fr": (" augmentent", " augmente")}


@pytest.mark.parametrize(
    ("name", "value", "raises", "english", "french"),
    [
        (
            "purchase_count_30d",
            3,
            True,
            "3 purchases in the last 30 days raise the probability",
            "3 achats sur les 30 derniers jours augmentent la probabilité",
        ),
        (
            "purchase_count_30d",
            1,
            False,
            "1 purchase in the last 30 days lowers the probability",
            "1 achat sur les 30 derniers jours diminue la probabilité",
        ),
        (
            "open_count_total",
            0,
            False,
            "0 opens in total lower the probability",
            "0 ouverture au total diminue la probabilité",
        ),
        (
            "days_since_open",
            None,
            False,
            "No open so far lowers the probability",
            "Aucune ouverture à ce jour diminue la probabilité",
        ),
        (
            "days_since_open",
            12,
            True,
            "12 days since the last open raise the probability",
            "12 jours depuis la dernière ouverture augmentent la probabilité",
        ),
        (
            "purchase_amount_30d",
            -1234567.5,
            True,
            "An amount of −1,234,567.50 in purchases in the last 30 days raises the probability",
            "Un montant de −1\u202f234\u202f567,50 en achats sur les 30 derniers jours augmente la probabilité",
        ),
        (
            "click_rate_365d",
            1 / 3,
            True,
            "A click rate of 33.3% in the last 365 days raises the probability",
            "Un taux de clic de 33,3\u00a0% sur les 365 derniers jours augmente la probabilité",
        ),
        (
            "click_rate_365d",
            None,
            True,
            "A click rate that is unknown in the last 365 days raises the probability",
            "Un taux de clic inconnu sur les 365 derniers jours augmente la probabilité",
        ),
        (
            "machine_open_share_30d",
            None,
            False,
            "A share of opens by machines that is unknown in the last 30 days lowers the probability",
            "Une part d'ouvertures par des machines inconnue sur les 30 derniers jours diminue la probabilité",
        ),
        (
            "open_count_trend_30d",
            -0.5,
            False,
            "A change in the number of opens of −0.5 (from −1 to 1) against the 30 days before lowers the probability",
            (
                "Une évolution du nombre d'ouvertures de −0,5 (de −1 à 1) par rapport aux 30 jours précédents diminue "
                "la probabilité"
            ),
        ),
        (
            "purchase_gap_mean_days",
            1.0,
            True,
            "A mean gap between purchases of 1 day raises the probability",
            "Un écart moyen entre les achats de 1 jour augmente la probabilité",
        ),
        (
            "session_duration_mean_ms_30d",
            95_250.0,
            True,
            "A mean duration of sessions of 95.25 s in the last 30 days raises the probability",
            "Une durée moyenne des sessions de 95,25 s sur les 30 derniers jours augmente la probabilité",
        ),
        (
            "preferred_weekday",
            3,
            True,
            "A preferred weekday that is Wednesday raises the probability",
            "Un jour préféré qui est le mercredi augmente la probabilité",
        ),
        (
            "purchase_share_month_08",
            0.5,
            True,
            "A share of purchases in August of 50% raises the probability",
            "Une part des achats en août de 50\u00a0% augmente la probabilité",
        ),
        (
            "reachable",
            0,
            False,
            "Not being reachable by message lowers the probability",
            "Ne pas être joignable par message diminue la probabilité",
        ),
        (
            "account_purchase_count_30d",
            None,
            True,
            "An unknown number of purchases of the account in the last 30 days raises the probability",
            "Un nombre inconnu d'achats du compte sur les 30 derniers jours augmente la probabilité",
        ),
        (
            "product_page_count_30d",
            2,
            True,
            "2 product_page events in the last 30 days raise the probability",
            "2 événements «\u00a0product_page\u00a0» sur les 30 derniers jours augmentent la probabilité",
        ),
        (
            "region",
            "Île-de-France",
            True,
            "The value “Île-de-France” of region raises the probability",
            "La valeur «\u00a0Île-de-France\u00a0» de region augmente la probabilité",
        ),
        (
            "age",
            41,
            False,
            "The value 41 of age lowers the probability",
            "La valeur 41 de age diminue la probabilité",
        ),
        (
            "member",
            True,
            False,
            "The value “true” of member lowers the probability",
            "La valeur «\u00a0true\u00a0» de member diminue la probabilité",
        ),
        (
            "region",
            None,
            False,
            "A missing value of region lowers the probability",
            "L'absence de valeur pour region diminue la probabilité",
        ),
    ],
)
def test_sentences(name: str, value: Value, raises: bool, english: str, french: str) -> None:
    assert sentence(name, value, wording(full_spec(), "en"), raises=raises) == english
    assert sentence(name, value, wording(full_spec(), "fr"), raises=raises) == french


def renamed() -> FeatureSpec:
    """The full specification with other names of event types, so that none is what its role is called."""
    spec = full_spec()
    names = {kind.name: f"x{number}" for number, kind in enumerate(spec.types)}
    for role in ("open", "click"):
        apart = spec.machine(getattr(spec, role))
        assert apart is not None
        names[apart] = apart.replace(getattr(spec, role), names[getattr(spec, role)])
    types = tuple(replace(kind, name=names[kind.name], slug=names[kind.name]) for kind in spec.types)
    plain = spec.to_json()
    roles = {key: names[value] for key, value in plain.items() if isinstance(value, str) and value in names}
    return replace(FeatureSpec.from_json({**plain, **roles}), types=types)


@pytest.mark.parametrize("spec", [full_spec(), renamed()], ids=["as shipped", "renamed"])
@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("value", [None, 0, 1, 2, 0.5])
def test_every_feature_that_a_model_can_take_has_words(spec: FeatureSpec, language: Language, value: Value) -> None:
    words = wording(spec, language)
    numeric = {name: feature for name, feature in words.features.items() if feature.dtype.is_numeric()}
    assert numeric.keys() - words.texts.keys() == set()
    for name, feature in numeric.items():
        if feature.unit in {"month", "weekday"} and value in {0, 0.5}:
            continue
        said = sentence(name, value, words, raises=True)
        assert any(verb in said for verb in RAISES[language]), said
        assert not set(said) & set("[]{}|~#"), said
        assert said[0].upper() == said[0], said
        assert (
            (value is None or feature.unit == "flag")
            or any(letter.isdigit() for letter in said)
            or feature.unit
            in {
                "month",
                "weekday",
            }
        ), said


@pytest.mark.parametrize("name", ["a|b", "x[s]", "{one}", "~", "{}#", "vente de articles", "{name}"])
def test_names_of_event_types_stay_as_they_are(name: str) -> None:
    spec = full_spec()
    odd = replace(spec, types=(*spec.types, EventType(name=name, slug="odd", priced=True)), weights=(*spec.weights, 0))
    cases: tuple[tuple[Language, str], ...] = (("en", f"{name} events"), ("fr", f"«\u00a0{name}\u00a0»"))
    for language, quoted in cases:
        words = wording(odd, language)
        for column in ("odd_count_30d", "odd_count_trend_30d", "odd_amount_total", "odd_active_days_30d"):
            assert quoted in sentence(column, 2, words, raises=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("x", "x"),
        (3, "3"),
        (3.0, "3"),
        (0.30000000000000004, "0.3"),
        (1234567.5, "1234567.5"),
        (True, "true"),
        (float("inf"), "inf"),
    ],
)
def test_plain_values(value: Value, text: str | None) -> None:
    assert plain_value(value) == text
