from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from engine.doctor import examine as module
from engine.doctor.finding import Finding, Subject, failed, ok, warning
from engine.errors import ExitCode
from tests.security.conftest import CANARY, SECRETS

Tamis = Callable[..., Result]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asked for, and what it is told."""
    state: dict[str, Any] = {"findings": [ok("memory", "much of it", bytes=3)]}

    def examine(subject: Subject, *, probe_remote: bool = False) -> Iterator[Finding]:
        state["subject"], state["probe_remote"] = subject, probe_remote
        yield from state["findings"]

    monkeypatch.setattr(module, "examine", examine)
    return state


def test_findings_for_people(tamis: Tamis, folder: Path, examined: dict[str, Any]) -> None:
    examined["findings"] += [
        warning("disk", "slow\x1b[31m", "buy another"),
        failed("clock", "wrong", "set it", ExitCode.RESOURCES),
    ]
    result = tamis("doctor")
    assert result.exit_code == ExitCode.RESOURCES
    assert result.stdout == (
        "ok       configuration: tamis.toml\n"
        "ok       memory: much of it\n"
        "warning  disk: slow[31m\n"
        "         fix: buy another\n"
        "failed   clock: wrong\n"
        "         fix: set it\n"
        "4 checks: 2 ok, 1 warning, 1 failed\n"
    )
    quiet = tamis("doctor", "-q")
    assert quiet.exit_code == ExitCode.RESOURCES
    assert quiet.stdout.splitlines()[0] == "warning  disk: slow[31m"
    assert len(quiet.stdout.splitlines()) == 4


def test_findings_as_one_object(tamis: Tamis, folder: Path, examined: dict[str, Any]) -> None:
    result = tamis("doctor", "--json")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    answer = json.loads(result.stdout)
    assert (answer["status"], answer["exit_code"]) == ("ok", 0)
    assert [one["check"] for one in answer["findings"]] == ["configuration", "memory"]
    assert answer["findings"][1] == {
        "check": "memory",
        "status": "ok",
        "found": "much of it",
        "fix": "",
        "measured": {"bytes": 3},
    }


def test_options_reach_the_checks(tamis: Tamis, folder: Path, examined: dict[str, Any]) -> None:
    arguments = ("--out", "there", "--executor", "ray", "--address", "head:6379", "--set", "timezone='Asia/Tokyo'")
    assert tamis("doctor", *arguments, "--probe-remote").exit_code == 0
    subject = examined["subject"]
    assert subject.out == folder / "there"
    assert subject.address == "head:6379"
    assert subject.config.timezone == "Asia/Tokyo"
    assert examined["probe_remote"] is True


def test_without_a_configuration(
    tamis: Tamis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tamis("doctor", "--executor", "ray").exit_code == 0
    assert examined["subject"].config is None
    assert examined["subject"].out == tmp_path / "out"
    assert examined["subject"].execution.executor == "ray"


@pytest.mark.parametrize(
    ("text", "words"), [("seed = 'x'", "seed"), ("[[sources]\n", "tamis.toml"), (None, "nosuch.toml")]
)
def test_a_configuration_that_cannot_be_read(
    tamis: Tamis, folder: Path, examined: dict[str, Any], text: str | None, words: str
) -> None:
    if text is not None:
        (folder / "tamis.toml").write_text(text, encoding="utf-8")
    result = tamis("doctor", "-c", "tamis.toml" if text is not None else "nosuch.toml")
    assert result.exit_code == ExitCode.USAGE
    assert result.stdout.startswith("failed   configuration: ")
    assert words in result.stdout
    # The machine is looked at all the same.
    assert "memory: much of it" in result.stdout


def test_the_real_thing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", "from jobs.app import main; main()", "doctor", "--json"],
        cwd=folder,
        env={**os.environ, **dict.fromkeys(SECRETS, CANARY), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    spent = time.monotonic() - begun
    answer = json.loads(done.stdout)
    assert [one for one in answer["findings"] if one["status"] == "failed"] == []
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert CANARY not in done.stdout
    assert sorted(folder.rglob("*")) == before
    # Three seconds on a machine that does nothing else.
    assert spent < 15
