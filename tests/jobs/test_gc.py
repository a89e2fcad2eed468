from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import Result

from engine.tables.lock import writer_lock
from tests.ledger.publishing import Day, Defined, publish_day

Tamis = Callable[..., Result]
DATES = [date(2026, 1, 1) + timedelta(days=number) for number in (0, 1, 9)]
FOREIGN = ("_delta/segments/_delta_log/0.json", "_iceberg/catalog.db", "_formats/committed.json", "mine/own.parquet")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published") / "out"
    for as_of in DATES:
        publish_day(out, Day(as_of, {1: {}, 2: {}}, {1: {"a"}, 2: {"b"}}, [Defined("a"), Defined("b")]))
    return out


@pytest.fixture
def out(folder: Path, published: Path) -> Path:
    """Three dates, and beside them what other commands and other people keep there."""
    out = Path(shutil.copytree(published, folder / "out"))
    for name in FOREIGN:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"?")
    return out


def sizes(out: Path) -> dict[str, int]:
    return {
        name: path.stat().st_size
        for path in out.rglob("*")
        if path.is_file() and not (name := path.relative_to(out).as_posix()).startswith("_work/")
    }


def test_old_dates_go_and_the_others_are_still_whole(tamis: Tamis, out: Path) -> None:
    before = sizes(out)
    told = json.loads(tamis("gc", "--keep-dates", "1", "--dry-run", "--json").stdout)
    assert sizes(out) == before
    done = tamis("gc", "--keep-dates", "1", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    after = sizes(out)
    assert json.loads(done.stdout) == {**told, "removed": True}
    assert told["removed"] is False
    assert told["out"] == str(out)
    assert [(item["kind"], item["name"]) for item in told["items"]] == [
        ("date", DATES[0].isoformat()),
        ("date", DATES[1].isoformat()),
    ]
    assert told["kept"] == [DATES[2].isoformat()]
    assert told["notes"] == []
    assert told["files"] == len(before) - len(after)
    assert told["bytes"] == sum(before.values()) - sum(after.values())
    assert set(FOREIGN) <= after.keys()
    assert {name.split("/")[0] for name in after} >= {"features", "memberships", "_manifests"}
    verified = json.loads(tamis("verify", "--deep", "--json").stdout)
    assert (verified["dates"], verified["problems"], verified["leftovers"]) == ([DATES[2].isoformat()], [], [])
    assert json.loads(tamis("gc", "--keep-dates", "1", "--json").stdout)["items"] == []


def test_a_table_says_what_goes(tamis: Tamis, out: Path) -> None:
    would = tamis("gc", "--keep-days", "8", "--dry-run")
    assert would.stdout.splitlines()[-1].startswith("Would remove ")
    assert would.stdout.splitlines()[-1].endswith(" under out; 2 dates stay")
    assert DATES[0].isoformat() in would.stdout
    assert DATES[1].isoformat() not in would.stdout
    done = tamis("gc", "--keep-days", "8")
    assert done.stdout == would.stdout.replace("Would remove", "Removed")
    # Without a limit no date goes.
    assert tamis("gc").stdout == "Removed 0 files, 0 B under out; 2 dates stay\n"
    assert tamis("gc", "--keep-days", "0", "--quiet").stdout == ""
    assert not list((out / "memberships").glob(f"as_of={DATES[1]}"))


def test_what_killed_runs_left_goes(tamis: Tamis, out: Path) -> None:
    left = ("_work/score-x/segments/part.parquet", "_remote/files/0-abc")
    before = sizes(out)
    for name in left:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"x" * 10)
    found = []
    for arguments in (("--dry-run",), ()):
        assert (out / "_remote" / "files" / "0-abc").exists()
        done = tamis("gc", "--json", *arguments)
        assert done.exit_code == 0, done.stderr
        items = json.loads(done.stdout)["items"]
        found.append(sorted((item["kind"], item["name"], item["files"], item["bytes"]) for item in items))
    assert found[0] == found[1] == [("fetched", "_remote", 1, 10), ("work", "_work/score-x", 1, 10)]
    assert sizes(out) == before
    assert not (out / "_remote").exists()
    assert not (out / "_work" / "score-x").exists()


def test_a_note_is_told_on_stderr(tamis: Tamis, out: Path) -> None:
    (out / "_manifests" / f"as_of={DATES[1]}.json").write_text("{", encoding="utf-8")
    done = tamis("gc")
    assert done.exit_code == 0
    assert f"warning: nothing of {DATES[1]} is looked at: its manifest cannot be read" in done.stderr
    assert "warning" not in done.stdout


def test_another_run_is_writing(tamis: Tamis, out: Path) -> None:
    before = sizes(out)
    with writer_lock(out, "score-x"):
        refused = tamis("gc", "--keep-dates", "1")
        assert tamis("gc", "--keep-dates", "1", "--dry-run").exit_code == 0
    assert refused.exit_code == 5
    assert "error[out-locked]" in refused.stderr
    assert sizes(out) == before


@pytest.mark.parametrize("arguments", [("--keep-dates", "0"), ("--keep-days", "-1")])
def test_limits_that_would_keep_nothing(tamis: Tamis, out: Path, arguments: tuple[str, ...]) -> None:
    assert tamis("gc", *arguments).exit_code == 2
    assert len(list((out / "_manifests").glob("*.json"))) == 3


def test_nothing_is_there_yet(tamis: Tamis, folder: Path) -> None:
    assert tamis("gc", "--keep-dates", "1").stdout == "Removed 0 files, 0 B under out; 0 dates stay\n"
    assert not (folder / "out").exists()
