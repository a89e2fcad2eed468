from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.ledger.flows import FLOW_SCHEMA
from engine.reporting.facts import Facts
from engine.reporting.sections.flows import section
from engine.reporting.sections.movement import Cause, masked_causes, movement
from tests.reporting.samples import made, moved, side, told

THEN, NOW = date(2026, 2, 1), date(2026, 3, 1)
FLOWS = [
    ("primary", "a", "b", "r_score_fell", "r_score fell", 92, 4),
    ("primary", "a", "c", "clause_false", "orders > 3", 50, 0),
    ("primary", "a", "c", "other_segment", "another segment is tried first", 24, 0),
    ("primary", "b", "a", "r_score_rose", "r_score rose", 40, 0),
    ("primary", None, "b", "new_user", "new user", 30, 0),
    ("primary", "c", None, "user_gone", "user is gone", 2, 0),
    (None, None, "tag", "new_user", "new user", 30, 0),
]


def facts_of(flows: list[tuple[object, ...]]) -> Facts:
    table = pl.DataFrame(flows, FLOW_SCHEMA, orient="row")
    own = table.filter(pl.col("group") == "primary")
    exits, entries = (
        dict(own.group_by(end).agg(pl.col("users").sum()).drop_nulls().rows()) for end in ("from_segment", "to_segment")
    )
    were = {"a": 300, "b": 200, "c": 100}
    now = {name: users + entries.get(name, 0) - exits.get(name, 0) for name, users in were.items()}
    before = side(THEN, 600, {name: (users, 5.0) for name, users in were.items()})
    worth = {"a": 9.0, "b": 5.0, "c": 1.0}
    sizes = {name: (users, worth[name]) for name, users in now.items()}
    counts = moved(THEN, {**dict.fromkeys(were, 0), **entries}, {**dict.fromkeys(were, 0), **exits})
    return made(side(NOW, sum(now.values()), sizes, counts=counts, segment_flows=table), before)


def test_who_left_the_best_segment_and_why() -> None:
    facts = facts_of(FLOWS)
    assert facts.best == "a"
    said = told(section(facts), facts)
    assert (
        "166 of 300 have left a (55.3%). Why: 92 (55.4%) because their recency score fell"
        " and 50 (30.1%) because “orders > 3” no longer holds for them. They went: 92 to b and 74 to c." in said
    )
    assert "92 of 166 left a because their recency score fell" in said
    assert "92 people went from a to b." in said
    assert "Pourquoi\u00a0: 92 (55,4\u202f%) parce que leur score de récence a baissé" in " ".join(
        told(section(facts), facts, "fr")
    )


def test_the_matrix_adds_up_and_hides_what_is_small() -> None:
    found = movement(facts_of(FLOWS))
    assert found is not None
    assert found.cells["a", "a"] == 134
    assert found.cells["(new)", "b"] == 30
    assert found.cells["c", "(gone)"] is None
    # Two people left c: with the sizes, those who stayed would tell.
    assert found.cells["c", "c"] is None
    assert (found.exits["a"], found.exits["c"]) == (166, None)
    assert found.entries["c"] is None
    assert "c" not in {name for name, causes in found.causes.items() if causes}
    assert found.were == {"a": 300, "b": 200, "c": 100}


def test_shares_are_of_the_segment_before() -> None:
    matrix = next(figure for figure in section(facts_of(FLOWS)).figures if figure.key == "flows_matrix")
    row = matrix.table.filter((pl.col("from_segment") == "a") & (pl.col("to_segment") == "b")).row(0, named=True)
    assert row == {"from_segment": "a", "to_segment": "b", "people": 92, "share": 92 / 300}


@pytest.mark.parametrize(
    ("counted", "causes"),
    [
        ([("x", 90), ("y", 20)], [Cause("x", 90), Cause("y", 20)]),
        ([("x", 90), ("y", 6), ("z", 5)], [Cause("x", 90), Cause("(others)", 11)]),
        ([("x", 90), ("y", 3)], [Cause("x", 84, exact=False)]),
        ([("x", 90), ("y", 12), ("z", 3)], [Cause("x", 90), Cause("(others)", 15)]),
        ([("x", 5), ("y", 3)], []),
        ([], []),
        (
            [(f"c{place}", 20) for place in range(10)],
            [*(Cause(f"c{place}", 20) for place in range(8)), Cause("(others)", 40)],
        ),
    ],
)
def test_causes_of_few_people_are_together(counted: list[tuple[str, int]], causes: list[Cause]) -> None:
    assert masked_causes(counted, 10) == causes


def test_moves_that_are_not_known() -> None:
    facts = facts_of(FLOWS)
    old = made(side(NOW, 600, {"a": (600, 1.0)}, counts=moved(THEN, {"a": 0}, {"a": 0})), facts.before)
    assert "Moves since 1 February 2026 were not counted" in told(section(old), old)[1]
    first = made(side(NOW, 600, {"a": (600, 1.0)}))
    assert told(section(first), first)[1:] == ["This is the first date: nobody can have moved."]
    other = made(facts.now, side(date(2026, 1, 1), 600, {"a": (600, 1.0)}))
    assert any("they are not counted since 1 January 2026" in text for text in told(section(other), other))
    still = facts_of([])
    assert "No move between two segments is of 10 people or more" in told(section(still), still)
