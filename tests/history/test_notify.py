from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from engine.history.notify import notify, variables
from engine.history.record import Failure, attempt_from_json
from tests.history.attempts import attempt, failed

PATHS = {"PATH": os.environ["PATH"]}


def program(folder: Path, body: str) -> str:
    path = folder / "told.py"
    path.write_text(f"import json, os, sys, time\n{body}\n", encoding="utf-8")
    return shlex.join([sys.executable, str(path), "a b", "$HOME", "; touch x"])


def test_the_record_is_on_stdin_and_in_variables(tmp_path: Path) -> None:
    body = f"""
got = json.loads(sys.stdin.buffer.read())
known = {{name: value for name, value in os.environ.items() if name.startswith("TAMIS_")}}
print("noise" * 100_000)
json.dump([sys.argv[1:], got, known, os.getsid(0) == os.getpid()], open({str(tmp_path / "got.json")!r}, "w"))
"""
    one = failed(3)
    assert notify(program(tmp_path, body), one, "/data/out", {**PATHS, "TAMIS_RESULT": "old"}) is None
    words, got, known, alone = json.loads((tmp_path / "got.json").read_text(encoding="utf-8"))
    # No shell has seen the words.
    assert words == ["a b", "$HOME", "; touch x"]
    assert got.pop("out") == "/data/out"
    assert attempt_from_json(json.dumps(got).encode()) == one
    assert known == variables(one, "/data/out")
    assert known["TAMIS_RESULT"] == "failed"
    assert known["TAMIS_EXIT_CODE"] == "3"
    assert known["TAMIS_ERROR_CODE"] == "reject-share"
    assert known["TAMIS_AS_OF"] == "2026-03-01"
    assert known["TAMIS_RUN_ID"] == "score-2026-03-01-bb"
    assert alone


def test_a_variable_without_a_value_is_empty() -> None:
    told = variables(attempt(as_of=None, run_ids=(), error=Failure(1, "bug", "a\0b")), "")
    assert (told["TAMIS_AS_OF"], told["TAMIS_RUN_ID"], told["TAMIS_ERROR_MESSAGE"]) == ("", "", "ab")


@pytest.mark.parametrize(
    ("body", "problem"),
    [("sys.exit(3)", "ended with 3"), ("sys.stdin.close(); sys.exit(0)", None), ("1 / 0", "with 1")],
)
def test_its_failure_is_told(tmp_path: Path, body: str, problem: str | None) -> None:
    told = notify(program(tmp_path, body), attempt(), "", PATHS)
    assert (told is None) if problem is None else (told is not None and problem in told)


def test_a_program_that_is_not_there() -> None:
    assert notify("/no/such/program x", attempt(), "", PATHS) == (
        "'/no/such/program' cannot be started: No such file or directory"
    )


@pytest.mark.slow
def test_it_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    child = f"import time; time.sleep(2); open({str(tmp_path / 'late')!r}, 'w')"
    body = f"import subprocess; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    start = time.monotonic()
    told = notify(program(tmp_path, body), attempt(), "", PATHS, seconds=0.5)
    assert told is not None
    assert "took longer than 0.5 s" in told
    assert time.monotonic() - start < 2
    time.sleep(2.2)
    assert not (tmp_path / "late").exists()
