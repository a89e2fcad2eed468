from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from engine.propensity.psi import PSI_SCHEMA
from engine.reporting.facts import Facts
from engine.reporting.sections.model_drift import section
from engine.reporting.words import Voice
from tests.bundles import DAY
from tests.reporting.learnt_facts import check, facts_of, figure, learnt, side, told


def row(column: str, psi: float | None, **changes: Any) -> dict[str, Any]:
    known = {"kind": "numeric", "chance": 0.02, "null_share_then": 0.0, "null_share_now": 0.0, "rows": 500}
    return {**dict.fromkeys(PSI_SCHEMA), "column": column, "psi": psi, **known, **changes}


def drifted(*rows: dict[str, Any], days: int = 7) -> Facts:
    return learnt(now=side(DAY + timedelta(days=days), tables={"drift": pl.DataFrame(list(rows), PSI_SCHEMA)}))


def test_what_moved_the_most_comes_first_and_is_marked() -> None:
    facts = drifted(row("tenure_days", 0.05), row("age", 0.3), row("region", 0.15), row("propensity_buys", None))
    made = section(facts)
    check(facts, made)
    psi = figure(made, "drift_psi")
    assert psi.table["column"].to_list() == ["age", "region", "tenure_days", "propensity_buys"]
    assert psi.marked == ("age", "region")
    assert "2 of 4 features and scores have moved" in told(facts, made)
    assert "1 feature is distributed otherwise" in Voice("en").put(made.alarms[0])


@pytest.mark.parametrize(
    ("changes", "alarms"),
    [
        ({"psi": 0.5}, 1),
        ({"psi": 0.5, "kind": "score"}, 1),
        ({"psi": 0.5, "chance": 0.6}, 0),
        ({"psi": 0.2}, 0),
        ({"unseen": 5, "unseen_share": 0.03, "unseen_share_then": 0.0}, 1),
        ({"unseen": 5, "unseen_share": 0.03, "unseen_share_then": 0.025}, 0),
    ],
)
def test_chance_is_no_alarm(changes: dict[str, Any], alarms: int) -> None:
    facts = drifted(row("age", 0.01), row("tenure_days", **{"psi": 0.0, **changes}))
    check(facts, section(facts))
    assert len(section(facts).alarms) == alarms


def test_missing_values_are_a_figure_of_their_own() -> None:
    facts = drifted(row("age", 0.01, null_share_now=0.3), row("region", 0.0, null_share_now=0.05))
    made = section(facts)
    check(facts, made)
    assert figure(made, "drift_nulls").table.rows() == [("age", "fit", 0.0), ("age", "run", 0.3)]


def test_the_day_of_the_fit_has_no_drift() -> None:
    facts = drifted(row("age", 0.0), days=0)
    made = section(facts)
    check(facts, made)
    assert made.figures == ()
    assert "of this very day" in told(facts, made)


def test_without_a_table_the_section_says_so() -> None:
    made = section(learnt())
    assert made.missing is not None
    assert made.figures == ()
    assert section(facts_of(side(tables={"drift": pl.DataFrame({"column": ["a"]})}))).missing is not None
