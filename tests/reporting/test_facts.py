from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ConfigError, IntegrityError
from engine.reporting import facts_files
from engine.reporting.facts import NO_SEGMENTS, Facts, best_segment, read_facts
from engine.reporting.words import LANGUAGES
from engine.segments.kpis import ALL_USERS
from tests.reporting.samples import DATES, USERS


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "out"))


def test_both_dates_and_all_that_is_small_are_there(facts: Facts, published: Path) -> None:
    assert (facts.as_of, facts.compare, facts.dates, facts.now.flows_since) == (DATES[2], DATES[1], DATES, DATES[1])
    assert facts.now.users == USERS
    assert facts.now.tables.keys() >= {"drift", "segment_kpis", "segment_definitions", "segment_composition"}
    assert facts.now.tables.keys().isdisjoint({"features", "scores", "segments", "memberships", "membership_changes"})
    assert facts.bundle is not None
    assert {model.spec.target.name for model in facts.bundle.models} == set(facts.validation) == {"buys"}
    assert set(facts.documents) == {"bundle.json", "clusters.json", "targets/buys/model.json"}
    assert facts.validation["buys"]["as_of"].to_list() == [DATES[0]]
    read = pl.read_parquet(published / "segments" / f"as_of={DATES[2]}", hive_partitioning=True)
    counted = dict(read["segment"].value_counts().rows())
    assert {name: facts.now.sizes[name] for name in facts.primary} == {
        name: counted.get(name, 0) for name in facts.primary
    }
    assert list(facts.primary) == sorted(facts.primary, key=lambda name: (-counted.get(name, 0), name))


def test_history_has_every_date_up_to_the_report(published: Path) -> None:
    facts = read_facts(published, DATES[1])
    assert facts.history.schema == facts_files.HISTORY
    assert facts.history["as_of"].unique().sort().to_list() == list(DATES[:2])
    everyone = facts.history.filter(pl.col("segment") == ALL_USERS)
    assert everyone["users"].to_list() == [USERS, USERS]
    assert facts.compare == DATES[0]
    assert facts.dates == DATES


def test_another_date_to_compare_with(published: Path) -> None:
    facts = read_facts(published, DATES[2], DATES[0], min_cell=3)
    assert (facts.compare, facts.now.flows_since, facts.min_cell) == (DATES[0], DATES[1], 3)


def test_the_first_date_is_compared_with_nothing(published: Path) -> None:
    facts = read_facts(published, DATES[0])
    assert (facts.before, facts.compare, facts.now.flows_since, facts.now.moved("exits")) == (None, None, None, None)


@pytest.mark.parametrize(
    ("as_of", "compare", "said"),
    [
        (date(2026, 3, 2), None, ["--as-of: nothing is published for 2026-03-02"]),
        (DATES[2], date(2025, 3, 1), ["--compare: nothing is published for 2025-03-01"]),
        (date(2026, 3, 2), date(2025, 3, 1), ["--as-of: ", "--compare: "]),
        (DATES[2], DATES[2], ["--compare: 2026-03-15 is the date of the report itself"]),
    ],
)
def test_dates_that_are_not_published(published: Path, as_of: date, compare: date | None, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_facts(published, as_of, compare)
    assert caught.value.code == "report-date"
    assert all(text in caught.value.message for text in said)
    assert "2026-03-15, 2026-03-08, 2026-03-01" in str(caught.value.hint)


def test_nothing_published(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a report of") as caught:
        read_facts(tmp_path, DATES[0])
    assert caught.value.hint == "Published dates, the last first: none."


def test_what_an_earlier_version_did_not_write_is_missing(copy: Path) -> None:
    manifest = copy / "_manifests" / "as_of=2026-03-15.json"
    content = json.loads(manifest.read_text())
    kept = {"features", "scores", "memberships", "segments"}
    content["tables"] = [table for table in content["tables"] if table["name"] in kept]
    for name in ("ledger", "warnings", "memberships"):
        content["counts"].pop(name)
    manifest.write_text(json.dumps(content))
    for day in DATES:
        shutil.rmtree(copy / "segment_kpis" / f"as_of={day}")
    shutil.rmtree(copy / "_bundles")
    shutil.rmtree(copy / "validation")
    facts = read_facts(copy, DATES[2])
    assert (facts.now.kpis, facts.now.flows, facts.now.grid, facts.bundle, facts.documents) == (
        None,
        None,
        None,
        None,
        {},
    )
    assert (facts.now.sizes, facts.now.warnings, facts.validation, facts.best) == ({}, (), {}, None)
    # The other dates have sizes in their manifests.
    assert facts.history.filter(pl.col("as_of") == DATES[0])["users"].max() == USERS
    assert facts.history["revenue"].null_count() == facts.history.height
    assert facts.bundle_id is not None


def test_a_bundle_of_another_version_is_told_from_its_documents(copy: Path) -> None:
    for path in (copy / "_bundles").glob("*/bundle.json"):
        path.write_text(path.read_text().replace('"format": ', '"format": 9'))
    facts = read_facts(copy, DATES[2])
    assert facts.bundle is None
    assert "targets/buys/model.json" in facts.documents


def test_small_tables_are_read_where_tables_of_users_are_gone(copy: Path) -> None:
    shutil.rmtree(copy / "features")
    shutil.rmtree(copy / "scores")
    facts = read_facts(copy, DATES[2])
    assert facts.now.kpis is not None
    assert facts.now.users == USERS


def test_a_damaged_manifest_is_an_error(copy: Path) -> None:
    (copy / "_manifests" / "as_of=2026-03-15.json").write_text("{}")
    with pytest.raises(IntegrityError):
        read_facts(copy, DATES[2])


def test_records_of_runs_are_the_last_first(copy: Path) -> None:
    (copy / "_runs").mkdir()
    for name in ("a", "b"):
        (copy / "_runs" / f"{name}.json").write_text(json.dumps({"attempt": name}))
    (copy / "_runs" / "c.json").write_text("{")
    assert read_facts(copy, DATES[2]).records == ({"attempt": "b"}, {"attempt": "a"})


def test_segments_have_names_in_every_language(facts: Facts) -> None:
    for language in LANGUAGES:
        names = facts.names(language)
        assert {("segment", name) for name in (*facts.now.sizes, *NO_SEGMENTS)} <= names.keys()
        assert all(names.values())
    assert facts.names("fr")["segment", "hibernating"] == "En hibernation"
    assert facts.names("fr")["segment", "<b>every</b> & 'one'"] == "tout le monde"
    assert facts.names("en")["segment", "warm"] == "warm"


def test_the_best_segment_is_shown_and_worth_most(facts: Facts) -> None:
    kpis = pl.DataFrame(
        {"segment": ["a", "b", "c", "d", "e"], "users": [9, 40, 60, 80, 50], "mean_value": [99.0, None, 7.0, 7.0, 90.0]}
    )
    side = replace(facts.now, tables={"segment_kpis": kpis})
    # `a` is of few people, and `b` would give it away.
    assert best_segment(side, ("a", "b", "c", "d"), 10) == "c"
    assert best_segment(side, ("a", "b", "c", "d"), 9) == "a"
    assert best_segment(side, ("a",), 10) is None
    assert best_segment(replace(side, tables={}), ("c",), 10) is None
