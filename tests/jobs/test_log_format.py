from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from engine.errors import DataError
from jobs.console import structured

Tamis = Callable[..., Result]
ROOT = Path(__file__).parents[2]
RUN = ("run", "--as-of", "2026-01-31")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("how", ["option", "file"])
def test_stderr_is_a_log_for_programs(tamis: Tamis, folder: Path, pipeline: SimpleNamespace, how: str) -> None:
    pipeline.counts = {"warnings": ["the log has no event of type 'x'; the features over it are 0 or null"]}
    if how == "file":
        config = folder / "tamis.toml"
        config.write_text(config.read_text(encoding="utf-8") + '[watch]\nlog_format = "json"\n', encoding="utf-8")
    result = tamis(*RUN, *(["--log-format", "json"] if how == "option" else []))
    assert result.exit_code == 0
    assert result.stdout.startswith("run r1")
    told = lines(result.stderr)
    assert [line["event"] for line in told] == ["run-begun", "tasks-begun", "warning", "not-recorded", "run-ended"]
    assert {(line["command"], line["as_of"]) for line in told} == {("run", "2026-01-31")}
    assert told[2]["code"] == "event-type-missing"
    assert structured() is None


def test_a_failure_is_one_line(tamis: Tamis, folder: Path, pipeline: SimpleNamespace) -> None:
    pipeline.error = DataError("value 'ada' is odd\n  'ada' in row 3", code="odd", hint="Look.")
    result = tamis(*RUN, "--log-format", "json", "--json")
    assert result.exit_code == 3
    # Whoever asks for the object gets the whole message; the log holds nothing of the data.
    assert json.loads(result.stdout)["error"]["message"] == "value 'ada' is odd\n  'ada' in row 3"
    errors = [line for line in lines(result.stderr) if line["level"] == "error"]
    assert [(line["event"], line["code"], line["error"], line["hint"]) for line in errors] == [
        ("run-ended", "odd", "value '…' is odd", "Look.")
    ]
    assert "ada" not in result.stderr


def test_a_wrong_configuration_is_a_line_too(tamis: Tamis, folder: Path) -> None:
    result = tamis(*RUN, "--log-format", "json", "--set", "seeed=3")
    assert result.exit_code == 2
    [line] = lines(result.stderr)
    assert (line["event"], line["code"], line["exit_code"]) == ("error", "config-invalid", 2)
    assert "seeed" in line["message"]
    assert tamis(*RUN, "--set", "seeed=3").stderr.startswith("error[config-invalid]")


def test_a_log_file_that_cannot_be_opened(tamis: Tamis, folder: Path, pipeline: SimpleNamespace) -> None:
    for form in ("text", "json"):
        result = tamis(*RUN, "--log-file", "no/x.log", "--log-format", form)
        assert result.exit_code == 2
        assert "log-file" in result.stderr
    assert pipeline.calls == []


def test_a_log_file_beside_sentences(tamis: Tamis, folder: Path, pipeline: SimpleNamespace) -> None:
    pipeline.counts = {"warnings": ["odd"]}
    result = tamis(*RUN, "--log-file", "run.log")
    assert result.stderr == "warning: odd\n"
    told = (folder / "run.log").read_text(encoding="utf-8")
    assert "WARNING" in told
    assert "run done after" in told.splitlines()[-1]


def test_a_terminated_run_says_so_in_its_record_and_log(folder: Path) -> None:
    (folder / "out").mkdir()
    program = (
        "import sys, time\n"
        "from types import ModuleType\n"
        "fake = ModuleType('engine.pipeline')\n"
        "fake.run = lambda *a, **k: (print('ready', flush=True), time.sleep(60))\n"
        "sys.modules['engine.pipeline'] = fake\n"
        "import engine\n"
        "engine.pipeline = fake\n"
        "from jobs.app import main\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *RUN, "--log-format", "json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    [path] = (folder / "out" / "_runs").iterdir()
    assert json.loads(path.read_text(encoding="utf-8"))["result"] == "running"
    process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    _, stderr = process.communicate(timeout=30)
    assert time.monotonic() - start < 5
    assert process.returncode == 143
    assert [line["event"] for line in lines(stderr)][-1] == "run-ended"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert (record["result"], record["exit_code"], record["error"]["code"]) == ("interrupted", 143, "terminated")
