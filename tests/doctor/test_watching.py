from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config import Config
from engine.doctor.watching import check_watch
from engine.errors import ExitCode

Make = Callable[..., Any]


def test_nothing_is_told_of_what_is_not_configured(subject: Make, config: Callable[..., Config]) -> None:
    assert list(check_watch(subject())) == []
    assert list(check_watch(subject(config()))) == []


@pytest.mark.parametrize(
    ("key", "value", "status", "words"),
    [
        ("log_file", "{here}/run.log", "ok", "can be written"),
        ("log_file", "{here}/none/run.log", "failed", "no run begins"),
        ("log_file", "{here}", "failed", "cannot be written"),
        ("metrics_file", "{here}/tamis.prom", "ok", "can be written"),
        ("metrics_file", "{here}/none/tamis.prom", "warning", "there is no folder"),
        ("metrics_file", "{here}/tamis.txt", "warning", "end in .prom"),
        ("notify_command", "{here}/tell --token abc", "ok", "is run when a run fails"),
        ("notify_command", "tell", "ok", "is run when a run fails"),
        ("notify_command", "{here}/tel --token abc", "warning", "nobody is told"),
        ("notify_command", "{here}/plain", "warning", "nobody is told"),
    ],
)
def test_what_a_run_needs_to_tell_of_itself(
    subject: Make, config: Callable[..., Config], tmp_path: Path, key: str, value: str, status: str, words: str
) -> None:
    (tmp_path / "plain").touch()
    program = tmp_path / "tell"
    program.write_text("#!/bin/sh\n", encoding="ascii")
    program.chmod(0o755)
    made = config(watch={key: value.replace("{here}", str(tmp_path))})
    [finding] = check_watch(subject(made, environment={"PATH": str(tmp_path)}))
    assert (finding.check, finding.status) == (key, status)
    assert words in finding.said
    assert "abc" not in f"{finding}"
    assert finding.exit_code == (ExitCode.USAGE if status == "failed" else ExitCode.DONE)
    assert bool(finding.fix) == (status != "ok")
