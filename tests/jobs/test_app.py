from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import Result

from engine.errors import (
    ConflictError,
    DataError,
    HeldError,
    IntegrityError,
    ResourceError,
    TamisError,
    TransientError,
)
from engine.record import RunRecord
from jobs.app import _EXIT_CODES
from jobs.summary import print_summary

Tamis = Callable[..., Result]


ROOT = Path(__file__).parents[2]
COMMANDS = [
    ("init",),
    ("demo",),
    ("check",),
    ("fit",),
    ("score",),
    ("run",),
    ("backfill",),
    ("plan",),
    ("task",),
    ("retention",),
    ("verify",),
    ("doctor",),
    ("submit",),
    ("status",),
    ("logs",),
    ("stop",),
    ("config",),
    ("config", "show"),
    ("config", "schema"),
    ("config", "reference"),
    ("runs",),
    ("runs", "list"),
    ("runs", "show"),
    ("runs", "table"),
    ("suppress",),
    ("suppress", "add"),
    ("suppress", "remove"),
    ("suppress", "list"),
    ("suppress", "check"),
]
# Ways to fail that need no data: the command, and its exit code.
FAILURES = [
    (("nosuch",), 2),
    ((), 2),
    (("config",), 2),
    (("fit",), 2),
    (("fit", "--as-of", "31.01.2026"), 2),
    (("fit", "--as-of", "20260131"), 2),
    (("score", "--as-of", "2026-02-30"), 2),
    (("run", "--as-of", "2026-01-31", "-c", "nosuch.toml"), 2),
    (("run", "--as-of", "2026-01-31", "--executor", "spark"), 2),
    (("check", "--set", "seed"), 2),
    (("check", "--set", "seed=x"), 2),
    (("check", "--nosuch"), 2),
    (("config", "show", "-c", "nosuch.toml"), 2),
    (("init", "nosuch*.parquet", "-o", "new.toml"), 2),
    (("init", "nosuch.parquet"), 2),
    (("demo", "--as-of", "x"), 2),
]


def test_a_command_looks_for_garbage_again(tamis: Tamis) -> None:
    gc.disable()
    try:
        tamis("--help")
        assert not gc.isenabled()
        tamis("config", "schema")
        assert gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("command", COMMANDS)
def test_help(tamis: Tamis, command: tuple[str, ...]) -> None:
    result = tamis(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: tamis" in result.stdout
    assert result.stderr == ""


def test_exit_codes_are_in_the_help(tamis: Tamis) -> None:
    shown = " ".join(tamis("--help").stdout.split())
    for line in _EXIT_CODES.splitlines():
        assert " ".join(line.split()) in shown


@pytest.mark.parametrize(("arguments", "code"), FAILURES)
def test_failures_leave_stdout_empty(tamis: Tamis, folder: Path, arguments: tuple[str, ...], code: int) -> None:
    before = sorted(folder.rglob("*"))
    result = tamis(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("error[")
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("arguments", "code"), [case for case in FAILURES if case[0]])
def test_failures_are_objects_with_json(tamis: Tamis, folder: Path, arguments: tuple[str, ...], code: int) -> None:
    result = tamis(*arguments, "--json")
    failure = json.loads(result.stdout)["error"]
    assert failure.keys() == {"code", "message", "hint", "exit_code"}
    assert failure["exit_code"] == result.exit_code == code
    assert f"error[{failure['code']}]" in result.stderr


@pytest.mark.parametrize("kind", [DataError, HeldError, ConflictError, ResourceError, IntegrityError, TransientError])
def test_exit_code_of_each_kind(tamis: Tamis, folder: Path, pipeline: SimpleNamespace, kind: type[TamisError]) -> None:
    pipeline.error = kind("what\nand where", code="some-code", hint="do this")
    result = tamis("run", "--as-of", "2026-01-31")
    assert result.exit_code == kind.exit_code
    assert result.stdout == ""
    assert result.stderr == "error[some-code]: what\nand where\nhint: do this\n"


@pytest.mark.parametrize("command", ["fit", "score", "run", "check"])
def test_json_is_one_object(tamis: Tamis, folder: Path, pipeline: SimpleNamespace, command: str) -> None:
    result = tamis(command, "--as-of", "2026-01-31", "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    answer = json.loads(result.stdout)
    assert list(answer) == ["run_id", "as_of", "counts", "timings", "tables", "bundle"]
    assert answer["as_of"] == "2026-01-31"
    assert answer["tables"] == {"segments": {"path": "out/segments", "rows": 2469, "files": 3, "bytes": 12345}}
    assert result.stderr == ""


def test_summary_for_people(tamis: Tamis, folder: Path, pipeline: SimpleNamespace) -> None:
    result = tamis("run", "--as-of", "2026-01-31")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout == (
        "run r1 as of 2026-01-31\n\n"
        "1,234,577 rows read = 1,234,567 events kept + 1 at or after 2026-01-31 + 4 duplicates + 3 rejected"
        " + 2 left out\n"
        "  rejected of shop: 3 user_id_missing\n\n"
        "Events before 2026-01-31\n"
        "event type       kept  of which free\n"
        "purchase    1,234,567              7\n\n"
        "Segments: 8 users, each in one\n"
        "segment    users  share  mean spend\n"
        "champions      6  75.0%    1,234.50\n"
        "at_risk        2  25.0%        0.00\n"
        "nobody         0   0.0%           –\n\n"
        "table      rows  files     size  path\n"
        "segments  2,469      3  12.3 kB  out/segments\n\n"
        "bundle out/bundles/b1\n\n"
        "time   read 0.2 s, total 1.5 s\n"
    )


def test_summary_of_a_check(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"read": 10, "left_out": 1, "rejected": 2, "after_as_of": 3, "passed": 4}
    counts = {"rows": rows, "rejected": {}, "event_types": {"purchase": 7}, "contacts": {"read": 5}}
    print_summary(RunRecord("c1", date(2026, 1, 31), counts))
    print_summary(RunRecord("c1", None, counts | {"rows": rows | {"after_as_of": 0, "passed": 7}}))
    told = capsys.readouterr().out
    assert "10 rows read = 4 can be used + 3 at or after 2026-01-31 + 2 rejected + 1 left out\n" in told
    assert "10 rows read = 7 can be used + 2 rejected + 1 left out\n" in told
    assert "purchase       7\n" in told
    assert "contacts.read  5\n" in told


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_warnings_go_to_stderr(tamis: Tamis, folder: Path, pipeline: SimpleNamespace, options: tuple[str, ...]) -> None:
    pipeline.counts = {"warnings": ["no row is a click", "segment\x1b[1m 'a' is empty"]}
    result = tamis("run", "--as-of", "2026-01-31", *options)
    assert result.stderr == "warning: no row is a click\nwarning: segment[1m 'a' is empty\n"
    assert ("no row is a click" in result.stdout) == bool(options)
    assert tamis("run", "--as-of", "2026-01-31", "-q", *options).stderr == ""


def test_a_wrong_choice_says_what_was_expected(tamis: Tamis, folder: Path) -> None:
    error = tamis("run", "--as-of", "2026-01-31", "--executor", "spark").stderr
    assert error.startswith(
        "error[usage]: Invalid value for '--executor': expected one of 'local', 'ray', got 'spark'\n"
    )


def test_quiet(tamis: Tamis, folder: Path, pipeline: SimpleNamespace) -> None:
    result = tamis("run", "--as-of", "2026-01-31", "-q")
    assert (result.exit_code, result.output) == (0, "")


def test_options_reach_the_pipeline(tamis: Tamis, folder: Path, pipeline: SimpleNamespace) -> None:
    options = ("--out", "there", "--set", "out=elsewhere", "--set", "seed=0", "--executor", "local", "--bundle", "b1")
    options = (*options, "--accept", "jump", "--accept", "small:vip")
    assert tamis("score", "--as-of", "2026-01-31", *options).exit_code == 0
    [(name, config, as_of, executor, others)] = pipeline.calls
    assert name == "score"
    assert as_of == date(2026, 1, 31)
    assert config.out == str(folder / "there")
    assert config.seed == 0
    assert executor.name == "local"
    assert others == {"bundle": Path("b1"), "accept": ["jump", "small:vip"]}


def test_check_needs_no_day(tamis: Tamis, folder: Path, pipeline: SimpleNamespace) -> None:
    assert tamis("check").exit_code == 0
    assert pipeline.calls[0][2] is None


def test_version(tamis: Tamis) -> None:
    for option in ("--version", "-V"):
        result = tamis(option)
        assert result.exit_code == 0
        assert result.stdout.startswith("tamis ")
        for library in ("python", "polars", "ray", "lightgbm", "pyarrow"):
            assert library in result.stdout


def test_completion_is_offered(tamis: Tamis) -> None:
    assert "--install-completion" in tamis("--help").stdout


def in_a_process(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from jobs.app import main; main()", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_nothing_heavy_is_imported_for_the_help(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom jobs.app import main\nsys.argv = ['tamis', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'polars', 'ray', 'lightgbm', 'pyarrow', 'numpy', 'pydantic', 'rich.progress', 'engine.config'}\n"
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage: tamis" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "env", [{}, {"NO_COLOR": "1"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}]
)
def test_a_process_that_fails(tmp_path: Path, env: dict[str, str]) -> None:
    done = in_a_process("run", "--as-of", "2026-01-31", "-c", "\x1b[31mété.toml", cwd=tmp_path, **env)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    assert "error[config-not-found]" in done.stderr


def test_schema_and_show_do_not_need_data(folder: Path) -> None:
    done = in_a_process("config", "show", "--json", cwd=folder)
    assert done.returncode == 0
    assert json.loads(done.stdout)["values"]["seed"] == {"value": 1, "origin": "default"}
    assert done.stderr == ""
