from __future__ import annotations

import os
import signal
import subprocess
import sys
import time as real_time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.config_schedule import Schedule
from engine.errors import ConflictError, ExitCode
from engine.schedule.pause import Pause
from engine.schedule.waiting import LOOK_SECONDS, TRY_SECONDS, in_turn
from engine.tables.lock import writer_lock

ROOT = Path(__file__).parents[2]
HOLDER = """
import pathlib, sys, time
from engine.tables.lock import writer_lock
with writer_lock(pathlib.Path(sys.argv[1]), "first"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
WAITER = """
import pathlib, sys
from engine.config_schedule import Schedule
from engine.schedule.waiting import in_turn
from engine.tables.lock import writer_lock
out = pathlib.Path(sys.argv[1])
def action():
    with writer_lock(out, "second"):
        pass
in_turn(action, out, Schedule(overlap="wait"), tell=lambda text: print("waiting", flush=True))
"""


@dataclass
class Locked:
    """A run that finds the output locked until a moment."""

    until: float
    now: float = 0.0
    tries: list[float] = field(default_factory=list)

    def __call__(self) -> str:
        self.tries.append(self.now)
        if self.now < self.until:
            raise ConflictError("run first has it", code="out-locked", hint="wait")
        return "done"

    def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= LOOK_SECONDS
        self.now += seconds

    @property
    def pause(self) -> Pause:
        return Pause(lambda: self.now, self.sleep)


def waits(minutes: float) -> Schedule:
    return Schedule(overlap="wait", overlap_wait_minutes=minutes)


@pytest.mark.parametrize("schedule", [Schedule(), Schedule(overlap_wait_minutes=60), waits(0)])
def test_it_stops_at_once(tmp_path: Path, schedule: Schedule) -> None:
    run = Locked(until=5)
    with pytest.raises(ConflictError, match=r"run first has it$"):
        in_turn(run, tmp_path, schedule, tell=pytest.fail, pause=run.pause)
    assert run.tries == [0]


def test_it_waits_and_says_for_whom_once(tmp_path: Path) -> None:
    run, told = Locked(until=200), []
    assert in_turn(run, tmp_path, waits(10), tell=told.append, pause=run.pause) == "done"
    assert told == ["waiting up to 600 seconds: run first has it"]
    assert 200 <= run.now < 200 + TRY_SECONDS


def test_it_gives_up_with_the_exit_code_of_a_conflict(tmp_path: Path) -> None:
    run = Locked(until=10_000)
    with pytest.raises(ConflictError, match="run first has it; waited 120 seconds") as caught:
        in_turn(run, tmp_path, waits(2), tell=lambda _: None, pause=run.pause)
    assert caught.value.exit_code is ExitCode.CONFLICT
    assert caught.value.code == "out-locked"
    assert run.now == pytest.approx(120)


def test_other_conflicts_are_not_waited_for(tmp_path: Path) -> None:
    def run() -> None:
        raise ConflictError("lost", code="lock-lost")

    with pytest.raises(ConflictError, match="lost"):
        in_turn(run, tmp_path, waits(10), tell=pytest.fail)


def test_the_lock_is_tried_rarely_while_the_same_run_holds_it(tmp_path: Path) -> None:
    run = Locked(until=240)
    with writer_lock(tmp_path, "first"):
        in_turn(run, tmp_path, waits(10), tell=lambda _: None, pause=run.pause)
    assert run.tries == pytest.approx([TRY_SECONDS * number for number in range(9)])


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_it_goes_on_soon_after_the_other_run_has_ended(tmp_path: Path) -> None:
    def run() -> float:
        with writer_lock(tmp_path, "second"):
            return real_time.monotonic()

    told: list[str] = []
    with start(HOLDER, tmp_path, 1) as holder:
        assert line(holder) == "held"
        began = in_turn(run, tmp_path, waits(1), tell=told.append)
        holder.wait()
        assert real_time.monotonic() - began < LOOK_SECONDS + 1
        assert holder.communicate() == ("", "")
    assert f"process {holder.pid}" in told[0]


def test_it_goes_on_soon_after_the_other_run_was_killed(tmp_path: Path) -> None:
    def run() -> str:
        with writer_lock(tmp_path, "second"):
            return "done"

    with start(HOLDER, tmp_path, 60) as holder:
        assert line(holder) == "held"

        def kill(_: str) -> None:
            holder.kill()
            holder.wait()

        began = real_time.monotonic()
        assert in_turn(run, tmp_path, waits(5), tell=kill) == "done"
        assert real_time.monotonic() - began < 2 * LOOK_SECONDS + 1


def test_an_interrupt_ends_the_wait(tmp_path: Path) -> None:
    with writer_lock(tmp_path, "first"), start(WAITER, tmp_path) as waiter:
        assert line(waiter) == "waiting"
        began = real_time.monotonic()
        waiter.send_signal(signal.SIGINT)
        _, errors = waiter.communicate(timeout=10)
        assert real_time.monotonic() - began < 5
        assert "KeyboardInterrupt" in errors
