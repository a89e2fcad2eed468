from __future__ import annotations

from dataclasses import replace

import pytest

from engine.clusters.naming import ClusterNames
from engine.reporting.learnt_names import TERMS, cluster_words, feature_words, learnt_names
from engine.reporting.words import LANGUAGES, texts
from tests.bundles import clusters, full_bundle, spec


@pytest.mark.parametrize(
    ("name", "english", "french"),
    [
        ("tenure_days", "Days since the first event", "Jours depuis le premier événement"),
        ("buy_count_30d", "Purchases in the last 30 days", "Achats sur les 30 derniers jours"),
        ("buy_amount_total", "Amount in purchases in total", "Montant en achats au total"),
        ("rfm_mean_order", "Mean order value", "Panier moyen"),
        ("days_since_buy", "Days since the last purchase", "Jours depuis le dernier achat"),
        (
            "view_count_30d",
            "View events in the last 30 days",
            "Événements “view” sur les 30 derniers jours",
        ),
    ],
)
def test_features_are_told_without_a_value(name: str, english: str, french: str) -> None:
    assert feature_words(spec(), "en")[name] == english
    assert feature_words(spec(), "fr")[name] == french


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_mark_of_the_word_tables_is_left(language: str) -> None:
    for text in feature_words(spec(), language).values():  # type: ignore[arg-type]
        assert not set(text) & set("{}[]|~")


@pytest.mark.parametrize(
    ("name", "french"),
    [
        ("Newcomers, gone quiet", None),
        ("Long-standing, few view events in the last 30 days", None),
        ("Out of the ordinary", "Hors norme"),
        ("Newcomers", "Nouveaux venus"),
        ("Newcomers 2", "Nouveaux venus 2"),
        ("My name", None),
    ],
)
def test_names_are_translated_when_they_are_of_the_words(name: str, french: str | None) -> None:
    called = ClusterNames("en", {0: name}, frozenset())
    assert cluster_words(replace(clusters(), called=called), spec(), "fr").get(name) == french


def test_given_names_stay() -> None:
    called = ClusterNames("en", {0: "Newcomers"}, frozenset({0}))
    assert cluster_words(replace(clusters(), called=called), spec(), "fr") == {}
    assert cluster_words(clusters(), spec(), "en") == {}


def test_terms_are_the_texts_of_their_tables() -> None:
    named = learnt_names(None, "fr")
    assert named["outcome", "kept"] == texts("fr")["outcome.kept"]
    assert {vocabulary for vocabulary, _ in named} == set(TERMS)
    assert {"feature", "cluster"} < {vocabulary for vocabulary, _ in learnt_names(full_bundle(), "fr")}
