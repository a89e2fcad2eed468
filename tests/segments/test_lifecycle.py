from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Config, Lifecycle
from engine.errors import ConfigError
from engine.features.catalogue import catalogue
from engine.features.measure import Measure
from engine.features.spec import EventType, slug
from engine.rules.read import read_rule
from engine.rules.scope import Scope
from engine.segments.definition import Definition
from engine.segments.lifecycle import CUTOFFS, lifecycle_definitions
from tests.features.specs import spec_of

History = dict[str, list[int]]
"""Ages of the events of each type in days: 1 is the day before as_of."""

SOURCE = {"name": "log", "path": "a", "columns": {"user_id": "u", "event_type": "k", "event_time": "t"}}
ROLES = {
    "send": "envoi",
    "open": "ouverture",
    "click": "l'appel",
    "page_view": "page",
    "cart_add": "panier",
    "purchase": "achat",
    "unsubscribe": "désabonnement",
}
INTERACTIONS = ("ouverture", "l'appel", "page", "panier", "achat")
TYPES = (*ROLES.values(), "login")
SPEC = spec_of(
    TYPES,
    types=tuple(EventType(name, slug(name), name == "achat") for name in TYPES),
    windows=(30, 365),
    families=("lifecycle",),
    **ROLES,
)
SCOPE = Scope({f.name: f.dtype for f in catalogue(SPEC)}, {f.name: f.unit for f in catalogue(SPEC)}, SPEC)


def stages(preset: str, cutoffs: dict[str, float] | None = None, **roles: str) -> tuple[Definition, ...]:
    config = Config.model_validate({"sources": [SOURCE], "events": roles or ROLES})
    entry = Lifecycle.model_validate({"preset": preset, "cutoffs": cutoffs or {}, "campaigns": ["c"]})
    return lifecycle_definitions(entry, config)


def column(name: str, history: History) -> int | None:
    every = [age for ages in history.values() for age in ages]
    acted = sorted({age for kind, ages in history.items() if kind not in {"envoi", "désabonnement"} for age in ages})
    if name == "tenure_days":
        return max(every)
    if name == "days_since_last_action":
        return acted[0] if acted else None
    if name == "last_action_pause_days":
        return acted[1] - acted[0] if len(acted) > 1 else None
    if found := re.fullmatch(r"days_since_(.+)", name):
        return min(ages_of(found[1], history), default=None)
    if found := re.fullmatch(r"(.+)_count_(\d+d|total)", name):
        days = 10**6 if found[2] == "total" else int(found[2][:-1])
        return sum(age <= days for age in ages_of(found[1], history))
    raise AssertionError(name)


def ages_of(part: str, history: History) -> list[int]:
    return next(ages for kind, ages in history.items() if slug(kind) == part)


def measured(measure: Measure, history: History) -> int:
    (event,) = measure.events
    ages = [age for age in history[event.type] if measure.until < age <= (measure.days or 10**6)]
    assert event.where is None
    return {"event_count": len(ages), "event_days": len(set(ages))}[measure.function]


def stage_of(definitions: tuple[Definition, ...], history: History) -> str:
    """The first stage whose rule holds."""
    history = {kind: history.get(kind, []) for kind in TYPES}
    for definition in definitions:
        assert definition.where is not None
        reading = read_rule(definition.where, SCOPE)
        assert reading.rule is not None, (definition.where, reading.problems)
        rule = reading.rule
        values: dict[str, Any] = {name: column(name, history) for name in rule.columns}
        values |= {measure.name: measured(measure, history) for measure in rule.measures}
        schema = {name: SCOPE.columns[name] for name in rule.columns}
        schema |= {measure.name: measure.dtype for measure in rule.measures}
        if pl.DataFrame({name: [value] for name, value in values.items()}, schema).select(rule.expr()).item():
            return definition.name
    message = f"no stage for {history}"
    raise AssertionError(message)


@pytest.mark.parametrize(
    ("history", "stage"),
    [
        ({"ouverture": [1], "envoi": [29]}, "new_subscriber"),
        ({"ouverture": [1], "envoi": [30]}, "active_subscriber"),  # 30 days old: no longer new
        ({"ouverture": [6], "envoi": [40]}, "active_subscriber"),
        ({"ouverture": [7], "envoi": [40]}, "recently_inactive_subscriber"),
        ({"achat": [29], "envoi": [40]}, "recently_inactive_subscriber"),
        ({"achat": [30], "envoi": [40]}, "inactive_subscriber"),
        ({"envoi": [1, 40]}, "inactive_subscriber"),  # never an interaction
        ({"login": [1], "envoi": [40]}, "inactive_subscriber"),  # a type without a role is no interaction
        ({"page": [3], "envoi": [364]}, "active_subscriber"),
        ({"page": [3], "envoi": [365]}, "mature_subscriber"),
        ({"page": [29], "envoi": [365]}, "mature_subscriber"),
        ({"page": [30], "envoi": [365]}, "inactive_subscriber"),
        ({"ouverture": [31, 32], "l'appel": [31, 60], "page": [2, 3]}, "at_risk_subscriber"),
        ({"ouverture": [31, 32], "l'appel": [31, 60], "page": [2, 3, 4]}, "active_subscriber"),  # 3 of 4
        ({"ouverture": [31, 32], "l'appel": [31, 61], "page": [2]}, "active_subscriber"),  # 3 are no habit
        ({"ouverture": [1], "envoi": [1, 40], "désabonnement": [1]}, "unsubscribed"),
        ({"ouverture": [1], "envoi": [1, 40], "désabonnement": [2]}, "active_subscriber"),  # a message since
        ({"ouverture": [50], "désabonnement": [40]}, "unsubscribed"),
    ],
)
def test_subscribers(history: History, stage: str) -> None:
    assert stage_of(stages("subscriber"), history) == stage


@pytest.mark.parametrize(
    ("history", "stage"),
    [
        ({"login": [1, 1]}, "activity_new"),
        ({"login": [1], "envoi": [1, 2, 300]}, "activity_new"),  # messages sent are no actions
        ({"login": [1], "page": [8]}, "activity_current"),
        ({"login": [1, 9]}, "activity_reactivated"),
        ({"login": [1, 31]}, "activity_reactivated"),
        ({"login": [1, 32, 33]}, "activity_resurrected"),
        ({"login": [2]}, "activity_at_risk_weekly"),
        ({"login": [8, 500]}, "activity_at_risk_weekly"),
        ({"login": [9]}, "activity_at_risk_monthly"),
        ({"login": [31]}, "activity_at_risk_monthly"),
        ({"login": [32]}, "activity_dormant"),
        ({"envoi": [1]}, "activity_dormant"),
    ],
)
def test_daily_states(history: History, stage: str) -> None:
    assert stage_of(stages("activity"), history) == stage


@pytest.mark.parametrize(
    ("history", "stage"),
    [
        ({"page": [1]}, "never_bought"),
        ({"achat": [181]}, "occasional_buyer"),
        ({"achat": [182]}, "inactive_buyer"),
        ({"achat": [1, 90, 182]}, "regular_buyer"),
        ({"achat": [1, 90, 183]}, "occasional_buyer"),
        ({"achat": [1, 1, 90]}, "occasional_buyer"),  # lines of one day are one purchase
    ],
)
def test_buyers(history: History, stage: str) -> None:
    assert stage_of(stages("buyer"), history) == stage


@pytest.mark.parametrize(
    ("history", "stage"),
    [
        ({"achat": [500]}, "customer"),
        ({"ouverture": [30], "l'appel": [2], "page": [2]}, "hot_prospect"),
        ({"ouverture": [31], "l'appel": [2], "page": [2]}, "cold_prospect"),
        ({"envoi": [1, 2, 3]}, "cold_prospect"),
    ],
)
def test_prospects(history: History, stage: str) -> None:
    assert stage_of(stages("prospect"), history) == stage


@pytest.mark.parametrize(
    ("history", "stage"),
    [
        ({"achat": [500, 501]}, "loyalty"),
        ({"achat": [500, 500]}, "decision"),
        ({"panier": [29]}, "decision"),
        ({"panier": [30]}, "consideration"),
        ({"page": [89]}, "consideration"),
        ({"page": [90], "ouverture": [1]}, "awareness"),
    ],
)
def test_the_funnel(history: History, stage: str) -> None:
    assert stage_of(stages("funnel"), history) == stage


@pytest.mark.parametrize(
    ("preset", "cutoffs", "history", "stage"),
    [
        ("subscriber", {"active_days": 14}, {"page": [13], "envoi": [40]}, "active_subscriber"),
        ("subscriber", {"active_days": 30}, {"page": [29], "envoi": [40]}, "active_subscriber"),
        ("subscriber", {"new_days": 8}, {"page": [8]}, "recently_inactive_subscriber"),
        ("subscriber", {"mature_days": 40}, {"page": [8], "envoi": [40]}, "mature_subscriber"),
        ("subscriber", {"inactive_days": 90}, {"page": [89]}, "recently_inactive_subscriber"),
        (
            "subscriber",
            {"at_risk_days": 7, "at_risk_interactions": 10, "at_risk_share": 0.1, "new_days": 1},
            {"page": [1, *[8] * 10]},
            "at_risk_subscriber",
        ),
        ("activity", {"week_days": 1, "month_days": 2}, {"page": [1, 4]}, "activity_resurrected"),
        ("buyer", {"inactive_days": 10, "regular_purchases": 1}, {"achat": [9]}, "regular_buyer"),
        ("buyer", {"regular_days": 9}, {"achat": [1, 2, 10]}, "occasional_buyer"),
        ("prospect", {"hot_days": 7, "hot_interactions": 1}, {"page": [7]}, "hot_prospect"),
        ("funnel", {"loyal_purchases": 3}, {"achat": [1, 2]}, "decision"),
        ("funnel", {"decision_days": 2, "consideration_days": 2}, {"panier": [2]}, "awareness"),
    ],
)
def test_cutoffs_can_be_changed(preset: str, cutoffs: dict[str, float], history: History, stage: str) -> None:
    assert stage_of(stages(preset, cutoffs), history) == stage
    assert stage_of(stages(preset), history) != stage


ages = st.lists(st.sampled_from([1, 2, 6, 7, 8, 9, 29, 30, 31, 32, 59, 60, 61, 181, 182, 364, 365, 400]), max_size=4)
histories = st.dictionaries(st.sampled_from(TYPES), ages, min_size=1).filter(lambda history: any(history.values()))


@given(history=histories)
@settings(max_examples=60, deadline=None)
def test_every_user_is_in_the_stage_that_a_plain_reading_gives(history: History) -> None:
    ages = {kind: history.get(kind, []) for kind in TYPES}
    bought = len(set(ages["achat"]))
    expected = {
        "subscriber": subscriber(ages),
        "activity": activity({age for kind in (*INTERACTIONS, "login") for age in ages[kind]}),
        "buyer": "never_bought"
        if not bought
        else "inactive_buyer"
        if min(ages["achat"]) >= 182
        else "regular_buyer"
        if len({age for age in ages["achat"] if age <= 182}) >= 3
        else "occasional_buyer",
        "prospect": "customer"
        if bought
        else "hot_prospect"
        if sum(age <= 30 for kind in INTERACTIONS for age in ages[kind]) >= 3
        else "cold_prospect",
        "funnel": "loyalty"
        if bought >= 2
        else "decision"
        if bought or any(age < 30 for age in ages["panier"])
        else "consideration"
        if any(age < 90 for kind in ("l'appel", "page", "panier") for age in ages[kind])
        else "awareness",
    }
    assert {preset: stage_of(stages(preset), history) for preset in expected} == expected


def subscriber(ages: History) -> str:
    acts = [age for kind in INTERACTIONS for age in ages[kind]]
    last = min(acts, default=10**6)
    tenure = max(age for each in ages.values() for age in each)
    before, recent = sum(30 < age <= 60 for age in acts), sum(age <= 30 for age in acts)
    if ages["désabonnement"] and min(ages["envoi"], default=10**6) >= min(ages["désabonnement"]):
        return "unsubscribed"
    if tenure < 30:
        return "new_subscriber"
    if last >= 30:
        return "inactive_subscriber"
    if before >= 4 and recent * 2 <= before:
        return "at_risk_subscriber"
    if tenure >= 365:
        return "mature_subscriber"
    return "active_subscriber" if last < 7 else "recently_inactive_subscriber"


def activity(days: set[int]) -> str:
    if not days:
        return "activity_dormant"
    first, *rest = sorted(days)
    if first == 1:
        if not rest:
            return "activity_new"
        pause = rest[0] - 1
        kinds = ("activity_current", "activity_reactivated", "activity_resurrected")
        return kinds[(pause > 7) + (pause > 30)]
    kinds = ("activity_at_risk_weekly", "activity_at_risk_monthly", "activity_dormant")
    return kinds[(first - 1 > 7) + (first - 1 > 30)]


@pytest.mark.parametrize("preset", CUTOFFS)
def test_definitions_are_one_group_of_segments(preset: str) -> None:
    made = stages(preset)
    assert {(stage.kind, stage.group, stage.priority, stage.campaigns) for stage in made} == {
        ("lifecycle", preset, 0, ("c",))
    }
    assert len({stage.name for stage in made}) == len(made)


def test_without_optional_roles_their_stages_and_events_are_left_out() -> None:
    assert stages("subscriber", open="o")[0].name == "new_subscriber"
    wheres = {stage.name: stage.where for stage in stages("funnel", purchase="p", click="c")}
    assert wheres["decision"] == "event_count('p') >= 1"
    assert wheres["consideration"] == "days_since('c') < 90"
    again = stages("subscriber", open="o", unsubscribe="u")[0]
    assert again.where == "days_since('u') IS NOT NULL"


def test_one_event_type_with_two_roles_counts_once() -> None:
    wheres = {stage.name: stage.where for stage in stages("prospect", purchase="p", comment="social", share="social")}
    assert wheres["hot_prospect"] == "event_count('social', 30) >= 3"


@pytest.mark.parametrize(
    ("preset", "cutoffs", "roles", "problems"),
    [
        ("subscriber", {"activ_days": 3}, ROLES, ["cutoffs.activ_days: unknown (did you mean 'active_days'"]),
        ("buyer", {"x": 3}, ROLES, ["cutoffs.x: unknown (known: inactive_days, regular_days, regular_purchases)"]),
        ("subscriber", {"active_days": 1.5}, ROLES, ["cutoffs.active_days: expected a whole number of at least 1"]),
        (
            "subscriber",
            {"at_risk_share": 1.5},
            ROLES,
            ["cutoffs.at_risk_share: expected a share above 0 and at most 1"],
        ),
        ("subscriber", {"active_days": 31}, ROLES, ["cutoffs.inactive_days (30) must not be below active_days (31)"]),
        ("activity", {"month_days": 6}, ROLES, ["cutoffs.month_days (6) must not be below week_days (7)"]),
        ("subscriber", {}, {"send": "s"}, ["none of events.open, events.click names an event type"]),
        (
            "funnel",
            {"loyal_purchases": 0},
            {"open": "o"},
            [
                "cutoffs.loyal_purchases: expected a whole number of at least 1, got 0",
                "events.purchase names no event type",
                "none of events.click, events.reply, events.page_view,",
            ],
        ),
    ],
)
def test_what_cannot_be_used_is_told_at_once(
    preset: str, cutoffs: dict[str, float], roles: dict[str, str], problems: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        stages(preset, cutoffs, **roles)
    assert caught.value.code == "lifecycle-preset"
    assert repr(preset) in caught.value.message
    lines = caught.value.message.splitlines()[1:]
    assert len(lines) == len(problems)
    assert all(problem in line for problem, line in zip(problems, lines, strict=True))
