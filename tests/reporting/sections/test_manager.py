from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.reporting.facts import Facts, read_facts
from engine.reporting.sections import MANAGER, SECTIONS
from tests.reporting.samples import DATES, made, side, told

DAY = date(2026, 3, 1)
MANY = {f"s{place:03d}": (10 + place, float(place)) for place in range(200)}


@pytest.mark.parametrize("day", DATES)
@pytest.mark.parametrize("min_cell", [1, 10, 1000])
def test_all_is_said_in_every_language(published: Path, day: date, min_cell: int) -> None:
    facts = read_facts(published, day, min_cell=min_cell)
    for make in MANAGER:
        section = make(facts)
        assert section.audience == "manager"
        for language in ("en", "fr"):
            assert all(told(section, facts, language))
        assert section.sentences or section.missing


@pytest.mark.parametrize("day", DATES)
def test_no_number_of_few_people_is_shown(published: Path, day: date) -> None:
    facts = read_facts(published, day, min_cell=25)
    for make in MANAGER:
        for figure in make(facts).figures:
            columns = {figure.users, "users", "users_before", "people", "buyers"} & set(figure.table.columns)
            for column in sorted(str(name) for name in columns):
                assert not figure.table[column].is_between(1, 24).any(), (figure.key, column)


def test_figures_hold_together(facts: Facts) -> None:
    keys = [figure.key for make in SECTIONS for figure in make(facts).figures]
    assert len(keys) == len(set(keys))
    sections = [make(facts).key for make in SECTIONS]
    assert len(sections) == len(set(sections))
    for make in MANAGER:
        for figure in make(facts).figures:
            shown = {field.column for field in figure.fields}
            needed = {figure.x, figure.y, figure.colour, figure.low, figure.high} - {"", None}
            assert needed <= shown <= set(figure.table.columns), figure.key
            assert not {"user_id", "user_key"} & set(figure.table.columns)


@pytest.mark.parametrize(
    "facts",
    [
        made(side(DAY, 1, {"only": (1, 3.0)})),
        made(side(DAY, 500, {"only": (500, 3.0)}), side(DATES[0], 400, {"only": (400, 2.0)})),
        made(side(DAY, sum(users for users, _ in MANY.values()), MANY)),
        made(side(DAY, 50, {"a": (50, None)}, segment_kpis=pl.DataFrame(), segment_definitions=pl.DataFrame())),
    ],
    ids=["one user", "one segment", "200 segments", "empty tables"],
)
def test_odd_outputs_are_told_too(facts: Facts) -> None:
    if facts.now.kpis is not None and facts.now.kpis.is_empty():
        facts = made(type(facts.now)(facts.now.manifest, {}))
    for make in MANAGER:
        section = make(facts)
        assert told(section, facts)
        assert all(figure.table.height <= 200 for figure in section.figures)
