from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl

from engine.reporting.facts import Facts
from engine.reporting.facts_files import ROWS as SCHEMA
from engine.reporting.sections.rejects import section
from engine.reporting.words import Voice
from tests.bundles import DAY
from tests.reporting.learnt_facts import ROWS, check, facts_of, figure, side, told


def over(*rejected: int, **counts: Any) -> Facts:
    rows = [
        (DAY + timedelta(days=step), name, count, 100)
        for step, number in enumerate(rejected)
        for name, count in (("duplicate", 0), ("kept", 100 - number), ("rejected", number))
    ]
    known = {"rows": {**ROWS, "rejected": rejected[-1] if rejected else 0}, **counts}
    return facts_of(side(counts=known), rows=pl.DataFrame(rows, SCHEMA, orient="row"))


def test_rules_are_listed_by_their_rows() -> None:
    facts = over(8, rejected={"shop": {"user_id_missing": 2, "amount_negative": 5}, "mail": {"time_missing": 1}})
    made = section(facts)
    check(facts, made)
    table = figure(made, "rejects_rules").table
    assert table.select("source", "rule", "rows").rows() == [
        ("shop", "amount_negative", 5),
        ("shop", "user_id_missing", 2),
        ("mail", "time_missing", 1),
    ]
    assert "amount_negative in shop rejects the most: 5 rows, 62.5%" in told(facts, made)


def test_a_rise_of_rejected_rows_is_an_alarm() -> None:
    facts = over(1, 0, 5)
    made = section(facts)
    check(facts, made)
    assert "rose from 0.0% on 2 March 2026 to 5.0%" in Voice("en").put(made.alarms[0])
    table = figure(made, "rejects_over_time").table
    assert table["outcome"].unique().to_list() == ["rejected"]
    assert table["rows"].to_list() == [1, 0, 5]


def test_a_fall_is_none() -> None:
    assert section(over(5, 1)).alarms == ()


def test_clean_dates_need_no_figure() -> None:
    facts = over(0, 0, 0)
    made = section(facts)
    check(facts, made)
    assert made.figures == ()
    assert "on all 3 dates" in told(facts, made)


def test_one_date_has_nothing_to_compare() -> None:
    made = section(over(1))
    assert made.missing is not None
    assert made.alarms == ()


def test_a_manifest_without_rows_is_told() -> None:
    assert section(facts_of(side(date(2026, 1, 1), counts={}))).missing is not None
