from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.tables.durable import durable_json
from engine.tables.layout import manifest_path
from engine.tables.manifest import FileRecord, Manifest, manifest_to_json, table_record
from engine.tables.schema_policy import check_schemas, may_go

DAY, NEXT = date(2018, 1, 1), date(2018, 1, 2)
MEASURE = "event_count_open_30d_0a1b2c3d"
BEFORE = {
    "features": {"user_id": "Int64", "open_count_7d": "Int64", "region": "String", MEASURE: "Int64"},
    "scores": {
        "user_id": "Int64",
        "engagement_score": "Float64",
        "propensity_buys": "Float64",
        "points_value": "Float64",
    },
    "drift": {"column": "String"},
}


def published(out: Path, day: date, tables: dict[str, dict[str, str]], version: int | None = None) -> None:
    records = tuple(
        table_record(name, day, tuple(schema.items()), [FileRecord(f"{name}/as_of={day}/x.parquet", 1, 1, "0")])
        for name, schema in tables.items()
    )
    counts = {} if version is None else {"table_version": version}
    manifest = Manifest("score-x", day, None, {}, dict(counts), records)
    durable_json(manifest_to_json(manifest), manifest_path(out, day))


def check(out: Path, now: dict[str, dict[str, str]], *, as_of: date = NEXT, version: int = 1) -> tuple[str, ...]:
    return check_schemas(out, as_of, {name: tuple(schema.items()) for name, schema in now.items()}, version)


def changed(table: str, **columns: str | None) -> dict[str, dict[str, str]]:
    schema = {name: dtype for name, dtype in {**BEFORE[table], **columns}.items() if dtype is not None}
    return {**BEFORE, table: schema}


def test_the_first_date_and_the_same_columns(tmp_path: Path) -> None:
    assert check(tmp_path, BEFORE) == ()
    published(tmp_path, DAY, BEFORE)
    assert check(tmp_path, BEFORE) == ()
    assert check(tmp_path, {"features": BEFORE["features"], "points": {"user_id": "Int64"}}) == ()


@pytest.mark.parametrize(
    ("now", "note"),
    [
        (changed("features", city="String"), "columns of features since 2018-01-01: city came"),
        (changed("features", **{MEASURE: None}), f"columns of features since 2018-01-01: {MEASURE} went"),
        (
            changed("scores", propensity_buys=None, propensity_returns="Float64"),
            "columns of scores since 2018-01-01: propensity_returns came; propensity_buys went",
        ),
        (changed("scores", points_value=None), "columns of scores since 2018-01-01: points_value went"),
    ],
)
def test_what_is_allowed_is_told(tmp_path: Path, now: dict[str, dict[str, str]], note: str) -> None:
    published(tmp_path, DAY, BEFORE)
    assert check(tmp_path, now) == (note,)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (changed("features", region="Int64"), "features.region: String on 2018-01-01, Int64 now"),
        (changed("features", **{MEASURE: "Float64"}), f"features.{MEASURE}: Int64 on 2018-01-01, Float64 now"),
        (changed("features", open_count_7d=None), "features.open_count_7d: Int64 on 2018-01-01, not there now"),
        (changed("scores", engagement_score=None), "scores.engagement_score: Float64 on 2018-01-01, not there now"),
        (changed("drift", column=None), "drift.column: String on 2018-01-01, not there now"),
    ],
)
def test_what_is_refused(tmp_path: Path, now: dict[str, dict[str, str]], told: str) -> None:
    published(tmp_path, DAY, BEFORE)
    with pytest.raises(ConfigError) as caught:
        check(tmp_path, now)
    assert caught.value.code == "schema-changed"
    assert caught.value.message.splitlines()[1:] == [f"  {told}"]
    assert "publish.table_version = 2" in caught.value.hint
    assert check(tmp_path, now, version=2) == ()


def test_all_problems_at_once(tmp_path: Path) -> None:
    published(tmp_path, DAY, BEFORE)
    now = {**changed("features", region="Int64", open_count_7d=None), "drift": {"column": "Int64"}}
    with pytest.raises(ConfigError) as caught:
        check(tmp_path, now)
    assert len(caught.value.message.splitlines()) == 4


def test_the_newest_other_date_counts(tmp_path: Path) -> None:
    published(tmp_path, DAY, {"features": {"user_id": "String"}})
    published(tmp_path, NEXT, BEFORE)
    assert check(tmp_path, BEFORE, as_of=date(2018, 1, 3)) == ()
    assert check(tmp_path, BEFORE, as_of=DAY) == ()
    with pytest.raises(ConfigError, match=r"features\.user_id"):
        check(tmp_path, BEFORE, as_of=NEXT)


def test_a_version_is_not_taken_back(tmp_path: Path) -> None:
    published(tmp_path, DAY, BEFORE, version=3)
    with pytest.raises(ConfigError) as caught:
        check(tmp_path, BEFORE, version=2)
    assert caught.value.code == "table-version"
    assert check(tmp_path, BEFORE, version=3) == ()


@pytest.mark.parametrize(
    ("table", "column", "allowed"),
    [
        ("features", "days_since_event_open_deadbeef", True),
        ("features", "days_since_open", False),
        ("segments", "points_value_class", True),
        ("segments", "cluster_name", False),
        ("scores", "lifecycle", True),
        ("scores", "value_clv", False),
        ("points", "quantity", False),
    ],
)
def test_which_columns_stand_for_an_entry_of_the_configuration(table: str, column: str, allowed: bool) -> None:
    assert may_go(table, column) is allowed
