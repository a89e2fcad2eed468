from __future__ import annotations

from typing import Any

import pytest

from engine.config import Columns, Config, Source
from engine.errors import ConfigError
from engine.features.choice import ROLES, feature_spec, mapped_columns
from engine.features.spec import EventType, FeatureSpec

TYPES = ("purchase", "open", "open_machine", "view")


def config_with(columns: dict[str, str] | None = None, **sections: Any) -> Config:
    mapped = Columns(user_id="u", event_type="t", event_time="e", **(columns or {}))  # type: ignore[arg-type]
    source = Source(name="log", path="log.parquet", columns=mapped)
    return Config.model_validate({"sources": (source,), **sections})


def spec_with(config: Config, attributes: tuple[str, ...] = ()) -> FeatureSpec:
    return feature_spec(config, TYPES, frozenset({"purchase"}), attributes)


def refused(config: Config) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        spec_with(config)
    return caught.value


def derived(name: str = "shoes", event: str = "view", where: str = "category = 'shoes'") -> dict[str, str]:
    return {"name": name, "event": event, "where": where}


def test_roles_settings_and_columns_are_taken_over() -> None:
    config = config_with(
        {"amount": "a", "category": "c"},
        events=dict.fromkeys(ROLES, "view"),
        features={"session_gap_minutes": 20, "last_pages": 5, "reactivated_after_days": 60},
        engagement={
            "half_life_days": 14,
            "full_open_rate": 0.25,
            "full_click_rate": 0.125,
            "full_purchases": 6,
            "full_amount": 300,
        },
        currency_digits=3,
    )
    spec = spec_with(config)
    assert {getattr(spec, role) for role in ROLES} == {"view"}
    assert spec.columns == mapped_columns(config) == ("user_id", "event_type", "event_time", "amount", "category")
    assert (spec.session_gap_minutes, spec.last_pages, spec.reactivated_after_days) == (20, 5, 60)
    assert (spec.half_life_days, spec.full_open_rate, spec.full_click_rate) == (14, 0.25, 0.125)
    assert (spec.full_purchases, spec.full_amount_minor) == (6, 300_000)
    assert FeatureSpec.from_json(spec.to_json()) == spec


def test_derived_types_stand_behind_the_others_and_weigh_nothing() -> None:
    spec = spec_with(config_with(features={"events": [derived(), derived("dear", "purchase", "amount > 50")]}))
    assert spec.types[4:] == (
        EventType("shoes", "shoes", priced=False, of="view", where="category = 'shoes'"),
        EventType("dear", "dear", priced=True, of="purchase", where="amount > 50"),
    )
    # The machine opens count once, as opens of people do: as themselves, without points.
    assert spec.weights == (1, 1, 0, 1, 0, 0)


def test_derived_and_machine_types_may_be_weighted_by_name() -> None:
    weights = {"shoes": 3, "open_machine": 2}
    spec = spec_with(config_with(features={"events": [derived()]}, engagement={"weights": weights}))
    assert spec.weights == (0, 0, 2, 0, 3)


def test_a_role_may_name_a_derived_type() -> None:
    spec = spec_with(config_with(features={"events": [derived("cart", "view")]}, events={"cart_add": "cart"}))
    assert spec.code(spec.cart_add) == 4


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([derived(event="views")], ["'shoes'", "no event type 'views' (did you mean 'view'?)"]),
        ([derived("view")], ["'view': there is an event type of this name already"]),
        ([derived(), derived(where="amount > 2")], ["'shoes': there is an event type of this name already"]),
        ([derived(where="categori = 'x'")], ["features.events.shoes.where", "did you mean 'category'?"]),
        ([derived(where="amount + 1")], ["expected a condition"]),
        ([derived(event="x1"), derived("b", where="nope")], ["'x1'", "'nope'"]),
    ],
)
def test_derived_types_that_cannot_be_made_are_told_all_at_once(
    entries: list[dict[str, str]], words: list[str]
) -> None:
    error = refused(config_with(features={"events": entries}))
    assert error.code == "feature-event"
    assert [word for word in words if word not in error.message] == []


def test_slugs_of_derived_types_must_be_their_own() -> None:
    assert refused(config_with(features={"events": [derived("View!")]})).code == "event-type-names"


@pytest.mark.parametrize(
    ("sections", "families"),
    [
        ({}, ()),
        ({"features": {"families": ("value", "lifecycle")}}, ("lifecycle", "value")),
        ({"clusters": {"features": ("tenure_days", "purchase_gap_std_days")}}, ("cadence",)),
        ({"segments": [{"name": "s", "where": "first_seen > DATE '2024-01-01' AND nonsense = 1"}]}, ("lifecycle",)),
        ({"segments": [{"name": "s", "where": "name = 'first_seen'"}]}, ()),
        (
            {"segments": [{"name": "s", "where": '"view_count_trend_7d" > 0 OR weekend_share > 0.5'}]},
            ("trend", "seasonality"),
        ),
        (
            {
                "features": {"families": ("lifecycle",)},
                "clusters": {"features": ("first_seen", "weekend_share")},
            },
            ("lifecycle", "seasonality"),
        ),
        (
            {
                "segments": [{"name": "s", "where": "first_seen = 'x'"}],
                "contacts": {"path": "c", "user_id": "u", "columns": ("first_seen",)},
            },
            (),
        ),
    ],
)
def test_families_come_by_name_or_by_column(sections: dict[str, Any], families: tuple[str, ...]) -> None:
    assert spec_with(config_with(events={"purchase": "purchase"}, **sections)).families == families


def test_an_attribute_of_a_columns_name_asks_for_no_family() -> None:
    config = config_with(segments=[{"name": "s", "where": "first_seen = 'x'"}])
    assert spec_with(config).families == ("lifecycle",)
    assert spec_with(config, ("first_seen",)).families == ()


def test_unknown_families_are_told_with_the_nearest() -> None:
    error = refused(config_with(features={"families": ("cadense", "funnel", "xyz")}))
    assert error.code == "feature-family-unknown"
    assert "'cadense' (did you mean 'cadence'?)" in error.message
    assert "'xyz'" in error.message
    assert "'funnel'" not in error.message


def test_families_without_a_column_say_what_they_need() -> None:
    error = refused(config_with(features={"families": ("cadence", "sessions", "lifecycle")}))
    assert error.code == "feature-family-empty"
    assert "'cadence' needs an event type for events.purchase" in error.message
    assert "events.page_view" in error.message
    assert "lifecycle" not in error.message


def test_a_family_that_shares_a_column_with_a_type_is_refused() -> None:
    config = config_with(events={"open": "open"}, features={"families": ("funnel",)})
    with pytest.raises(ConfigError) as caught:
        feature_spec(config, ("open", "human open"), frozenset())
    assert caught.value.code == "event-type-names"
    assert "'days_since_human_open': 'human open' and another feature" in caught.value.message
    assert feature_spec(config_with(), ("open", "human open"), frozenset()).families == ()
