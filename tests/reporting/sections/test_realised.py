from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from engine.reporting.facts import Facts
from engine.reporting.sections.realised import MOST_DATES, section
from engine.reporting.words import Voice
from engine.validation_table import SCHEMA
from tests.bundles import DAY, HORIZON
from tests.reporting.learnt_facts import check, facts_of, figure, learnt, side, told


def row(day: date = DAY, **changes: Any) -> dict[str, Any]:
    known = {
        "as_of": day,
        "rows": 1000,
        "positives": 100,
        "base_rate": 0.1,
        "predicted_rate": 0.11,
        "auc": 0.8,
        "auc_low": 0.75,
        "auc_high": 0.85,
        "auc_at_training": 0.82,
        "lift": 3.0,
    }
    return {**dict.fromkeys(SCHEMA), **known, **changes}


def validated(*rows: dict[str, Any], **more: Any) -> Facts:
    return learnt(validation={"buys": pl.DataFrame(list(rows), SCHEMA)}, **more)


@pytest.mark.parametrize(
    ("changes", "says", "alarms"),
    [
        ({}, "is still right", 0),
        ({"auc_high": 0.81}, "is not what it was", 1),
        ({"predicted_rate": 0.3}, "is still right", 1),
        ({"predicted_rate": 0.04}, "is still right", 1),
        ({"auc_at_training": None}, "are not known", 0),
        ({"auc": None, "auc_low": None, "auc_high": None}, "needs both outcomes", 0),
    ],
)
def test_the_last_date_decides(changes: dict[str, Any], says: str, alarms: int) -> None:
    facts = validated(row(DAY - timedelta(days=7), auc_high=0.5), row(**changes))
    made = section(facts)
    check(facts, made)
    assert says in Voice("en").put(made.sentences[0])
    assert len(made.alarms) == alarms


def test_figures_have_the_last_dates_in_order() -> None:
    days = [DAY + timedelta(days=step) for step in range(MOST_DATES + 3)]
    made = section(validated(*(row(day) for day in reversed(days))))
    assert figure(made, "realised_auc_buys").table["as_of"].to_list() == days[-MOST_DATES:]
    rates = figure(made, "realised_rates_buys").table
    assert rates["line"].to_list() == ["predicted", "realised"] * MOST_DATES


def test_dates_of_a_few_people_are_not_shown() -> None:
    facts = validated(row(rows=9))
    made = section(facts)
    assert made.figures == ()
    assert made.missing is not None


@pytest.mark.parametrize(
    ("later", "says"),
    [
        (HORIZON, f"has come: tamis validate --as-of {DAY}"),
        (HORIZON - 1, "the outcome of the first ones is not known yet"),
    ],
)
def test_without_validations_the_command_is_named(later: int, says: str) -> None:
    day = DAY + timedelta(days=later)
    facts = learnt(now=side(day), dates=(DAY, day))
    made = section(facts)
    check(facts, made)
    assert says in told(facts, made)


def test_a_target_without_validation_is_named() -> None:
    facts = learnt("again", "buys", validation={"buys": pl.DataFrame([row()], SCHEMA)})
    assert "again: no date was validated yet." in told(facts, section(facts))


def test_tables_of_another_version_are_nothing() -> None:
    facts = learnt(validation={"buys": pl.DataFrame({"as_of": [DAY]})})
    assert section(facts).missing is not None
    assert section(facts_of()).missing is not None
