from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from engine.errors import ConfigError
from engine.tables import publish
from jobs.diff import diff
from tests.ledger.publishing import Day, Defined, publish_day

A, B = "2018-01-01", "2018-02-01"
SEGMENTS = [Defined("gold"), Defined("silver"), Defined("tag", None)]


@pytest.fixture
def published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(publish, "LISTING_SECONDS", 0)
    changed = [Defined("gold", version="v2"), *SEGMENTS[1:]]
    users = {user: {} for user in range(60)}
    first = {user: ["gold"] for user in users}
    second = {user: ["silver", "tag"] if user < 55 else ["gold"] for user in users if user < 58}
    publish_day(folder / "out", Day(date.fromisoformat(A), users, first, SEGMENTS, 2))
    publish_day(folder / "out", Day(date.fromisoformat(B), users, second, changed, 1))
    return folder


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(diff)
    return CliRunner().invoke(app, ["--out", "out", *arguments])


def test_what_people_read(published: Path) -> None:
    done = run(A, B)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Segments from 2018-01-01 to 2018-02-01"
    assert lines[2].split() == ["gold", "primary", "60", "0", "57", "3", "3", "changed"]
    assert lines[3].split() == ["silver", "primary", "0", "55", "0", "0", "55"]
    assert lines[4].split() == ["tag", "(tag)", "0", "55", "0", "0", "55"]
    assert lines[6] == "Users by segment of the group primary before (rows) and after (columns)"
    assert lines[7].split() == ["from", "/", "to", "gold", "silver", "(none)"]
    assert lines[8].split() == ["gold", "3", "55", "2"]


def test_users_are_listed_and_written(published: Path) -> None:
    done = run(A, B, "--segment", "gold", "--users", "--to", "users.csv")
    assert done.exit_code == 0
    rows = pl.read_csv(published / "users.csv")
    assert rows.columns == ["user_id", "segment", "group", "change", "other"]
    assert rows.height == 57
    assert rows["other"].value_counts().sort("count")["count"].to_list() == [2, 55]
    done = run(A, B, "--segment", "gold", "--users")
    assert "and 7 more changes: --to FILE writes them all" in done.stderr
    assert done.stdout.splitlines()[-1].split() == ["49", "gold", "exit", "silver"]


def test_one_object(published: Path) -> None:
    done = json.loads(run(A, B, "--group", "primary", "--json").stdout)
    assert [row["segment"] for row in done["segments"]] == ["gold", "silver"]
    assert done["moves"][0] == {"from_segment": "gold", "to_segment": "gold", "users": 3}
    assert "users" not in done


def test_a_day_that_is_none(published: Path) -> None:
    failed = run("2018-1-1", B)
    assert isinstance(failed.exception, ConfigError)
    assert failed.exception.message.startswith("A expects a day")
