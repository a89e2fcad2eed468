from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from jobs.console import clean, plural, print_table, run_guarded

ROOT = Path(__file__).parents[2]


def raising(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (DataError("m", code="c", hint="h"), 3, "c"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 6, "out-of-memory"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 6, "disk-full"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "permission-denied"),
        (OSError(errno.EIO, "Input/output error"), 1, "bug"),
        (ValueError("odd"), 1, "bug"),
        (pl.exceptions.PanicException("odd"), 1, "bug"),
    ],
)
def test_failures(capsys: pytest.CaptureFixture[str], error: BaseException, code: int, name: str) -> None:
    assert run_guarded(raising(error), as_json=True) == code
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == name
    assert f"error[{name}]: " in err
    assert "hint: " in err
    assert ("Traceback" in err) == (name == "bug")


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (lambda: None, 0),
        (lambda: 4, 4),
        (lambda: "text", 0),
        (raising(SystemExit()), 0),
        (raising(SystemExit(5)), 5),
        (raising(SystemExit("text")), 1),
        (raising(SystemExit(signal.SIGTERM)), 143),
    ],
)
def test_ways_to_end(capsys: pytest.CaptureFixture[str], action: Callable[[], object], code: int) -> None:
    assert run_guarded(action, as_json=True) == code
    assert capsys.readouterr() == ("", "")


def test_interrupt_as_typer_reports_it(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.command()(raising(KeyboardInterrupt()))
    assert run_guarded(lambda: app(args=[], standalone_mode=False), as_json=False) == 130
    assert capsys.readouterr().err.startswith("error[interrupted]")


def test_sigterm_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_guarded(lambda: None, as_json=False)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals(tmp_path: Path, number: signal.Signals, code: int) -> None:
    script = (
        "import sys, time, pathlib\nfrom jobs.console import run_guarded\n"
        "def action():\n    pathlib.Path('ready').touch()\n    time.sleep(30)\n"
        "sys.exit(run_guarded(action, as_json=False))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "ready").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert out == ""
    assert err.startswith("error[")
    assert "Traceback" not in err


@given(st.text())
def test_clean_text_cannot_drive_a_terminal(text: str) -> None:
    cleaned = clean(text)
    assert not any(ord(c) < 32 and c not in "\t\n" for c in cleaned)
    assert not any(0x7F <= ord(c) <= 0x9F or c in "\u202e\u2066\u200f" for c in cleaned)
    assert clean(cleaned) == cleaned


def test_tables_align(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "rows"), [("été\n2", 1234), ("\x1b[1mb", 5)])
    assert capsys.readouterr().out == "name    rows\nété 2  1,234\n[1mb       5\n"
    print_table(("name", "rows"), [])
    assert capsys.readouterr().out == "name  rows\n"


def test_numbers_written_as_text_stand_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("day", "share", "spend", "path"), [("7", "24.5%", "1,234.50", "1/a"), ("30", "1.0%", "–", "2")])
    assert capsys.readouterr().out == "day  share     spend  path\n7    24.5%  1,234.50  1/a\n30    1.0%         –  2\n"


@pytest.mark.parametrize(("count", "text"), [(0, "0 files"), (1, "1 file"), (1200, "1,200 files")])
def test_plural(count: int, text: str) -> None:
    assert plural(count, "file") == text
