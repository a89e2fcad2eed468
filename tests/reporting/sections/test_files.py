from __future__ import annotations

from datetime import timedelta

from engine.reporting.sections.files import section
from tests.bundles import DAY
from tests.reporting.learnt_facts import check, facts_of, figure, side, told


def test_tables_are_listed_by_size_with_that_of_the_date_before() -> None:
    before = side(DAY - timedelta(days=7), published={"segments": 20})
    facts = facts_of(side(published={"drift": 3, "segments": 40}), before=before)
    made = section(facts)
    check(facts, made)
    table = figure(made, "files_tables").table
    assert table.select("table", "bytes", "rows", "files", "bytes_before").rows() == [
        ("segments", 400, 40, 2, 200),
        ("drift", 30, 3, 2, None),
    ]
    assert "2 tables in 4 files: 430 B." in told(facts, made)
    assert "+115.0%" in told(facts, made)


def test_a_first_date_has_no_growth() -> None:
    facts = facts_of()
    check(facts, section(facts))
    assert len(section(facts).sentences) == 1


def test_no_tables_are_told() -> None:
    assert section(facts_of(side(published={}))).missing is not None
