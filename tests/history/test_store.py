from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.history.process import process_start
from engine.history.record import Attempt
from engine.history.store import (
    attempt_path,
    find_attempt,
    keep_last,
    read_attempts,
    runs_folder,
    touch_attempt,
    write_attempt,
)
from tests.history.attempts import attempt, failed


def here(number: int, pid: int, process: str) -> Attempt:
    changes = {"result": "running", "ended": None, "seconds": None, "host": socket.gethostname()}
    return attempt(number, pid=pid, process=process, **changes)


def test_the_last_one_comes_first_and_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    made = [attempt(0), failed(1), attempt(2, as_of=date(2026, 3, 2))]
    for one in made:
        write_attempt(tmp_path, one)
    (runs_folder(tmp_path) / "20260301T050000Z-0000ff.json").write_text("{", encoding="utf-8")
    (runs_folder(tmp_path) / "notes.json").write_text("{}", encoding="utf-8")
    assert read_attempts(tmp_path) == tuple(reversed(made))
    assert read_attempts(tmp_path, bad=True) == (made[1],)
    assert read_attempts(tmp_path, as_of=date(2026, 3, 1)) == (made[1], made[0])
    assert read_attempts(tmp_path, limit=1) == (made[2],)


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert read_attempts(tmp_path / "no") == ()
    with pytest.raises(ConfigError, match="no run is recorded"):
        find_attempt(tmp_path / "no", "latest")
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_replaced_at_the_end(tmp_path: Path) -> None:
    write_attempt(tmp_path, attempt(result="running"))
    write_attempt(tmp_path, attempt())
    assert [path.name for path in runs_folder(tmp_path).iterdir()] == [f"{attempt().attempt}.json"]
    assert read_attempts(tmp_path) == (attempt(),)


def test_a_run_whose_process_is_gone_has_died(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    living = here(0, os.getpid(), process_start(os.getpid()))
    other = here(1, child.pid, process_start(child.pid))
    reused = here(2, os.getpid(), "another boot-1")
    for one in (living, other, reused):
        write_attempt(tmp_path, one)
    assert [one.result for one in read_attempts(tmp_path)] == ["died", "running", "running"]
    child.kill()
    child.communicate()
    assert [one.result for one in read_attempts(tmp_path)] == ["died", "died", "running"]
    assert [one.attempt for one in read_attempts(tmp_path, bad=True)] == [reused.attempt, other.attempt]


def test_a_run_of_another_machine_has_died_when_it_is_silent(tmp_path: Path) -> None:
    one = attempt(result="running", ended=None)
    write_attempt(tmp_path, one)
    path = attempt_path(tmp_path, one.attempt)
    content = path.read_bytes()
    assert read_attempts(tmp_path)[0].result == "running"
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    assert read_attempts(tmp_path)[0].result == "died"
    touch_attempt(tmp_path, one.attempt)
    assert read_attempts(tmp_path)[0].result == "running"
    assert path.read_bytes() == content
    path.unlink()
    touch_attempt(tmp_path, one.attempt)
    assert not path.exists()


def test_the_oldest_go(tmp_path: Path) -> None:
    for number in range(5):
        write_attempt(tmp_path, attempt(number))
    foreign = runs_folder(tmp_path) / "mine.txt"
    foreign.write_text("?", encoding="utf-8")
    young, old = (runs_folder(tmp_path) / f".{name}.json.abcdef.tmp" for name in ("a", "b"))
    for path in (young, old):
        path.write_text("?", encoding="utf-8")
    os.utime(old, (0, 0))
    keep_last(tmp_path, 2)
    assert [one.attempt for one in read_attempts(tmp_path)] == [attempt(4).attempt, attempt(3).attempt]
    assert foreign.exists()
    assert young.exists()
    assert not old.exists()


def test_an_attempt_is_found_by_its_name_its_start_or_its_run(tmp_path: Path) -> None:
    for number in range(3):
        write_attempt(tmp_path, attempt(number, run_ids=(f"score-{number % 2}",)))
    assert find_attempt(tmp_path, "latest") == find_attempt(tmp_path, "20260301T0432") == read_attempts(tmp_path)[0]
    assert find_attempt(tmp_path, attempt(1).attempt).attempt == attempt(1).attempt
    assert find_attempt(tmp_path, "score-0").attempt == attempt(2).attempt
    with pytest.raises(ConfigError, match="3 runs begin with '2026'"):
        find_attempt(tmp_path, "2026")
    for unknown in ("", "score-7", "../x"):
        with pytest.raises(ConfigError, match=r"no run|runs begin"):
            find_attempt(tmp_path, unknown)
