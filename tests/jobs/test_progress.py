from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from engine.progress import ProgressEvent
from jobs.progress import details, progress_bars

ROOT = Path(__file__).parents[2]
SCRIPT = """
import time
from engine.progress import ProgressEvent
from jobs.progress import progress_bars
with progress_bars(quiet={quiet}) as progress:
    if progress is not None:
        progress(ProgressEvent("quick", 0, 1))
        progress(ProgressEvent("quick", 1, 1))
        # Of a fit, and then of the scoring or of the next date.
        progress(ProgressEvent("slow", 0, 8))
        progress(ProgressEvent("slow", 8, 8))
        progress(ProgressEvent("slow", 0, 8))
        time.sleep(1.3)
        progress(ProgressEvent("slow", 3, 8))
        time.sleep(0.2)
"""


def on_a_terminal(*, quiet: bool) -> str:
    reader, writer = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT.format(quiet=quiet)], env=env, stderr=writer)
    os.close(writer)
    seen = b""
    try:
        while chunk := os.read(reader, 4096):
            seen += chunk
    except OSError:  # Linux reports the closed terminal as an error.
        pass
    finally:
        os.close(reader)
    assert process.wait(timeout=20) == 0
    return seen.decode()


def test_only_slow_stages_are_shown_on_a_terminal() -> None:
    seen = on_a_terminal(quiet=False)
    assert "slow" in seen
    assert "3/8" in seen
    assert "quick" not in seen


def test_quiet_on_a_terminal() -> None:
    assert on_a_terminal(quiet=True) == ""


def test_nothing_when_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars(quiet=False) as progress:
        assert progress is None
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("event", "seconds", "text"),
    [
        (ProgressEvent("score", 1, 2), 5.0, ""),
        (ProgressEvent("score", 1, 2, rows=5_000_000, bytes=20_000_000), 0.0, ""),
        (ProgressEvent("score", 1, 2, rows=5_000_000), 2.5, "2,000,000 rows/s"),
        (
            ProgressEvent("score", 1, 2, rows=10, bytes=20_000_000, retried=1, spilled=1_500_000_000),
            10.0,
            "1 rows/s, 2.0 MB/s, 1 task retried, 1.5 GB spilled",
        ),
    ],
)
def test_what_is_said_beside_the_tasks(event: ProgressEvent, seconds: float, text: str) -> None:
    assert details(event, seconds) == text
