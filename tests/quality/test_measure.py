from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.contacts.enrichment import EnrichmentRecord
from engine.contacts.read import ContactsRecord
from engine.features.windows import day_number
from engine.quality.measure import is_recent, measure
from engine.quality.table import Measured
from engine.rollups.index import Code
from engine.rollups.parts import write_part
from engine.rollups.update import Wanted
from tests.rollups.stores import at, bring, config_of, label, put, source_of

AS_OF = date(2026, 3, 4)


def values(found: list[Measured]) -> dict[tuple[str, str, str | None], float | None]:
    return {(one.name, one.metric, one.column): one.value for one in found if one.day is None}


def test_dq09_of_a_source(tmp_path: Path) -> None:
    put(
        tmp_path / "log",
        f"{label(0)}/a",
        ("u", "buy", at(0), "1", 5.0),
        ("u", "buy", at(0), "1", 5.0),
        ("v", "buy", at(0), "2", None),
        ("", "buy", at(0), "3", 5.0),
        *[("w", "buy", at(0, minute), f"w{minute}", 5.0) for minute in range(20)],
        ("w", "buy", at(1), "w", 5000.0),
    )
    source = source_of(tmp_path / "log")
    config = config_of(source)
    entries = bring(config, tmp_path / "store", Wanted((Code("buy"),))).index.entries
    found = values(measure(config, entries, None, AS_OF, ("buy",)))
    assert found["log", "rows", None] == 25
    assert found["log", "completeness", "amount"] == 24 / 25
    assert found["log", "completeness", "user_id"] == 24 / 25
    assert found["log", "completeness", "category"] == 0
    assert found["log", "duplicate_share", None] == 1 / 24
    assert found["log", "invalid_share", None] == found["log", "reject_share", "user_id_missing"] == 1 / 25
    assert found["log", "freshness_days", None] == 2
    assert found["log", "outlier_share", "amount"] == 1 / 23
    assert ("log", "late_share", None) not in found


@pytest.mark.parametrize("statistics", [True, False])
def test_of_contacts_and_what_enriches_them(tmp_path: Path, statistics: bool) -> None:
    frame = pl.DataFrame({"user_key": [1, 2, 3, 4], "town": ["a", "", None, "b"], "age": [1, None, 3, 4]})
    part = tmp_path / "contacts.parquet"
    write_part(frame, part)
    if not statistics:
        frame.write_parquet(part, statistics=False)
    record = ContactsRecord(
        rows=9,
        left_out=1,
        attributes=(("town", "String"), ("age", "Int64")),
        part=str(part),
        cleaned={"email_invalid": 2, "email_role": 1},
        broken={"adult": 4},
        enriched=(EnrichmentRecord("towns", (), 7, 0, 3, 1),),
    )
    source = source_of(tmp_path / "log")
    found = values(measure(config_of(source), (), record, AS_OF, ("buy",)))
    assert {key: value for key, value in found.items() if key[0] != "log"} == {
        ("contacts", "rows", None): 9,
        ("contacts", "completeness", "town"): 0.5,
        ("contacts", "completeness", "age"): 0.75,
        ("contacts", "invalid_share", "email"): 0.25,
        ("contacts", "rule_share", "adult"): 0.5,
        ("towns", "rows", None): 7,
        ("towns", "completeness", None): 0.75,
    }


def test_units_of_the_last_days(tmp_path: Path) -> None:
    for day in range(4):
        put(tmp_path / "log", f"{label(day)}/a", ("u", "buy", at(day), f"{day}"))
    put(tmp_path / "log", "more", ("u", "buy", at(0), "x"))
    entries = bring(config_of(source_of(tmp_path / "log")), tmp_path / "store").index.entries
    end = day_number(AS_OF)
    assert [entry.label for entry in entries if is_recent(entry, end, 2)] == ["", label(1), label(2)]
    assert [entry.label for entry in entries if is_recent(entry, end - 1, 1)] == ["", label(1)]
    assert all(is_recent(entry, end, None) for entry in entries)
