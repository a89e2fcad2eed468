from __future__ import annotations

from datetime import date

import polars as pl

from engine.reporting.facts import DateFacts
from engine.reporting.sections.campaigns import MOST_SEGMENTS, section
from tests.reporting.samples import made, side, told

NOW = date(2026, 3, 1)


def addressed(one: DateFacts, campaigns: dict[str, list[str]]) -> DateFacts:
    frame = one.tables["segment_definitions"]
    lists = pl.Series([campaigns.get(name, []) for name in frame["segment"]], dtype=pl.List(pl.String))
    return DateFacts(one.manifest, {**one.tables, "segment_definitions": frame.with_columns(campaigns=lists)})


def test_campaigns_with_too_many_segments_are_pointed_out() -> None:
    sizes = {f"s{place:02d}": (20, 1.0) for place in range(MOST_SEGMENTS + 1)}
    campaigns = {name: ["spring", *(["<i>few</i>"] if name < "s03" else [])] for name in sizes}
    facts = made(addressed(side(NOW, 20 * len(sizes), sizes), campaigns))
    found = section(facts)
    assert found.figures[0].table.rows() == [("spring", 11), ("<i>few</i>", 3)]
    assert found.figures[0].marked == ("spring",)
    assert len(found.alarms) == 1
    assert "The campaign spring addresses 11 segments; more than 10 are hard to keep apart." in told(found, facts)


def test_messages_per_person() -> None:
    figures = {"(all users)": {"sent": 700}, "a": {"sent": 400}, "b": {"sent": 300}}
    facts = made(side(NOW, 400, {"a": (100, 1.0), "b": (300, 1.0)}, figures=figures))
    said = told(section(facts), facts)
    assert "a gets the most messages: 4 per person in the last 30 days, where all users get 1.75." in said
    assert "No segment names its campaigns" in " ".join(said)


def test_nothing_of_campaigns() -> None:
    facts = made(side(NOW, 400, {"a": (100, 1.0), "b": (300, 1.0)}))
    assert "Nothing is known of campaigns" in told(section(facts), facts)[1]
