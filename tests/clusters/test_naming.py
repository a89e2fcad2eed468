from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clusters.moves import APART
from engine.clusters.naming import Attribute, ClusterNames, dominant, name_clusters
from engine.clusters.profiles import Figure, Profile
from engine.clusters.vocabulary import Language, vocabulary
from engine.features.page import full_spec

SPEC = full_spec()
ENGLISH, FRENCH = vocabulary(SPEC, "en"), vocabulary(SPEC, "fr")
FEATURES = (
    "days_since_last_event",
    "tenure_days",
    "active_days_365d",
    "purchase_count_30d",
    "purchase_count_365d",
    "purchase_amount_365d",
    "open_count_365d",
    "click_rate_365d",
)


def profile(cluster: int, **z_scores: float | None) -> Profile:
    figures = tuple(Figure(name, 1.0, 0.0, 0.0, 0.0, z_score) for name, z_score in z_scores.items())
    return Profile(cluster, 10, 0.1, None, None, figures, ())


def names_of(
    *profiles: Profile,
    language: Language = "en",
    given: dict[str, str] | None = None,
    before: ClusterNames | None = None,
) -> dict[int, str]:
    words = ENGLISH if language == "en" else FRENCH
    clustered = {figure.name for one in profiles for figure in one.figures}
    found, _ = name_clusters(profiles, clustered, words, language, given or {}, before)
    return {cluster: name for cluster, name in found.names.items() if cluster != APART}


NAMES: list[tuple[dict[str, float | None], str, str]] = [
    (
        {"purchase_count_365d": 1.4, "purchase_amount_365d": 1.9, "open_count_365d": 0.7},
        "Frequent big spenders",
        "Acheteurs fréquents à gros budget",
    ),
    (
        {"purchase_count_365d": 1.4, "rfm_mean_order": 1.9},
        "Frequent buyers with big baskets",
        "Acheteurs fréquents à gros paniers",
    ),
    (
        {"days_since_last_event": 2.2, "purchase_count_365d": -0.8, "tenure_days": 0.1},
        "Gone quiet, few orders",
        "Inactifs, peu d'achats",
    ),
    ({"purchase_amount_365d": -0.9, "tenure_days": -0.2}, "Small spenders", "Petits budgets"),
    ({"tenure_days": -1.2, "purchase_amount_365d": 0.8}, "New big spenders", "Nouveaux venus à gros budget"),
    ({"tenure_days": 0.3, "open_count_365d": -0.2}, "Average users", "Clients moyens"),
    ({"tenure_days": None}, "Average users", "Clients moyens"),
    (
        {"open_count_365d": 1.0, "click_rate_365d": 0.6},
        "Keen readers, high click rate",
        "Lecteurs assidus, taux de clic élevé",
    ),
    # One theme is said once, and so are two features of one kind.
    (
        {
            "days_since_last_event": 2.0,
            "active_days_365d": -1.5,
            "purchase_count_30d": -0.6,
            "purchase_count_365d": -1.0,
        },
        "Gone quiet, few orders",
        "Inactifs, peu d'achats",
    ),
    # No words of their own: the nouns of the sentences.
    (
        {"bounce_count_365d": 1.0, "bounce_count_30d": 0.9, "days_since_share": -0.7},
        "Many bounces, a short time since the last share",
        "Beaucoup de rebonds, peu de temps depuis le dernier partage",
    ),
    (
        {"night_share_365d": 1.0, "cart_add_amount_365d": -0.9},
        "High share of events at night, low amount in items put in the cart",
        "Part d'événements la nuit élevée, montant en ajouts au panier faible",
    ),
    (
        {"funnel_open_rate_raw_365d": 1.0, "unsubscribe_count_365d": 0.9},
        "High open rate, machines included, many opt-outs",
        "Taux d'ouverture élevé, machines comprises, beaucoup de désinscriptions",
    ),
    ({"cart_abandoned_30d": 1.0}, "Having left something in the cart", "Avoir laissé un panier en attente"),
    ({"cart_abandoned_30d": -1.0}, "Having left nothing in the cart", "Ne pas avoir laissé de panier en attente"),
    ({"age": 1.0, "days_since_last_event": -0.8}, "High age, recently active", "Age élevé, récemment actifs"),
    # More of these is not more of anything.
    ({"preferred_hour_365d": 2.0, "tenure_days": 0.6}, "Long-standing", "Clients de longue date"),
]


@pytest.mark.parametrize(("z_scores", "english", "french"), NAMES)
def test_a_name_says_what_stands_out(z_scores: dict[str, float | None], english: str, french: str) -> None:
    one = profile(0, **z_scores)
    assert names_of(one)[0] == english
    assert names_of(one, language="fr")[0] == french


def test_two_clusters_never_have_one_name() -> None:
    same: dict[str, float | None] = {
        "purchase_count_365d": 1.0,
        "purchase_amount_365d": 1.2,
        "open_count_365d": 0.3,
        "days_since_last_event": -0.2,
    }
    found = names_of(*(profile(cluster, **same) for cluster in range(5)))
    assert list(found.values()) == [
        "Frequent big spenders",
        "Frequent big spenders, many opens",
        "Frequent big spenders, many opens, recently active",
        "Frequent big spenders 2",
        "Frequent big spenders 3",
    ]
    assert names_of(profile(0), profile(1), language="fr") == {0: "Clients moyens", 1: "Clients moyens 2"}
    slight = names_of(profile(0), profile(1, tenure_days=-0.2))
    assert slight == {0: "Average users", 1: "Average users, new"}


def test_a_cluster_that_lives_on_keeps_its_name() -> None:
    before = ClusterNames("en", {-1: "Out of the ordinary", 3: "Big spenders", 4: "Newcomers"})
    now = [profile(3, tenure_days=-1.0), profile(5, tenure_days=-1.0), profile(6, purchase_amount_365d=1.0)]
    # The name of a cluster that is gone is free again; that of one which lives on is not.
    assert names_of(*now, before=before) == {3: "Big spenders", 5: "Newcomers", 6: "Big spenders 2"}
    assert names_of(*now, language="fr", before=before) == {
        3: "Nouveaux venus",
        5: "Nouveaux venus 2",
        6: "Gros budgets",
    }


def test_names_of_the_configuration_come_first() -> None:
    profiles = [profile(0, tenure_days=-1.0), profile(1, tenure_days=1.0)]
    found, warnings = name_clusters(
        profiles, ["tenure_days"], ENGLISH, "en", {"1": " Newcomers ", "7": "Ghosts", "x": "?", "0": " "}
    )
    assert found.names == {-1: "Out of the ordinary", 0: "Newcomers 2", 1: "Newcomers"}
    assert found.given == {1}
    assert warnings == (
        "clusters.names: there is no cluster '7'; there are 0, 1",
        "clusters.names: there is no cluster 'x'; there are 0, 1",
        "clusters.names: the name of cluster 0 is empty; one is made for it",
    )
    # Taken out of the configuration, the name is made anew; the other cluster keeps what it was called.
    assert names_of(*profiles, before=found) == {0: "Newcomers 2", 1: "Long-standing"}


def test_one_name_given_to_two_clusters() -> None:
    profiles = [profile(0), profile(1), profile(2)]
    found, warnings = name_clusters(profiles, [], ENGLISH, "en", {"2": "VIP", "0": "vip", "-1": "VIP"})
    assert found.names == {-1: "VIP", 0: "vip 2", 1: "Average users", 2: "VIP 3"}
    assert warnings == (
        "clusters.names: 'vip' is taken; cluster 0 is called 'vip 2'",
        "clusters.names: 'VIP' is taken; cluster 2 is called 'VIP 3'",
    )


@pytest.mark.parametrize(("language", "name"), [("en", "Out of the ordinary"), ("fr", "Hors norme")])
def test_users_in_no_cluster_have_a_name_too(language: Language, name: str) -> None:
    words = ENGLISH if language == "en" else FRENCH
    found, _ = name_clusters([profile(APART, tenure_days=3.0), profile(0)], ["tenure_days"], words, language, {})
    assert found.names[APART] == name


def test_names_survive_json() -> None:
    names = ClusterNames("fr", {-1: "Hors norme", 0: "Très actifs", 12: "VIP"}, frozenset({12}))
    assert ClusterNames.from_json(json.loads(json.dumps(names.to_json()))) == names


def test_only_what_clusters_are_made_of_gives_names() -> None:
    one = profile(0, purchase_amount_365d=3.0, tenure_days=0.7)
    assert dominant(one, ["tenure_days"], ENGLISH) == (Attribute("tenure_days", 0.7),)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(FEATURES), st.sampled_from([-2.0, -0.6, -0.2, 0.0, 0.2, 0.6, 2.0])),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(["en", "fr"]),
)
def test_names_are_distinct_and_short(figures: list[dict[str, float]], language: Language) -> None:
    found = names_of(*(profile(cluster, **scores) for cluster, scores in enumerate(figures)), language=language)
    assert len({name.casefold() for name in found.values()}) == len(figures)
    assert all(name and len(name) <= 120 for name in found.values())
