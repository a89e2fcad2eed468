from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from unittest.mock import DEFAULT, Mock

import pytest
from typer.testing import Result

from engine.history.store import read_attempts
from engine.schedule import settle, waiting
from engine.tables.lock import writer_lock
from engine.why.published import published_dates
from jobs import clock
from tests.schedule.samples import DAYS, day_of, write_log

Tamis = Callable[..., Result]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_log(tmp_path_factory.mktemp("log")))


FIRST, SECOND = str(day_of(7)), str(day_of(9))


def test_lines_and_a_summary(tamis: Tamis, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("backfill", "-c", config, "--out", str(tmp_path / "out"), "--dates", f"{SECOND}, {FIRST}")
    result = tamis(*arguments)
    assert result.exit_code == 0, result.stderr
    first, second, summary = result.stdout.splitlines()
    assert first.split()[:2] == [FIRST, "published"]
    assert second.split()[:2] == [SECOND, "published"]
    assert "score-" in first
    assert "(nothing is published)" in first
    assert summary.startswith("2 dates: 2 published; ")
    again = tamis(*arguments)
    assert [line.split()[1] for line in again.stdout.splitlines()[:2]] == ["done", "done"]
    assert again.stdout.splitlines()[-1].startswith("2 dates: 2 done; ")
    assert tamis(*arguments, "--quiet").stdout == ""
    described = json.loads(tamis(*arguments, "--json").stdout)
    assert (described["asked"], described["done"], described["exit_code"]) == (2, 2, 0)
    assert [entry["as_of"] for entry in described["dates"]] == [FIRST, SECOND]

    # And `run` of one of them, when it is to skip what is done.
    run = ("run", "-c", config, "--out", str(tmp_path / "out"), "--as-of", SECOND)
    done = tamis(*run, "--if-done", "skip")
    assert done.exit_code == 0
    assert done.stdout == f"{SECOND} is done already: {described['dates'][1]['run_id']} published it; nothing was run\n"
    record = json.loads(tamis(*run, "--set", "schedule.if_done=skip", "--json").stdout)
    assert record["done_before"] is True
    assert record["run_id"] == described["dates"][1]["run_id"]
    assert record["counts"]["users"] == described["dates"][1]["users"]

    # Also where it was not done yet when another run was found at work, which is waited for.
    monkeypatch.setattr(settle, "finish", Mock(wraps=settle.finish, side_effect=[None, DEFAULT]))
    with ExitStack() as other:
        other.enter_context(writer_lock(tmp_path / "out", "another"))
        monkeypatch.setattr(waiting, "_wait", lambda *_: other.close())
        waited = tamis(*run, "--if-done", "skip", "--noop-exit-code", "99", "--wait-for-lock", "60")
    assert (waited.exit_code, waited.stdout) == (99, done.stdout), waited.stderr
    assert "waiting up to 60 seconds" in waited.stderr


def test_a_failure_ends_it_with_its_exit_code(tamis: Tamis, config: str, tmp_path: Path) -> None:
    (tmp_path / f"{day_of(6)}.ok").touch()
    marker = f"schedule.marker={tmp_path}/{{day}}.ok"
    last = str(day_of(11))
    arguments = ("backfill", "-c", config, "--out", str(tmp_path / "out"), "--set", marker)
    result = tamis(*arguments, "--dates", f"{FIRST},{SECOND},{last}")
    assert result.exit_code == 75
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [[FIRST, "published"], [SECOND, "failed"]]
    assert lines[-1].startswith("3 dates: 1 published, 1 failed, 1 not begun; ")
    assert result.stderr.startswith("error[marker-missing]: ")
    kept = tamis(*arguments, "--dates", f"{FIRST},{SECOND},{last}", "--keep-going", "--json")
    assert kept.exit_code == 75
    described = json.loads(kept.stdout)
    assert [entry["state"] for entry in described["dates"]] == ["done", "failed", "failed"]
    assert described["dates"][1]["error"]["code"] == "marker-missing"
    assert described["exit_code"] == 75


def test_each_date_that_is_run_has_a_record_of_its_own(tamis: Tamis, config: str, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    out.mkdir()
    for day in (6, 10):
        (tmp_path / f"{day_of(day)}.ok").touch()
    last = str(day_of(11))
    arguments = ("backfill", "-c", config, "--out", str(out), "--dates", f"{FIRST},{SECOND},{last}")
    marker = ("--set", f"schedule.marker={tmp_path}/{{day}}.ok")
    result = tamis(*arguments, *marker, "--keep-going", "--log-format", "json", "--log-file", str(log))
    assert result.exit_code == 75
    attempts = sorted(read_attempts(out), key=lambda one: one.started)
    assert [(str(one.as_of), one.result) for one in attempts] == [
        ("None", "failed"),
        (FIRST, "done"),
        (SECOND, "failed"),
        (last, "done"),
    ]
    whole, first, second, third = attempts
    assert {one.command for one in attempts} == {"backfill"}
    assert [one.error.code for one in (whole, second) if one.error is not None] == ["marker-missing"] * 2
    assert (first.exit_code, first.error, second.exit_code) == (0, None, 75)
    # What happened in a date is in its record alone, and in that of the whole.
    assert [name.rpartition("-")[0] for name in first.run_ids] == [f"fit-{FIRST}", f"score-{FIRST}"]
    assert [name.rpartition("-")[0] for name in third.run_ids] == [f"score-{last}"]
    assert set(whole.run_ids) >= {*first.run_ids, *third.run_ids}
    assert second.run_ids == ()
    assert first.counts["users"] > 0
    assert first.tables["segments"]["rows"] == first.counts["users"]
    assert first.input is not None
    assert 0 < first.tasks.done == first.tasks.total < whole.tasks.total
    assert third.seconds is not None
    assert whole.seconds is not None
    assert third.seconds < whole.seconds
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    told = [line for line in lines if line["event"] in {"date-begun", "date-ended"}]
    assert [(line["as_of"], line.get("result")) for line in told] == [
        (FIRST, None),
        (FIRST, "done"),
        (SECOND, None),
        (SECOND, "failed"),
        (last, None),
        (last, "done"),
    ]
    assert {line["attempt"] for line in lines} == {whole.attempt}
    assert "as_of" not in lines[-1]
    ended = [line["tasks_of"] for line in lines if line["event"] == "tasks-ended" and line.get("as_of") == last]
    assert sorted(set(ended)) == sorted(ended)
    # What is left alone leaves no record but that of the whole.
    assert tamis(*arguments[:-1], FIRST, "--quiet").exit_code == 0
    assert [one.result for one in read_attempts(out)].count("skipped") == 1
    assert len(read_attempts(out)) == 5


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), "backfill-range"),
        (("--from", "2026-01-05"), "backfill-range"),
        (("--to", "2026-01-05"), "backfill-range"),
        (("--from", "2026-01-05", "--to", "2026-01-05"), "backfill-range"),
        (("--from", "2026-01-05", "--last", "2", "--to", "2026-01-09"), "backfill-range"),
        (("--dates", "2026-01-05", "--to", "2026-01-09"), "backfill-range"),
        (("--dates", "5.1.2026"), "as-of-invalid"),
        (("--from", "january", "--to", "2026-01-09"), "day-invalid"),
        (("--last", "0", "--to", "2026-01-09"), "usage"),
        (("--dates", "2026-01-05,2030-01-01"), "as-of-future"),
        (("--dates", "2026-01-05,2026-04-01"), "backfill-outside-log"),
        (("--from", "2025-12-10", "--to", "2026-01-09"), "backfill-outside-log"),
        (("--last", "30", "--to", "2026-01-02"), "backfill-outside-log"),
        (("--last", "3", "--to", "2026-04-01"), "backfill-outside-log"),
    ],
)
def test_what_is_refused(
    tamis: Tamis, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], code: str
) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 6, 1, tzinfo=UTC))
    result = tamis("backfill", "-c", config, "--out", str(tmp_path / "out"), *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error[{code}]: ")
    assert published_dates(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("now", "zone", "day", "refused"),
    [
        ("2026-03-01T00:30", "UTC", "2026-03-01", False),
        ("2026-03-01T00:30", "UTC", "2026-03-02", True),
        ("2026-03-01T00:30", "America/New_York", "2026-03-01", True),
        ("2026-02-28T23:30", "Europe/Paris", "2026-03-01", False),
        # The hour that is skipped, and the one that comes twice.
        ("2026-03-29T01:30", "Europe/Paris", "2026-03-30", True),
        ("2026-10-24T22:30", "Europe/Paris", "2026-10-25", False),
    ],
)
def test_a_day_that_has_not_come(
    tamis: Tamis,
    folder: Path,
    pipeline: object,
    monkeypatch: pytest.MonkeyPatch,
    now: str,
    zone: str,
    day: str,
    refused: bool,
) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime.fromisoformat(now).replace(tzinfo=UTC))
    arguments = ("run", "--as-of", day, "--set", f"timezone={zone}", "-q")
    result = tamis(*arguments)
    assert result.exit_code == (2 if refused else 0)
    assert ("error[as-of-future]" in result.stderr) == refused
    assert tamis(*arguments, "--allow-future").exit_code == 0


def test_today_is_the_day_of_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
    assert clock.today("Pacific/Auckland") == date(2026, 3, 2)
    assert clock.today("America/New_York") == date(2026, 3, 1)


def test_the_last_days(tamis: Tamis, config: str, tmp_path: Path) -> None:
    end = str(day_of(DAYS))
    result = tamis(
        "backfill", "-c", config, "--out", str(tmp_path / "out"), "--last", "10", "--every", "week", "--to", end
    )
    assert [line.split()[0] for line in result.stdout.splitlines()[:-1]] == [str(day_of(10)), str(day_of(17))]


def test_the_last_days_begin_with_the_log(tamis: Tamis, config: str, tmp_path: Path) -> None:
    end = str(day_of(9))
    arguments = ("backfill", "-c", config, "--out", str(tmp_path / "out"), "--last", "30", "--every", "week", "--to")
    result = tamis(*arguments, end)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    dates = [str(day_of(9 - 30 + 7 * week)) for week in range(5)]
    kept = [day for day in dates if day > str(day_of(0))]
    assert [line.split()[0] for line in lines[:-1]] == kept
    assert f"{len(kept)} published, {5 - len(kept)} left out, for the log begins later; " in lines[-1]
    described = json.loads(tamis(*arguments, end, "--json").stdout)
    assert [entry["as_of"] for entry in described["dates"] if entry["state"] == "done"] == kept
    assert described["left_out"] == 5 - len(kept)
