from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.exports.listing import ListedExport, ListedFile, listed_exports, write_listed
from engine.formats.commit import commit_published
from engine.retention.kept import find_old
from engine.retention.retain import apply_retention, plan_retention
from engine.stages.verifying import verify_output
from engine.tables.durable import sha256_of
from engine.tables.layout import manifest_path
from engine.tables.manifest import read_manifest
from tests.formats.reading import read_table
from tests.ledger.publishing import Day, Defined, publish_day

LAST = date(2026, 3, 1)
DATES = [LAST - timedelta(days=days) for days in (31, 30, 29, 1, 0)]


def config_of(folder: Path, publish: dict[str, Any] | None = None, **retention: Any) -> Config:
    columns = {"user_id": "u", "event_type": "t", "event_time": "at"}
    return Config.model_validate(
        {
            "out": str(folder / "out"),
            "sources": [{"name": "log", "path": str(folder / "none.parquet"), "columns": columns}],
            "retention": retention,
            "publish": publish or {},
        }
    )


def publish_dates(out: Path) -> None:
    for as_of in DATES:
        publish_day(out, Day(as_of, {1: {}, 2: {}}, {1: {"a"}, 2: {"b"}}, [Defined("a"), Defined("b")]))


def apply(config: Config, as_of: date = LAST) -> tuple[str, ...]:
    plan = plan_retention(config, as_of, executor=LocalExecutor())
    return apply_retention(config, plan).receipts


def tables_of(out: Path, day: date) -> set[str]:
    return {table.name for table in read_manifest(manifest_path(out, day)).tables}


def problems(out: Path) -> tuple[Any, ...]:
    return verify_output(out, deep=True, executor=LocalExecutor()).problems


def test_gd10_dates_of_a_table_go_after_its_period_and_the_rest_is_whole(tmp_path: Path) -> None:
    config, out = config_of(tmp_path, tables={"scores": 30, "memberships": 29}), tmp_path / "out"
    publish_dates(out)
    whole, second, third = (tables_of(out, day) for day in DATES[:3])
    plan = plan_retention(config, LAST, executor=LocalExecutor())
    assert [(one.table, one.as_of) for one in plan.old.tables] == [
        ("scores", DATES[0]),
        ("memberships", DATES[0]),
        ("memberships", DATES[1]),
    ]
    assert tables_of(out, DATES[0]) == whole
    [receipt] = apply_retention(config, plan).receipts
    assert tables_of(out, DATES[0]) == whole - {"scores", "memberships"}
    assert tables_of(out, DATES[1]) == second - {"memberships"}
    assert tables_of(out, DATES[2]) == third
    assert not (out / "scores" / f"as_of={DATES[0]}").exists()
    assert (out / "scores" / f"as_of={DATES[1]}").exists()
    assert read_manifest(manifest_path(out, DATES[0])).counts["removed_tables"] == ["memberships", "scores"]
    assert problems(out) == ()
    told = json.loads((out / receipt).read_bytes())
    assert told["tables"]["memberships"]["dates"] == [str(day) for day in DATES[:2]]
    assert (told["kind"], told["people"]) == ("retention", None)
    # Nothing is left to do, and runs go on.
    assert apply(config) == ()
    after = LAST + timedelta(days=1)
    publish_day(out, Day(after, {1: {}}, {1: {"b"}}, [Defined("a"), Defined("b")]))
    publish_day(out, Day(DATES[2], {1: {}, 2: {}}, {1: {"b"}, 2: {"b"}}, [Defined("a"), Defined("b")], note="again"))
    assert problems(out) == ()


def test_a_date_of_which_no_table_is_left_goes_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish_dates(out)
    names = tables_of(out, DATES[0])
    apply(config_of(tmp_path, tables=dict.fromkeys(sorted(names), 30)))
    assert not manifest_path(out, DATES[0]).exists()
    assert manifest_path(out, DATES[1]).exists()
    assert problems(out) == ()


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_tables_of_a_format_follow(tmp_path: Path, kind: str) -> None:
    pytest.importorskip({"delta": "deltalake", "iceberg": "pyiceberg"}[kind])
    publish = {"format": kind, "tables": ["memberships"]}
    config, out = config_of(tmp_path, publish, tables={"memberships": 30}), tmp_path / "out"
    publish_dates(out)
    commit_published(config)
    apply(config)
    assert sorted(set(read_table(config, "memberships")["as_of"])) == DATES[1:]
    assert commit_published(config).committed == ()


def test_the_newest_date_stays_however_old_it_is(tmp_path: Path) -> None:
    publish_dates(tmp_path / "out")
    config = config_of(tmp_path, tables={"scores": 1})
    apply(config, LAST + timedelta(days=0))
    assert "scores" in tables_of(tmp_path / "out", LAST)
    assert "scores" in tables_of(tmp_path / "out", DATES[3])
    assert "scores" not in tables_of(tmp_path / "out", DATES[2])


def test_records_of_runs_and_of_processing_go(tmp_path: Path) -> None:
    config, out = config_of(tmp_path, runs_days=10), tmp_path / "out"
    runs = ("20260219T235959Z-0a0b0c", "20260218T000000Z-0a0b0c", "20260301T000000Z-0a0b0c")
    names = [f"_runs/{name}.json" for name in runs]
    names += [f"_register/{name}" for name in ("as_of=2026-02-20.json", "as_of=2026-02-20.md", "as_of=2026-03-02.md")]
    names += ["_register/fit-as_of=2026-02-19.json", "_runs/notes.txt", "_register/as_of=2026-02-32.json"]
    for name in names[:-1]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("{}")
    apply(config)
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    gone = {names[1], "_register/fit-as_of=2026-02-19.json"}
    assert left & set(names[:-1]) == set(names[:-1]) - gone


def listed(folder: Path, at: datetime, names: tuple[str, ...], letter: str) -> ListedExport:
    files = []
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"user_id\n{letter}\n")
        files.append(ListedFile(str(path), sha256_of(path), 1, path.stat().st_size))
    return ListedExport(f"{at:%Y%m%dT%H%M%SZ}-00000{letter}", at, "csv", LAST, "r", str(folder), (), (), tuple(files))


def test_files_of_exports_go_where_they_are_still_what_was_written(tmp_path: Path) -> None:
    config, out = config_of(tmp_path, exports_days=30), tmp_path / "out"
    out.mkdir()
    old, new = datetime(2026, 1, 29, 12, tzinfo=UTC), datetime(2026, 1, 30, tzinfo=UTC)
    first = listed(tmp_path / "x", old, ("a.csv", "b.csv", "moved.csv"), "1")
    (tmp_path / "x" / "_export.json").write_text(json.dumps({"files": [], "segments": []}))
    second = listed(tmp_path / "y", new, ("a.csv",), "2")
    third = listed(tmp_path / "z", old, ("mine.csv", "again.csv"), "3")
    fourth = replace(listed(tmp_path / "z", new, ("again.csv",), "4"), to=str(tmp_path / "z"))
    for one in (first, second, third, fourth):
        write_listed(out, one)
    (tmp_path / "x" / "moved.csv").rename(tmp_path / "elsewhere.csv")
    (tmp_path / "z" / "mine.csv").write_text("my own")
    plan = plan_retention(config, LAST, executor=LocalExecutor())
    assert [Path(one.path).name for one in plan.old.exports] == ["a.csv", "b.csv"]
    assert len(plan.old.notes) == 1
    assert "mine.csv stays" in plan.old.notes[0]
    apply_retention(config, plan)
    # The folder goes with its last file, and nothing that anybody else has written.
    assert not (tmp_path / "x").exists()
    assert {path.name for path in (tmp_path / "z").iterdir()} == {"mine.csv", "again.csv"}
    assert (tmp_path / "y" / "a.csv").exists()
    assert (tmp_path / "elsewhere.csv").exists()
    assert [len(one.files) for one in listed_exports(out)] == [1, 2, 1, 1]
    assert apply(config) == ()


def test_nothing_to_do_and_nothing_there(tmp_path: Path) -> None:
    config = config_of(tmp_path, tables={"scores": 1}, person_days=5)
    assert apply(config) == ()
    assert not (tmp_path / "out").exists()
    assert find_old(tmp_path / "out", config.retention, LAST).tables == ()


def test_ledgers_that_wait_for_a_correction_keep_their_tables(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish_dates(out)
    (out / "_work" / "ledger.json").write_text('{"since": "2026-01-29"}')
    found = find_old(out, config_of(tmp_path, tables={"scores": 1}).retention, LAST)
    assert (found.tables, len(found.notes)) == ((), 1)
    assert isinstance(pl.Series(found.notes)[0], str)
