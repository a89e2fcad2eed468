from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.points.cards import apply_cards, card_columns, compile_cards
from tests.points.configs import ROLES, cards_of, rule_spec, scope_of


def scored(preset: str, rows: dict[str, list[Any]], **card: Any) -> list[tuple[float, str]]:
    cards = cards_of({"name": "card", "preset": preset, **card}, features={"windows": (7, 30, 182)})
    compiled = compile_cards(cards, scope_of(size=pl.Int64()))
    users = max(map(len, rows.values()))
    absent = {name: [0] * users for name in compiled.columns - rows.keys()}
    columns, _ = apply_cards(compiled, pl.DataFrame({"user_id": range(users), **rows, **absent}))
    return list(zip(*(column.to_list() for column in columns), strict=True))


def test_behaviour_is_10_20_30_50_per_event() -> None:
    rows = {
        "open_count_total": [1, 0, 0, 0, 2, 3, 0, 1, 0, 0],
        "click_count_total": [0, 1, 0, 0, 0, 0, 3, 0, 0, 0],
        "cart_count_total": [0, 0, 1, 0, 0, 0, 0, 0, 2, 0],
        "purchase_count_total": [0, 0, 0, 1, 0, 0, 0, 1, 1, 0],
    }
    assert scored("behaviour", rows) == [
        (10, "low"),
        (20, "low"),
        (30, "medium"),
        (50, "medium"),
        (20, "low"),
        (30, "medium"),
        (60, "medium"),
        (60, "medium"),
        (110, "high"),
        (0, "low"),
    ]


def test_value_is_10_for_four_purchases_5_for_half_of_the_messages_opened_2_per_comment_or_share() -> None:
    rows = {
        "purchase_count_182d": [4, 9, 2, 0, 4, 4, 0],
        "open_rate_182d": [0.5, 1.0, 0.25, None, None, 0.5, 0.1],
        "comment_count_total": [0, 0, 1, 0, 10, 8, 0],
        "share_count_total": [0, 0, 0, 1, 0, 0, 0],
    }
    assert scored("value", rows) == [
        (15.0, "standard"),
        (15.0, "standard"),
        (5 + 2.92 + 2, "standard"),
        (2.0, "standard"),
        (30.0, "standard"),
        (31.0, "high_value"),
        (1.32, "standard"),
    ]


@pytest.mark.parametrize(
    ("windows", "column", "told"),
    [
        ((7, 30, 182), "open_rate_182d", False),
        ((7, 30, 90, 365), "open_rate_90d", True),
        ((7, 90, 274), "open_rate_274d", True),
        ((7,), "open_rate_7d", True),
    ],
)
def test_the_open_rate_is_that_of_the_nearest_window(windows: tuple[int, ...], column: str, told: bool) -> None:
    [card] = cards_of({"name": "card", "preset": "value"}, features={"windows": windows})
    assert [rule.value for rule in card.rules if rule.value] == [column]
    assert any("window nearest" in note for note in card.notes) == told


def test_engagement_is_the_score_and_each_threshold_must_be_exceeded() -> None:
    scores = [0.0, 70.0, 70.01, 80.0, 80.5, 85.0, 85.01, 100.0]
    names = ["less_engaged"] * 2 + ["engaged"] * 2 + ["very_engaged"] * 2 + ["exclusive"] * 2
    assert scored("engagement", {"engagement_score": scores}) == list(zip(scores, names, strict=True))


def test_maturity_has_three_ordinal_classes_over_rules_of_ones_own() -> None:
    rules = [{"name": "size", "value": "size", "points": 1}]
    rows = {"size": [33, 34, 66, 67]}
    names = ["traditional", "intermediate", "intermediate", "innovator"]
    assert [name for _, name in scored("maturity", rows, rules=rules)] == names
    [card] = cards_of({"name": "card", "preset": "maturity", "rules": rules})
    assert [card.labels[name]["fr"] for name in ("innovator", "intermediate", "traditional")] == [
        "innovant",
        "intermédiaire",
        "traditionnel",
    ]


@pytest.mark.parametrize("preset", ["behaviour", "value", "engagement"])
def test_every_class_of_a_preset_has_labels_in_both_languages(preset: str) -> None:
    [card] = cards_of({"name": "card", "preset": preset})
    names = [*(name for name, _ in card.classes), card.base]
    assert {name: set(card.labels[name]) for name in names} == {name: {"en", "fr"} for name in names}


def test_cut_offs_of_ones_own_take_the_place_of_the_preset_s() -> None:
    [card] = cards_of(
        {"name": "card", "preset": "behaviour", "classes": {"top": 200, "high": 90}, "labels": {"top": {"fr": "cime"}}}
    )
    assert card.classes == (("top", 200), ("high", 90))
    assert card.base == "low"
    assert card.labels["top"] == {"fr": "cime"}
    assert card.labels["high"] == {"en": "high", "fr": "élevé"}


def test_rules_without_an_event_type_are_left_out_and_told() -> None:
    events = {"purchase": "purchase", "open": "open"}
    behaviour, value = cards_of(
        {"name": "b", "preset": "behaviour"}, {"name": "v", "preset": "value"}, events={**events, "send": None}
    )
    assert [rule.name for rule in behaviour.rules] == ["open", "purchase"]
    assert behaviour.notes == ("rules of preset 'behaviour' left out, as [events] has no click, cart_add",)
    assert [rule.name for rule in value.rules] == ["purchases"]
    assert value.notes == ("rules of preset 'value' left out, as [events] has no send, comment, share",)


def test_own_rules_come_on_top_and_one_of_the_same_name_takes_its_place() -> None:
    own = [{"name": "click", "event": "click", "points": 5}, {"name": "spam", "event": "complaint", "points": -20}]
    [card] = cards_of({"name": "card", "preset": "behaviour", "rules": own})
    points = [(rule.name, rule.points) for rule in card.rules]
    assert points == [("open", 10), ("click", 5), ("cart_add", 30), ("purchase", 50), ("spam", -20)]


def test_all_that_is_wrong_with_the_cards_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        cards_of(
            {"name": "a", "preset": "behaviour"},
            {"name": "b", "preset": "maturity"},
            {"name": "c", "preset": "engagement", "labels": {"none": {"fr": "aucun"}}},
            {"name": "c_class", "preset": "engagement", "base": "engaged"},
            events={},
        )
    assert caught.value.code == "points-card"
    assert caught.value.message.splitlines()[1:] == [
        "  points.a: preset 'behaviour' needs one of open, click, cart_add, purchase in [events]",
        "  points.b: preset 'maturity' has classes alone; expected rules of its own",
        "  points.c: labels: no class 'none'; there are exclusive, very_engaged, engaged, less_engaged",
        "  points.c_class: base: 'engaged' is a class with a threshold already",
        "  points.c_class: its column 'points_c_class' is one of the card 'c' too",
    ]


def test_the_columns_are_points_and_class_of_each_card() -> None:
    cards = cards_of({"name": "b", "preset": "behaviour"}, {"name": "v", "preset": "value"})
    assert card_columns(cards) == {
        "points_b": pl.Float64(),
        "points_b_class": pl.String(),
        "points_v": pl.Float64(),
        "points_v_class": pl.String(),
    }


def test_presets_resolve_to_columns_of_the_catalogue() -> None:
    names = ("behaviour", "value", "engagement")
    cards = cards_of(*({"name": name, "preset": name} for name in names), features={"windows": (7, 30, 182)})
    compiled = compile_cards(cards, scope_of(rule_spec()))
    assert compiled.measures == ()
    assert compiled.columns == {
        *(f"{ROLES[role]}_count_total" for role in ("open", "click", "cart_add", "purchase", "comment", "share")),
        "purchase_count_182d",
        "open_rate_182d",
        "engagement_score",
    }
