from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from engine.reporting.facts import Facts
from engine.reporting.sections import ENGINEER, SCIENTIST, MakeSection
from tests.reporting.learnt_facts import check, facts_of, side
from tests.reporting.samples import DATES


@pytest.mark.parametrize("make", [*SCIENTIST, *ENGINEER], ids=lambda make: make.__module__.rpartition(".")[2])
def test_a_published_date_has_every_section(make: MakeSection, facts: Facts) -> None:
    made = make(facts)
    check(facts, made)
    assert made.audience == ("scientist" if make in SCIENTIST else "engineer")


@pytest.mark.parametrize("make", [*SCIENTIST, *ENGINEER], ids=lambda make: make.__module__.rpartition(".")[2])
def test_a_date_of_which_little_is_known_has_every_section(make: MakeSection) -> None:
    facts = facts_of(side(counts={}, bundle=None, fingerprints={}, published={}))
    made = make(facts)
    check(facts, made)
    assert made.missing is not None


def test_keys_are_unique(facts: Facts) -> None:
    sections = [make(facts) for make in (*SCIENTIST, *ENGINEER)]
    keys = [figure.key for section in sections for figure in section.figures]
    assert len(keys) == len(set(keys))
    assert {key for key in keys if not key.replace("_", "").isalnum()} == set()


def test_rows_of_all_dates_add_up(facts: Facts, published: Path) -> None:
    sums = facts.rows.group_by("as_of").agg(pl.col("rows").sum(), pl.col("read").first()).sort("as_of")
    assert sums["as_of"].to_list() == list(DATES)
    assert sums["rows"].to_list() == sums["read"].to_list()
