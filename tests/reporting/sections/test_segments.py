from __future__ import annotations

from datetime import date

from engine.reporting.facts import Facts
from engine.reporting.sections.parts import MOST_ROWS
from engine.reporting.sections.segments import section
from tests.reporting.samples import made, moved, side, told

THEN, NOW = date(2026, 2, 1), date(2026, 3, 1)


def test_size_and_value() -> None:
    facts = made(side(NOW, 400, {"a": (100, 25.0), "b": (300, 5.0)}))
    said = told(section(facts), facts)
    assert "b is the largest segment: 300 people, 75.0% of all." in said
    assert "a earns most per head: €25.00 for each of 100 people, 2.50\u202f× the mean of €10.00." in said
    assert "a has 25.0% of the people and 62.5% of the spend." in said


def test_a_small_segment_takes_the_next_one_with_it() -> None:
    facts = made(side(NOW, 145, {"a": (100, 2.0), "b": (40, 90.0), "c": (5, 99.0)}))
    size = section(facts).figures[0]
    assert size.table["users"].to_list() == [100, None, None]
    assert size.table["mean_value"].to_list() == [2.0, None, None]
    assert facts.best == "a"


def test_many_segments_are_added_up() -> None:
    sizes = {f"s{place:02d}": (20 + place, 1.0) for place in range(60)}
    facts = made(side(NOW, sum(users for users, _ in sizes.values()), sizes))
    table = section(facts).figures[0].table
    assert table.height == MOST_ROWS
    assert table["segment"][-1] == "(others)"
    assert table["users"].sum() == facts.now.users


def test_entries_and_exits() -> None:
    counts = moved(THEN, {"a": 30, "b": 12}, {"a": 20, "b": 12})
    facts = made(side(NOW, 400, {"a": (100, 25.0), "b": (300, 5.0)}, counts=counts))
    figure = next(figure for figure in section(facts).figures if figure.key == "segments_moves")
    assert figure.table.rows() == [("b", "entries", 12), ("b", "exits", 12), ("a", "entries", 30), ("a", "exits", 20)]


def test_trends_need_three_dates(facts: Facts) -> None:
    history = section(facts).figures[-1]
    assert history.key == "segments_history"
    assert history.table["as_of"].unique().len() == 3


def test_nothing_of_spend() -> None:
    facts = made(side(NOW, 400, {"a": (100, None), "b": (300, None)}))
    assert "Nothing is known of spend" in " ".join(told(section(facts), facts))
