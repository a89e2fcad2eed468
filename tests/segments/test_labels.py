from __future__ import annotations

from typing import get_args

import pytest

from engine.config import Config, Lifecycle
from engine.config_segments import LifecyclePreset
from engine.segments.labels import labels_of
from engine.segments.lifecycle import INTERACTIONS, lifecycle_definitions
from engine.segments.rfm_maps import PublishedMap, published_table, segment_names

SOURCE = {"name": "log", "path": "a", "columns": {"user_id": "u", "event_type": "k", "event_time": "t"}}
EVERY_ROLE = {role: role for role in (*INTERACTIONS, "send", "unsubscribe")}


@pytest.mark.parametrize("segment_map", get_args(PublishedMap))
def test_every_segment_of_a_published_map_has_labels(segment_map: PublishedMap) -> None:
    for name in segment_names(published_table(segment_map)):
        assert [language for language, _ in labels_of(name)] == ["en", "fr"], name


@pytest.mark.parametrize("preset", get_args(LifecyclePreset))
def test_every_stage_has_labels(preset: LifecyclePreset) -> None:
    config = Config.model_validate({"sources": [SOURCE], "events": EVERY_ROLE})
    for stage in lifecycle_definitions(Lifecycle(preset=preset), config):
        assert [language for language, _ in stage.labels] == ["en", "fr"], stage.name
        assert stage.labels == labels_of(stage.name)


@pytest.mark.parametrize(
    ("name", "french"),
    [
        ("active_subscriber", "Abonnés actifs"),
        ("inactive_subscriber", "Abonnés inactifs"),
        ("recently_inactive_subscriber", "Abonnés récemment inactifs"),
        ("new_subscriber", "Nouveaux abonnés"),
        ("mature_subscriber", "Abonnés à maturité"),
        ("at_risk_subscriber", "Abonnés à risque"),
        ("regular_buyer", "Clients réguliers"),
        ("occasional_buyer", "Clients occasionnels"),
        ("inactive_buyer", "Clients inactifs"),
        ("premium", "Clients premium"),
        ("cold_prospect", "Prospects froids"),
        ("hot_prospect", "Prospects chauds"),
        ("very_engaged", "Très engagés"),
        ("low", "Faible"),
        ("medium", "Moyen"),
        ("high", "Élevé"),
        ("high_value", "Forte valeur (high value)"),
        ("vip", "VIP"),
        ("inactive_or_at_risk", "Profils inactifs ou à risque de désabonnement"),
        ("frequent_buyers", "Clients à forte fréquence d'achat"),
        ("seasonal_visitors", "Visiteurs saisonniers"),
        ("innovative", "Innovant"),
        ("intermediate", "Intermédiaire"),
        ("traditional", "Traditionnel"),
        ("awareness", "Prise de conscience"),
        ("consideration", "Considération"),
        ("decision", "Décision"),
        ("loyalty", "Fidélisation"),
    ],
)
def test_names_of_marketing_practice(name: str, french: str) -> None:
    assert dict(labels_of(name))["fr"] == french


def test_other_names_have_none() -> None:
    assert labels_of("panier abandonné") == ()
