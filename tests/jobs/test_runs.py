from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from typer.testing import Result

from engine.errors import HeldError
from engine.history.store import runs_folder, write_attempt
from tests.history.attempts import attempt, failed

Tamis = Callable[..., Result]


@pytest.fixture
def out(folder: Path) -> Path:
    (folder / "out").mkdir()
    return folder / "out"


@pytest.mark.parametrize("command", ["run", "score", "fit", "check"])
def test_every_run_leaves_a_record(tamis: Tamis, out: Path, pipeline: SimpleNamespace, command: str) -> None:
    pipeline.counts = {"warnings": ["guard empty: nobody is in 'x'"]}
    result = tamis(command, "--as-of", "2026-01-31", "--set", "seed=7")
    assert result.exit_code == 0
    assert result.stderr == "warning: guard empty: nobody is in 'x'\n"
    [told] = json.loads(tamis("runs", "list", "--json").stdout)["runs"]
    assert (told["command"], told["result"], told["as_of"], told["exit_code"]) == (command, "done", "2026-01-31", 0)
    assert told["run_ids"] == ["r1"]
    assert told["overrides"] == {"seed": 7}
    assert told["bundle"] == "b1"
    assert told["counts"]["users"] == 8
    assert told["timings"] == {"read": 0.25, "total": 1.5}
    assert told["tasks"] == {"total": 1, "done": 0, "retried": 0, "spilled": 0}
    assert told["warnings"] == [{"code": "guard-empty", "message": "guard empty: nobody is in 'x'", "held": False}]
    assert told["tables"] == {"segments": {"rows": 2469, "files": 3, "bytes": 12345}}


def test_a_held_run_is_recorded(tamis: Tamis, out: Path, pipeline: SimpleNamespace) -> None:
    pipeline.error = HeldError("nothing was published\n  jump: 'x'", code="publish-held", hint="Accept it.")
    assert tamis("run", "--as-of", "2026-01-31").exit_code == 4
    shown = tamis("runs", "show", "latest")
    assert shown.exit_code == 0
    assert "result          held, exit code 4\n" in shown.stdout
    assert "error           publish-held: nothing was published\n" in shown.stdout
    assert tamis("runs", "list", "--failed").stdout.count("publish-held") == 1


def test_a_refused_run_leaves_no_folder(tamis: Tamis, folder: Path, pipeline: SimpleNamespace) -> None:
    pipeline.error = HeldError("nothing was published", code="publish-held")
    before = sorted(folder.rglob("*"))
    assert tamis("run", "--as-of", "2026-01-31").exit_code == 4
    assert sorted(folder.rglob("*")) == before
    listed = tamis("runs", "list")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "no such run is recorded" in listed.stderr
    assert tamis("runs", "show", "latest").exit_code == 2


def test_commands_that_only_read_leave_none(tamis: Tamis, out: Path) -> None:
    tamis("config", "show")
    tamis("runs", "list")
    tamis("verify")
    assert not runs_folder(out).exists()


def test_list(tamis: Tamis, out: Path) -> None:
    for one in (
        attempt(0),
        failed(1),
        attempt(2, command="fit", as_of=None, counts={}, result="running", seconds=None),
    ):
        write_attempt(out, one)
    assert tamis("runs", "list").stdout == (
        "when (UTC)           as of       command  result                 seconds  users  warnings"
        "  run\n"
        "2026-03-01 04:32:00  –           fit      running                      –      –         1"
        "  20260301T043200Z-000002\n"
        "2026-03-01 04:31:00  2026-03-01  run      failed (reject-share)      2.0      –         1"
        "  20260301T043100Z-000001\n"
        "2026-03-01 04:30:00  2026-03-01  run      done                       2.0     80         1"
        "  20260301T043000Z-000000\n"
    )
    assert tamis("runs", "list", "--limit", "1").stdout.count("\n") == 2
    assert tamis("runs", "list", "--failed").stdout.count("\n") == 2
    assert tamis("runs", "list", "--as-of", "2026-03-01").stdout.count("\n") == 3
    assert tamis("runs", "list", "--as-of", "1.3.2026").exit_code == 2


def test_show(tamis: Tamis, out: Path) -> None:
    write_attempt(out, attempt(0))
    told = tamis("runs", "show", "20260301T043000Z-000000").stdout
    for part in (
        "command         run as of 2026-03-01\n",
        "ids             fit-2026-03-01-aa, score-2026-03-01-bb\n",
        "configuration   /etc/tamis.toml (c0ffee)\n",
        "input           2 files, 1,000 rows, 12.3 kB (fee1)\n",
        "tasks           5 of 5, 1 run again\n",
        "peak memory     268.4 MB\n",
        "rows.rejected     10\n",
        "warm            66\n",
        "segments    80      3  4.6 kB\n",
        "1 warning\n  stale-log: the last event is of 2026-01-01\n",
    ):
        assert part in told
    assert json.loads(tamis("runs", "show", "latest", "--json").stdout)["attempt"] == attempt(0).attempt
    unknown = tamis("runs", "show", "20260301T043000Z-00000f", "--json")
    assert json.loads(unknown.stdout)["error"]["code"] == "run-unknown"


def test_table(tamis: Tamis, out: Path) -> None:
    for number in range(3):
        write_attempt(out, attempt(number))
    done = tamis("runs", "table", "--to", "history.parquet")
    assert done.stdout == "3 runs in history.parquet\n"
    assert pl.read_parquet("history.parquet")["attempt"].to_list() == [attempt(n).attempt for n in range(3)]
    assert json.loads(tamis("runs", "table", "--to", "h.parquet", "--json").stdout)["rows"] == 3


def test_the_history_stays_when_the_output_is_tidied(tamis: Tamis, out: Path) -> None:
    write_attempt(out, attempt(0))
    assert tamis("gc").exit_code == 0
    verified = tamis("verify", "--json")
    assert (verified.exit_code, json.loads(verified.stdout)["leftovers"]) == (0, [])
    assert len(json.loads(tamis("runs", "list", "--json").stdout)["runs"]) == 1
