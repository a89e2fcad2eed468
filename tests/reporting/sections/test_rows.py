from __future__ import annotations

from typing import Any

import pytest

from engine.reporting.sections.rows import section
from engine.reporting.words import Voice
from tests.reporting.learnt_facts import ROWS, check, facts_of, figure, side, told


def counted(**changes: Any) -> dict[str, Any]:
    return {"rows": ROWS, "users": 50, **changes}


def test_rows_add_up_in_one_sentence() -> None:
    facts = facts_of(side(counts=counted()))
    made = section(facts)
    check(facts, made)
    assert made.alarms == ()
    assert Voice("en", names=facts.names("en")).put(made.sentences[0]) == (
        "100 rows read = 60 kept as events, 20 summed lines of orders, 5 duplicates, 5 at or after the date, "
        "8 rejected and 2 left out by a condition. The numbers add up."
    )
    table = figure(made, "rows_outcomes").table
    assert table["rows"].sum() == 100
    assert table["share"].sum() == pytest.approx(1.0)


def test_rows_that_are_lost_are_an_alarm() -> None:
    facts = facts_of(side(counts=counted(rows={**ROWS, "kept": 57})))
    made = section(facts)
    check(facts, made)
    assert "100 read, 97 accounted for, 3 missing" in Voice("en").put(made.alarms[0])
    assert "add up." not in Voice("en").put(made.sentences[0])


def test_outcomes_of_another_version_are_shown() -> None:
    facts = facts_of(side(counts=counted(rows={**ROWS, "kept": 50, "too_odd": 10})))
    made = section(facts)
    assert made.alarms == ()
    assert figure(made, "rows_outcomes").table["outcome"].to_list()[-1] == "too_odd"


def test_sources_and_types_are_listed_by_their_rows() -> None:
    facts = facts_of(
        side(counts=counted(sources={"mail": 30, "shop": 70}, event_types={"a": 1, "b": 2}, contacts={"read": 5}))
    )
    made = section(facts)
    check(facts, made)
    assert figure(made, "rows_sources").table.select("source", "rows").rows() == [("shop", 70), ("mail", 30)]
    assert "70.0% of the rows are of shop" in told(facts, made)


def test_files_and_types_that_are_missing_are_alarms() -> None:
    facts = facts_of(side(counts=counted(quarantined=[{"file": "a"}], missing_types=["buy", "view"])))
    made = section(facts)
    check(facts, made)
    assert [Voice("en").put(alarm) for alarm in made.alarms] == [
        "1 file of the log could not be read and was left out.",
        "The log has no event of a type that the models know: buy and view. Features over it are 0 or missing.",
    ]


@pytest.mark.parametrize("rows", [None, {}, [], {"kept": 3}])
def test_a_manifest_without_rows_is_told(rows: Any) -> None:
    made = section(facts_of(side(counts={"rows": rows})))
    assert made.missing is not None
    assert made.figures == ()


def test_no_rows_at_all_are_no_division_by_zero() -> None:
    facts = facts_of(side(counts={"rows": {"read": 0, "kept": 0}, "users": 0}))
    check(facts, section(facts))
