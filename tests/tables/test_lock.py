from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import ConflictError, ExitCode
from engine.tables.lock import check_held, writer_lock

HOLDER = """
import pathlib, sys, time
from engine.tables.lock import check_held, writer_lock
with writer_lock(pathlib.Path(sys.argv[1]), "first"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_told_who_holds_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(ConflictError) as caught, writer_lock(tmp_path, "second"):
        pass
    assert caught.value.exit_code is ExitCode.CONFLICT
    assert caught.value.code == "out-locked"
    for part in ("run first", f"process {holder.pid}", socket.gethostname(), str(tmp_path)):
        assert part in str(caught.value)
    with writer_lock(tmp_path / "elsewhere", "second"):
        pass


def test_a_killed_holder_holds_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with (
        writer_lock(tmp_path, "second"),
        pytest.raises(ConflictError, match="run second"),
        writer_lock(tmp_path, "third"),
    ):
        pass


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_holder_without_a_readable_name(tmp_path: Path, content: bytes | None) -> None:
    record = tmp_path / "_work" / "holder.json"
    with writer_lock(tmp_path, "first"):
        record.unlink()
        if content is not None:
            record.write_bytes(content)
        with pytest.raises(ConflictError, match="just started"), writer_lock(tmp_path, "second"):
            pass


def test_it_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), writer_lock(tmp_path, "first"):
        raise RuntimeError
    with writer_lock(tmp_path, "second"):
        pass
    assert [path.name for path in (tmp_path / "_work").iterdir()] == ["lock"]


def test_a_killed_holder_is_not_named_to_those_who_come_later(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    record = tmp_path / "_work" / "holder.json"
    left = record.read_bytes()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert record.read_bytes() == left
    with writer_lock(tmp_path, "second"):
        # As in the moment before the new holder has written its name.
        named = record.read_bytes()
        record.write_bytes(left)
        with pytest.raises(ConflictError, match="it has just started"), writer_lock(tmp_path, "third"):
            pass
        record.write_bytes(left.replace(socket.gethostname().encode(), b"elsewhere"))
        with pytest.raises(ConflictError, match=f"run first, process {holder.pid} on elsewhere, since 20"):
            writer_lock(tmp_path, "third").__enter__()
        record.write_bytes(named)


def test_a_lock_that_another_took_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_held(tmp_path)
    with writer_lock(tmp_path, "first"):
        check_held(tmp_path)
        record = tmp_path / "_work" / "holder.json"
        taken = b'{"host": "elsewhere", "pid": 7, "run_id": "second", "started": "2026-01-01T00:00:00+00:00"}'
        record.write_bytes(taken)
        with pytest.raises(ConflictError) as caught:
            check_held(tmp_path)
        assert caught.value.code == "lock-lost"
        assert "run second, process 7 on elsewhere, since 2026-01-01" in caught.value.message
    # It is the other's to remove.
    assert record.read_bytes() == taken
