from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from engine.errors import ConfigError, ConflictError, IntegrityError
from engine.warehouse.into_duckdb import load_duckdb
from tests.samples import AS_OF
from tests.warehouse.loads import NEXT, damage, republish
from tests.warehouse.sample import HandMade, frames, hand_made, publish_frames


def rows(file: Path, table: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        table = connection.sql(f"SELECT * FROM {table}").to_arrow_table()
    return sorted(pl.DataFrame(pl.from_arrow(table)).rows(), key=repr)


def test_loading_twice_leaves_one_copy_of_every_table(sample: HandMade, tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    for _ in range(2):
        loaded = load_duckdb(file, sample.asked("duckdb"), sample.out)
    assert {one.table: one.rows for one in loaded} == {name: frame.height for name, frame in frames(60).items()}
    for name, frame in frames(60).items():
        first = ["segment"] if name == "segments" else []
        rest = [column for column in frame.columns if column not in first]
        expected = frame.select(pl.lit(AS_OF).alias("as_of"), *first, *rest)
        assert rows(file, name) == sorted(expected.rows(), key=repr), name


def test_the_dictionary_is_in_the_comments(sample: HandMade, tmp_path: Path) -> None:
    load_duckdb(tmp_path / "a.duckdb", sample.asked("duckdb", schema="crm"), sample.out)
    with duckdb.connect(str(tmp_path / "a.duckdb")) as connection:
        told = connection.execute(
            "SELECT column_name, comment FROM duckdb_columns() WHERE schema_name = 'crm'"
        ).fetchall()
    assert dict(told)["tenure_days"] == "Days from the first event's day to as_of. Unit: days."
    assert [name for name, comment in told if not comment] == []


def test_another_run_of_the_date_takes_its_place_and_other_dates_stay(tmp_path: Path) -> None:
    made, file = hand_made(tmp_path), tmp_path / "a.duckdb"
    load_duckdb(file, made.asked("duckdb", "memberships"), made.out)
    republish(made, 7, day=NEXT)
    load_duckdb(file, made.asked("duckdb", "memberships", as_of=NEXT), made.out)
    republish(made, 4, pl.lit(3.5).alias("weight"))
    (loaded,) = load_duckdb(file, made.asked("duckdb", "memberships"), made.out)
    assert (loaded.rows, loaded.added) == (4, ("weight",))
    found = rows(file, "memberships")
    assert [(row[0], row[-1]) for row in found] == [(AS_OF, 3.5)] * 4 + [(NEXT, None)] * 7
    # A date without rows of a table has no such table.
    publish_frames(made, AS_OF, {"features": frames(3)["features"]})
    (loaded,) = load_duckdb(file, made.asked_with_absent("duckdb", "memberships"), made.out)
    assert (loaded.table, loaded.rows) == ("memberships", 0)
    assert {row[0] for row in rows(file, "memberships")} == {NEXT}
    every = load_duckdb(file, made.asked_with_absent("duckdb"), made.out)
    assert [(one.table, one.rows) for one in every] == [("features", 3), ("memberships", 0)]


def test_a_type_that_changed_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    made, file = hand_made(tmp_path), tmp_path / "a.duckdb"
    load_duckdb(file, made.asked("duckdb", "memberships"), made.out)
    before = rows(file, "memberships")
    republish(made, 4, pl.col("days_in").cast(pl.String), pl.lit(1).alias("new"))
    with pytest.raises(ConfigError, match="days_in: the table has INTEGER, the files have VARCHAR") as raised:
        load_duckdb(file, made.asked("duckdb", "memberships"), made.out)
    assert raised.value.code == "load-schema"
    assert rows(file, "memberships") == before


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_changed_is_not_loaded(tmp_path: Path, there: bool) -> None:
    made, file = hand_made(tmp_path), tmp_path / "a.duckdb"
    if there:
        load_duckdb(file, made.asked("duckdb"), made.out)
    damage(made)
    with pytest.raises(IntegrityError, match=r"memberships.*differs from its SHA-256"):
        load_duckdb(file, made.asked("duckdb"), made.out)
    assert file.exists() == there
    if there:
        assert len(rows(file, "memberships")) == 60


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    made = hand_made(tmp_path)
    asked = made.asked("duckdb", "memberships")
    next(made.out.glob("memberships/*/*.parquet")).unlink()
    with pytest.raises(IntegrityError, match="is missing") as raised:
        load_duckdb(tmp_path / "a.duckdb", asked, made.out)
    assert "if the date was being published just now" in str(raised.value.hint)


def test_a_table_of_something_else_is_left_alone(sample: HandMade, tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE segments AS SELECT 1 AS x")
    with pytest.raises(ConfigError, match="no as_of, user_id") as raised:
        load_duckdb(file, sample.asked("duckdb", "segments"), sample.out)
    assert raised.value.code == "load-schema"
    assert rows(file, "segments") == [(1,)]


def test_a_database_that_is_open_elsewhere(sample: HandMade, tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    code = f"import duckdb, sys\nc = duckdb.connect({str(file)!r})\nprint('open', flush=True)\nsys.stdin.read()"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(ConflictError, match="another process has") as raised:
            load_duckdb(file, sample.asked("duckdb", "segments"), sample.out)
        other.communicate("")
    assert raised.value.code == "load-busy"
    load_duckdb(file, sample.asked("duckdb", "segments"), sample.out)


@pytest.mark.parametrize("name", ["tamis.toml", "no folder/a.duckdb"])
def test_what_is_no_database(sample: HandMade, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be opened as a DuckDB database"):
        load_duckdb(sample.out.parent / name, sample.asked("duckdb", "segments"), sample.out)


def test_duckdb_that_is_not_installed(sample: HandMade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ConfigError, match="not installed") as raised:
        load_duckdb(tmp_path / "a.duckdb", sample.asked("duckdb"), sample.out)
    assert raised.value.hint == "Run `pip install 'tamis[warehouse]'`."
