from __future__ import annotations

import hashlib
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config, Exports
from engine.errors import IntegrityError
from engine.execution.local import LocalExecutor
from engine.exports.export import export_segments
from engine.exports.record import Request
from engine.features.choice import feature_spec
from engine.features.windows import EPOCH
from engine.pipeline import fit_run, score_run
from engine.stages.learning import build_matrices
from engine.stages.learning_plan import attribute_warnings, matrix_tasks
from engine.stages.opening import check_unchanged, open_run
from engine.stages.preparation import prepare, types_in_use
from engine.tables.manifest import read_manifest
from tests.golden.runs import published
from tests.samples import AS_OF, TOML, configuration, write_sample

LOCAL = LocalExecutor(threads=1)
REGIONS = ("nord-été", "sud", "ouest")
SETTINGS = """
valid_from = "since"
columns = ["region", "birth"]

[contacts.cleaning]
email = "mail"
disposable_domains = "thrown.txt"

[[contacts.rules]]
name = "grown"
holds = "birth <= 2010"
action = "flag"

[[contacts.rules]]
name = "alive"
holds = "birth >= 1910"
action = "quarantine"

[[contacts.rules]]
name = "reachable"
holds = "email_valid"

[[contacts.enrich]]
name = "areas"
path = "areas.csv"
key = "area"
on = "region"
prefix = "area_"

[events]
"""
EVERYBODY = """
[[segments]]
name = "everybody"
tag = true
where = "engagement_score >= 0"

[execution]
"""


def history(users: range) -> list[tuple[int, datetime, str, int, str]]:
    """Rows of user, since, region, birth and address: each user moves up to three times, some before any event."""
    return [
        (
            user,
            datetime(2025, 11, 15) + timedelta(days=17 * (move + user % 5), hours=user % 24),
            REGIONS[(user + move) % 3],
            1905 + user % 110,
            ("a@thrown.com", f"U{user}@Exemple.FR", "broken")[user % 3],
        )
        for user in users
        for move in range(1 + user % 3)
    ]


def write(folder: Path) -> Path:
    folder.mkdir()
    (folder / "thrown.txt").write_text("thrown.com\n", encoding="utf-8")
    (folder / "areas.csv").write_text("area,people\nsud,10\nouest,20\n", encoding="utf-8")
    toml = TOML.replace("\n[events]\n", SETTINGS).replace("[clusters]", "[clusters]\nenabled = false")
    toml = toml.replace("\n[execution]\n", EVERYBODY)
    file = write_sample(folder, toml=toml)
    columns = ["customer", "since", "region", "birth", "mail"]
    pl.DataFrame(history(range(1, 84)), schema=columns, orient="row").write_parquet(folder / "contacts.parquet")
    return file


def region_at(user: int, day: date) -> str | None:
    """The region as of a day, by brute force."""
    rows = [row for row in history(range(user, user + 1)) if row[1] < datetime(day.year, day.month, day.day)]
    rows = [row for row in rows if row[3] >= 1910]
    return max(rows, key=lambda row: row[1])[2] if rows else None


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = configuration(write(tmp_path_factory.mktemp("contacts") / "log"))
    fit_run(config, AS_OF, executor=LOCAL)
    score_run(config, AS_OF, executor=LOCAL)
    return config


@pytest.mark.slow
def test_dq04_attributes_are_those_of_the_day(scored: Config) -> None:
    table = published(Path(scored.out), "features")
    found = dict(table.select("user_id", "region").iter_rows())
    assert found == {user: region_at(user, AS_OF) for user in found}
    assert len({*found.values()}) == 4
    people = dict(zip(table["region"], table["area_people"], strict=True))
    assert people == {"sud": 10, "ouest": 20, "nord-été": None, None: None}
    thrown = table.filter(pl.col("region").is_not_null() & (pl.col("user_id") % 3 == 0))
    assert thrown["email_disposable"].all()
    assert "mail" not in table.columns
    assert "rule_grown" in table.columns


def test_dq05_dq07_dq11_counts_and_provenance_are_in_the_record(scored: Config) -> None:
    counts = read_manifest(Path(scored.out) / "_manifests" / f"as_of={AS_OF}.json").counts
    rows = [row for row in history(range(1, 84)) if row[1] < datetime(AS_OF.year, AS_OF.month, AS_OF.day)]
    dead = [row for row in rows if row[3] < 1910]
    assert counts["contacts"] == {
        "read": len(history(range(1, 84))),
        "left_out": 0,
        "matched": sum(region_at(user, AS_OF) is not None for user in published(Path(scored.out), "scores")["user_id"]),
        "later": len(history(range(1, 84))) - len(rows),
        "email_invalid": sum(row[4] == "broken" for row in rows),
        "email_role": 0,
        "email_disposable": sum(row[4] == "a@thrown.com" for row in rows),
        "email_broken": 0,
        "rules": {
            "grown": sum(row[3] > 2010 for row in rows),
            "alive": len(dead),
            "reachable": sum(row[4] == "broken" for row in rows),
        },
        "quarantined": len(dead),
    }
    file = Path(scored.out).parent / "areas.csv"
    content = file.read_bytes()
    matched = sum(row[2] != "nord-été" for row in rows)
    assert counts["enrichment"] == {
        "areas": {
            "files": [{"path": str(file), "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}],
            "rows": 2,
            "left_out": 0,
            "matched": matched,
            "unmatched": len(rows) - matched,
        }
    }
    files = sorted((Path(scored.out) / "rejects").rglob("*.parquet"))
    rejects = pl.read_parquet(files, hive_partitioning=False).filter(pl.col("source") == "contacts")
    assert rejects.height == len(dead)
    assert set(rejects["rule"]) == {"alive"}


def test_models_learn_from_attributes_as_they_were(scored: Config, tmp_path: Path) -> None:
    config = configuration(Path(scored.out).parent / "tamis.toml", out=str(tmp_path / "out"))
    opened = open_run(config)
    types = types_in_use(config, opened.given, AS_OF, LOCAL, None)
    work = tmp_path / "work"
    work.mkdir()
    prepared = prepare(config, opened.given, AS_OF, work=work, executor=LOCAL, progress=None, types=types)
    spec = feature_spec(config, types, frozenset({"purchase"}), opened.contacts)
    matrices = [build_matrices(task) for task in matrix_tasks(config, spec, prepared, AS_OF, opened.contacts, work)]
    days = sorted({day for matrix in matrices for day, _, _ in matrix.rows})
    assert len(days) > 2
    for day in days:
        files = [file for matrix in matrices for anchor, file, _ in matrix.rows if anchor == day]
        rows = pl.read_parquet(files).select("user_id", "region").rows()
        anchor = date.fromordinal(EPOCH.toordinal() + day)
        assert rows
        assert dict(rows) == {user: region_at(user, anchor) for user, _ in rows}
    moved = {user for user in range(1, 81) if region_at(user, AS_OF) != region_at(user, anchor)}
    assert moved


def test_what_is_added_by_other_tables_is_of_today(scored: Config) -> None:
    assert attribute_warnings(scored, ("region",)) == []
    assert scored.contacts is not None
    learning = scored.contacts.model_copy(update={"model_columns": ("region", "area_people")})
    [warning] = attribute_warnings(scored.model_copy(update={"contacts": learning}), ("region", "area_people"))
    assert "area_people (contacts.model_columns)" in warning
    assert "region" not in warning


@pytest.mark.parametrize("name", ["areas.csv", "thrown.txt"])
def test_files_beside_the_contacts_are_input(name: str, tmp_path: Path) -> None:
    config = configuration(write(tmp_path / "log"))
    before = open_run(config)
    file = tmp_path / "log" / name
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(IntegrityError, match=name):
        check_unchanged(before)
    assert open_run(config).fingerprints["input"] != before.fingerprints["input"]
    assert open_run(config).fingerprints["config"] == before.fingerprints["config"]


def test_dq04_exports_take_the_row_of_their_day_cleaned(scored: Config, tmp_path: Path) -> None:
    exports = Exports(email="mail", attributes={"AREA": "area_people", "CODE": "customer"}, duplicates="keep")
    config = scored.model_copy(update={"exports": exports})
    record = export_segments(config, Request(tool="csv", segments=("everybody",), to=tmp_path / "csv"))
    [file] = (tmp_path / "csv").glob("*.csv")
    rows = pl.read_csv(file)
    expected = {user for user in range(1, 81) if region_at(user, AS_OF) is not None and user % 3 != 2}
    assert set(rows["user_id"]) == expected
    assert rows["CODE"].equals(rows["user_id"], check_names=False)
    assert set(rows["email"]) == {"a@thrown.com", *(f"U{user}@exemple.fr" for user in expected if user % 3 == 1)}
    assert record.units[0].left_out["without_contact"] == sum(region_at(user, AS_OF) is None for user in range(1, 81))
