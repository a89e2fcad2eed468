from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.config import PointRule
from engine.errors import ConfigError
from engine.features.measure import EventRef, Measure
from engine.features.measures import measure_columns, measure_wants
from engine.points.cards import apply_cards, compile_cards
from engine.rollups.bucket import Bucket
from engine.rules.scope import Scope
from tests.points.configs import cards_of, compiled_of, rule_spec, scope_of

SPAM = {"name": "spam", "event": "complaint", "points": -20}
BUYS = {"name": "buys", "event": "purchase", "points": 50}
LEDGER = ["user_id", "card", "rule", "quantity", "points"]


def card(*rules: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"name": "card", "rules": list(rules), **keys}


def refused(*cards: dict[str, Any], scope: Scope | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compile_cards(cards_of(*cards), scope or scope_of())
    assert caught.value.code == "points-rule"
    return caught.value.message.splitlines()[1:]


@pytest.mark.parametrize(
    ("keys", "column"),
    [
        ({}, "purchase_count_total"),
        ({"window_days": 30}, "purchase_count_30d"),
        ({"window_days": 31}, Measure("event_count", (EventRef("purchase"),), days=31)),
        ({"where": "amount > 20"}, Measure("event_count", (EventRef("purchase", "amount > 20"),))),
        (
            {"where": "NOT category = 'x'"},
            Measure("event_count", (EventRef("purchase", "NOT COALESCE(category = 'x', FALSE)"),)),
        ),
        ({"half_life_days": 14}, Measure("event_decayed", (EventRef("purchase"),), half_life=14)),
        (
            {"half_life_days": 14, "window_days": 30, "where": "amount > 20"},
            Measure("event_decayed", (EventRef("purchase", "amount > 20"),), days=30, half_life=14),
        ),
    ],
)
def test_events_are_a_column_of_the_catalogue_or_a_measure(keys: dict[str, Any], column: str | Measure) -> None:
    compiled = compiled_of(card({**BUYS, **keys}))
    if isinstance(column, str):
        assert (compiled.columns, compiled.measures) == ({column}, ())
    else:
        assert (compiled.columns, compiled.measures) == (frozenset(), (column,))
    name = column if isinstance(column, str) else column.name
    [points, _], _ = apply_cards(compiled, pl.DataFrame({"user_id": [1, 2], name: [1, 3]}))
    assert points.to_list() == [50, 150]


def test_a_decayed_event_gives_a_part_of_its_points() -> None:
    compiled = compiled_of(card({**BUYS, "half_life_days": 30, "window_days": 91}))
    as_of, spec = 20_000, rule_spec()
    # Of age 0 (the last day before as_of), of a half-life, of both, twice of three half-lives, and out of the window.
    ages = {1: [0], 2: [30], 3: [0, 30], 4: [90, 90], 5: [91]}
    users = pl.DataFrame({"user_key": list(ages), "user_id": list(ages)}, schema_overrides={"user_key": pl.UInt64})
    daily = pl.DataFrame(
        [(user - 1, 0, as_of - 1 - age, 1, 0) for user, times in ages.items() for age in times],
        {"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, "events": pl.Int64, "amount_minor": pl.Int64},
        orient="row",
    )
    codes = measure_wants(compiled.measures, spec).codes
    measured = measure_columns(compiled.measures, Bucket(users, daily, None), as_of, spec, codes)
    frame = users.with_row_index("user").join(measured, on="user", how="left", maintain_order="left").fill_null(0)
    [points, _], ledger = apply_cards(compiled, frame)
    assert points.to_list() == [50, 25, 75, 12.5, 0]
    assert ledger["quantity"].to_list() == [1.0, 0.5, 1.5, 0.25]


def test_the_ledger_says_what_gave_the_points() -> None:
    compiled = compiled_of(
        card(
            BUYS,
            {"name": "rate", "value": "open_rate_30d", "points": 5, "form": "log", "full_at": 0.5},
            {"name": "north", "where": "region = 'north'", "points": 3},
            SPAM,
            cap=100,
        ),
        {"name": "other", "rules": [SPAM], "floor": -30},
        region=pl.String(),
    )
    frame = pl.DataFrame(
        {
            "user_id": ["b", "a", "d", "c"],
            "purchase_count_total": [3, 0, 0, 1],
            "open_rate_30d": [None, 0.5, 0.0, math.nan],
            "region": ["north", None, "south", "north"],
            "complaint_count_total": [0, 2, 0, 1],
        }
    )
    [points, classes, other, _], ledger = apply_cards(compiled, frame)
    assert (points.name, classes.name, other.name) == ("points_card", "points_card_class", "points_other")
    assert points.to_list() == [100, 0, 0, 33]
    assert other.to_list() == [0, -30, 0, -20]
    assert ledger.columns == LEDGER
    assert ledger.rows() == [
        ("a", "card", "rate", 0.5, 5.0),
        ("a", "card", "spam", 2.0, -40.0),
        ("a", "card", "(cap)", None, 35.0),
        ("a", "other", "spam", 2.0, -40.0),
        ("a", "other", "(cap)", None, 10.0),
        ("b", "card", "buys", 3.0, 150.0),
        ("b", "card", "north", None, 3.0),
        ("b", "card", "(cap)", None, -53.0),
        ("c", "card", "buys", 1.0, 50.0),
        ("c", "card", "north", None, 3.0),
        ("c", "card", "spam", 1.0, -20.0),
        ("c", "other", "spam", 1.0, -20.0),
    ]


def test_a_threshold_must_be_exceeded() -> None:
    compiled = compiled_of(card({"name": "x", "value": "x", "points": 1}, classes={"b": 10.1, "a": 30}), x=pl.Float64())
    frame = pl.DataFrame({"user_id": range(6), "x": [10.1, 10.11, 30.0, 30.004, 30.005, None]})
    [points, classes], _ = apply_cards(compiled, frame)
    assert points.to_list() == [10.1, 10.11, 30.0, 30.0, 30.01, 0.0]
    assert classes.to_list() == ["low", "b", "b", "b", "a", "low"]


def test_a_floor_lifts_those_without_any_points() -> None:
    compiled = compiled_of(card(BUYS, floor=5, classes={"high": 4}))
    [points, classes], ledger = apply_cards(compiled, pl.DataFrame({"user_id": [1], "purchase_count_total": [0]}))
    assert (points.to_list(), classes.to_list()) == ([5.0], ["high"])
    assert ledger.rows() == [(1, "card", "(cap)", None, 5.0)]


@pytest.mark.parametrize(
    ("keys", "points"),
    [({"cap": 1e300}, 50.0), ({"floor": -1e300}, 50.0), ({"floor": 1e300}, 1e15), ({"cap": 1e300, "floor": 60}, 60.0)],
)
def test_bounds_beyond_all_points_bind_nobody(keys: dict[str, float], points: float) -> None:
    compiled = compiled_of(card(BUYS, **keys))
    [found, _], _ = apply_cards(compiled, pl.DataFrame({"user_id": [1], "purchase_count_total": [1]}))
    assert found.to_list() == pytest.approx([points])


def test_no_users_and_no_cards_give_empty_tables() -> None:
    empty = pl.DataFrame({"user_id": [], "purchase_count_total": []}, schema_overrides={"user_id": pl.Int64})
    columns, ledger = apply_cards(compiled_of(card(BUYS)), empty)
    assert [column.len() for column in columns] == [0, 0]
    assert ledger.schema == {
        "user_id": pl.Int64,
        "card": pl.String,
        "rule": pl.String,
        "quantity": pl.Float64,
        "points": pl.Float64,
    }
    columns, ledger = apply_cards(compiled_of(), pl.DataFrame({"user_id": [1]}))
    assert (columns, ledger.columns, ledger.height) == ([], LEDGER, 0)


@st.composite
def point_rules(draw: st.DrawFn, number: int) -> dict[str, Any]:
    keys: dict[str, Any] = {"name": f"r{number}", "value": f"x{number}"}
    form = draw(st.sampled_from(["each", "once", "linear", "log", "steps"]))
    if form == "steps":
        lows = draw(st.lists(st.integers(-5, 20), min_size=1, max_size=3, unique=True).map(sorted))
        keys["steps"] = [(low, draw(st.integers(-5_000, 5_000)) / 100) for low in lows]
    else:
        keys["points"] = draw(st.integers(-50_000, 50_000)) / 1000
    if form in {"linear", "log"}:
        keys["full_at"] = draw(st.integers(1, 300)) / 10
    if draw(st.booleans()):
        keys["cap"] = draw(st.integers(1, 5_000)) / 100
    return {**keys, "form": form}


QUANTITIES = st.none() | st.just(math.nan) | st.integers(-3, 40) | st.floats(-10, 100, width=32)


@given(st.data())
def test_the_ledger_sums_to_the_points_exactly(data: st.DataObject) -> None:
    rules = [data.draw(point_rules(number)) for number in range(data.draw(st.integers(1, 4)))]
    cap = data.draw(st.none() | st.integers(1, 20_000).map(lambda hundredths: hundredths / 100))
    floor = data.draw(st.sampled_from([0, -12.34, -1e6]))
    users = data.draw(st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True))
    frame = pl.DataFrame(
        {"user_id": users},
    ).with_columns(
        pl.Series(f"x{n}", [data.draw(QUANTITIES) for _ in users], pl.Float64, strict=False) for n in range(len(rules))
    )
    compiled = compiled_of(card(*rules, cap=cap, floor=floor), **{f"x{n}": pl.Float64() for n in range(len(rules))})
    [points, _], ledger = apply_cards(compiled, frame)
    sums = dict.fromkeys(users, 0)
    for user, _, rule, quantity, given_points in ledger.rows():
        hundredths = round(given_points * 100)
        assert hundredths / 100 == given_points != 0
        sums[user] += hundredths
        if rule != "(cap)":
            assert quantity == frame.filter(user_id=user)[f"x{rule[1:]}"].item()
    assert dict(zip(users, points, strict=True)) == {user: total / 100 for user, total in sums.items()}
    assert all(floor <= total and (cap is None or total <= cap) for total in points)
    order = {name: place for place, name in enumerate([*(rule["name"] for rule in rules), "(cap)"])}
    keys = [(user, order[rule]) for user, _, rule, *_ in ledger.rows()]
    assert keys == sorted(set(keys))


def test_the_order_of_the_users_changes_nothing() -> None:
    random = np.random.default_rng(5)
    frame = pl.DataFrame(
        {
            "user_id": [f"u{number:03d}" for number in range(300)],
            "purchase_count_total": random.poisson(1.0, 300),
            "complaint_count_total": random.poisson(1.0, 300),
        }
    )
    compiled = compiled_of(card(BUYS, SPAM, cap=90))
    _, expected = apply_cards(compiled, frame)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=3)
    [points, _], ledger = apply_cards(compiled, shuffled)
    assert ledger.equals(expected)
    sums = ledger.group_by("user_id").agg(pl.col("points").sum())
    told = shuffled.select("user_id", points=points).filter(pl.col("points") != 0).sort("user_id")
    assert told.equals(sums.filter(pl.col("points") != 0).sort("user_id"))


def test_all_problems_of_rules_are_told_at_once() -> None:
    lines = refused(
        card(
            {"name": "a", "event": "purchse", "points": 1},
            {"name": "b", "event": "purchase", "where": "amont > 3", "points": 1},
            {"name": "c", "event": "purchase", "where": "channel = 'x'", "points": 1},
            {"name": "d", "where": "region ==", "points": 1},
            {"name": "e", "value": "purchase_count_31d", "points": 1},
            {"name": "f", "event": "purchase", "where": "amount > 3) + (1", "points": 1},
        )
    )
    text = "\n".join(lines)
    assert "  points.card.a.event: no event type 'purchse' (did you mean 'purchase'?)" in lines
    assert "no column 'amont'" in text
    assert "'channel'" in text
    assert list(dict.fromkeys(line for line in lines if line.startswith("  p")))[1:] == [
        "  points.card.b.where:",
        "  points.card.c.where:",
        "  points.card.d.where:",
        "  points.card.e.value:",
        "  points.card.f.where:",
    ]


def test_cards_do_not_know_segments() -> None:
    scope = Scope(scope_of().columns, spec=rule_spec(), segments=frozenset({"vip"}))
    assert (
        "points.card.x.where" in refused(card({"name": "x", "where": "in_segment('vip')", "points": 1}), scope=scope)[0]
    )


def test_a_card_cannot_take_the_name_of_a_column() -> None:
    lines = refused(card(BUYS), scope=scope_of(points_card=pl.Float64()))
    assert lines == ["  points_card: there is a feature, score or attribute of this name; rename the card"]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"form": "linear", "full_at": 2}, "points: needed by form = 'linear'"),
        ({"points": 3, "form": "steps", "steps": [(1, 2)]}, "each of the steps has its own"),
        ({"points": 3, "form": "log"}, "full_at: needed by linear and log alone"),
        ({"form": "steps", "steps": [(2, 2), (1, 3)]}, "ascending"),
    ],
)
def test_a_rule_must_be_complete(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        PointRule(name="r", value="x", **keys)
