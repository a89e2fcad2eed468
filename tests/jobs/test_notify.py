from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import Result

from engine.errors import HeldError
from engine.tables.manifest import Manifest

Tamis = Callable[..., Result]
RUN = ("run", "--as-of", "2026-01-31")


@pytest.fixture
def teller(folder: Path) -> str:
    """A command that writes what it is told to `told.json`."""
    script = folder / "told.py"
    script.write_text("import sys; open('told.json', 'wb').write(sys.stdin.buffer.read())\n", encoding="utf-8")
    return shlex.join([sys.executable, "-S", str(script)])


def told(folder: Path) -> dict[str, object] | None:
    path = folder / "told.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def test_a_held_publish_is_told(tamis: Tamis, folder: Path, pipeline: SimpleNamespace, teller: str) -> None:
    assert tamis(*RUN, "--notify-command", teller).exit_code == 0
    assert told(folder) is None
    pipeline.error = HeldError("held", code="publish-held")
    assert tamis(*RUN, "--notify-command", teller).exit_code == 4
    got = told(folder)
    assert got is not None
    assert (got["result"], got["exit_code"], got["as_of"]) == ("held", 4, "2026-01-31")


def test_every_end_is_told_when_asked(tamis: Tamis, folder: Path, pipeline: SimpleNamespace, teller: str) -> None:
    assert tamis(*RUN, "--notify-command", teller, "--notify-on", "always").exit_code == 0
    got = told(folder)
    assert got is not None
    assert got["result"] == "done"


def test_a_wrong_configuration_is_told(tamis: Tamis, folder: Path, teller: str) -> None:
    assert tamis(*RUN, "--notify-command", teller, "--set", "seeed=3", "--metrics-file", "m.prom").exit_code == 2
    got = told(folder)
    assert got is not None
    assert (got["result"], got["exit_code"]) == ("failed", 2)
    assert 'tamis_run_exit_code{command="run"} 2\n' in (folder / "m.prom").read_text(encoding="utf-8")


def test_its_failure_is_a_warning_and_changes_no_exit_code(
    tamis: Tamis, folder: Path, pipeline: SimpleNamespace
) -> None:
    pipeline.error = HeldError("held", code="publish-held")
    result = tamis(*RUN, "--notify-command", "/no/such/program")
    assert result.exit_code == 4
    assert result.stderr.startswith("warning: nobody was told how the run ended: '/no/such/program' cannot be started")
    pipeline.error = None
    result = tamis(*RUN, "--notify-command", "/no/such/program", "--notify-on", "always")
    assert result.exit_code == 0
    assert "nobody was told" in result.stderr


@pytest.mark.parametrize("command", ["'", " "])
def test_a_command_that_is_none(tamis: Tamis, folder: Path, pipeline: SimpleNamespace, command: str) -> None:
    result = tamis(*RUN, "--notify-command", command)
    assert result.exit_code == 2
    assert "expected a program and its arguments" in result.stderr
    assert pipeline.calls == []


@pytest.mark.parametrize(("code", "exit_code"), [("0", 0), ("99", 99), ("4", 2), ("126", 2), ("-1", 2)])
def test_codes_of_a_run_that_has_nothing_to_do(
    tamis: Tamis,
    folder: Path,
    pipeline: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    exit_code: int,
) -> None:
    (folder / "out").mkdir()
    done = Manifest("score-1", date(2026, 1, 31), None, {}, {}, ())
    monkeypatch.setattr("engine.schedule.settle.finish", lambda *others: done)
    result = tamis(*RUN, "--if-done", "skip", "--noop-exit-code", code)
    assert result.exit_code == exit_code, result.stderr
    if exit_code != 2:
        [told] = json.loads(tamis("runs", "list", "--json").stdout)["runs"]
        assert (told["result"], told["exit_code"]) == ("skipped", exit_code)


@pytest.mark.parametrize("wrong", [False, True])
def test_the_program_gets_no_key(
    tamis: Tamis, folder: Path, pipeline: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, *, wrong: bool
) -> None:
    script = folder / "told.py"
    script.write_text("import json, os; json.dump(dict(os.environ), open('told.json', 'w'))\n", encoding="utf-8")
    monkeypatch.setenv("TAMIS_KEY", "0f" * 32)
    monkeypatch.setenv("SHOP_KEY", "1e" * 32 + " " + "2d" * 32)
    monkeypatch.setenv("KEPT", "yes")
    more = ["--set", "seeed=3"] if wrong else ["--set", 'privacy.key_env="SHOP_KEY"']
    command = shlex.join([sys.executable, "-S", str(script)])
    status = tamis(*RUN, "--notify-command", command, "--notify-on", "always", *more).exit_code
    assert status == (2 if wrong else 0)
    got = told(folder)
    assert got is not None
    assert got["KEPT"] == "yes"
    assert not {"TAMIS_KEY", "SHOP_KEY"} & got.keys()
    assert not any("0f0f" in str(value) or "1e1e" in str(value) for value in got.values())
