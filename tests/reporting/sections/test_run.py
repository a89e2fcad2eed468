from __future__ import annotations

from datetime import timedelta
from typing import Any

from engine.reporting.sections.run import section
from engine.reporting.words import Voice
from tests.bundles import DAY
from tests.reporting.learnt_facts import check, facts_of, figure, learnt, side, told

RECORD: dict[str, Any] = {
    "attempt": "20260301T043000Z-0a1b2c",
    "result": "done",
    "command": "run",
    "executor": "ray",
    "host": "secret-host",
    "config": "/home/somebody/tamis.toml",
    "overrides": {"targets.buys.horizon_days": 7},
    "run_ids": [side().manifest.run_id],
    "versions": {"tamis": "1.2.3", "polars-hash": "0.9"},
}


def test_the_record_gives_versions_and_names_no_person() -> None:
    facts = learnt(records=(RECORD,))
    made = section(facts)
    check(facts, made)
    table = dict(figure(made, "run_facts").table.rows())
    assert table["config_file"] == "tamis.toml"
    assert table["overrides"] == "targets.buys.horizon_days"
    assert table["version_tamis"] == "1.2.3"
    assert table["version_polars_hash"] == "0.9"
    assert table["config"] == "c" * 64
    assert "somebody" not in str(table)
    assert "secret-host" not in str(table)
    assert made.missing is None


def test_without_a_record_versions_are_those_of_the_bundle() -> None:
    facts = learnt(documents={"bundle.json": {"versions": {"tamis": "0.9"}}})
    made = section(facts)
    check(facts, made)
    assert dict(figure(made, "run_facts").table.rows())["version_tamis"] == "0.9"
    assert made.missing is not None


def test_what_changed_since_the_date_before_is_named() -> None:
    marks = {"config": "c" * 64, "input": "other"}
    before = side(DAY - timedelta(days=7), fingerprints=marks)
    facts = learnt(before=before)
    assert "Changed since 22 February 2026: Fingerprint of the input." in told(facts, section(facts))
    same = learnt(before=side(DAY - timedelta(days=7)))
    assert "are the same as on 22 February 2026" in told(same, section(same))


def test_warnings_stand_as_they_were_given() -> None:
    facts = learnt(now=side(counts={"warnings": ["<b>one</b>", "two"]}))
    made = section(facts)
    check(facts, made)
    assert figure(made, "run_warnings").table["warning"].to_list() == ["<b>one</b>", "two"]


def test_a_bundle_that_is_gone_is_an_alarm() -> None:
    made = section(facts_of())
    assert "is gone or of another version" in Voice("en").put(made.alarms[0])
    assert section(facts_of(side(bundle=None))).alarms == ()
