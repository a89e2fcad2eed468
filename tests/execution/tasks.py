"""What the tests of the executors let them run; top-level functions, as every task."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from engine.errors import DataError, TransientError


@dataclass(frozen=True)
class Attempts:
    """A task that counts its attempts in a file, and fails until `succeed_at`."""

    file: str
    succeed_at: int = 1_000


def attempt(task: Attempts) -> int:
    with Path(task.file).open("a", encoding="utf-8") as log:
        log.write("x")
    return len(Path(task.file).read_text(encoding="utf-8"))


def double(task: int) -> int:
    return 2 * task


def double_late(task: int) -> int:
    # The first task is the last to be done.
    time.sleep(0.3 if task == 0 else 0.0)
    return 2 * task


def refuse(task: Attempts) -> int:
    attempt(task)
    raise DataError("what\nand where", code="some-code", hint="do this")


def refuse_until(task: Attempts) -> int:
    attempts = attempt(task)
    if attempts < task.succeed_at:
        raise DataError("what\nand where", code="some-code", hint="do this")
    return attempts


def break_down(task: Attempts) -> int:
    attempt(task)
    return {"a": 1}["b"]


class Stubborn(Exception):  # noqa: N818 - what an odd library might raise
    """An exception that cannot cross a process border."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.handle = Path("/dev/null").open("rb")  # noqa: SIM115 - held by the exception on purpose
        self.second = second


def break_stubbornly(task: Attempts) -> int:
    attempt(task)
    raise Stubborn("the file is odd", "x")


def fail_to_read(task: Attempts) -> int:
    attempts = attempt(task)
    if attempts < task.succeed_at:
        raise FileNotFoundError(2, "No such file or directory", "part.parquet")
    return attempts


def miss_the_store(task: Attempts) -> int:
    attempts = attempt(task)
    if attempts < task.succeed_at:
        raise TransientError("the store does not answer", code="storage-unreachable", hint="again")
    return attempts


def die(task: Attempts) -> int:
    attempts = attempt(task)
    if attempts < task.succeed_at:
        os._exit(1)
    return attempts


def die_by_signal(task: Attempts) -> int:
    attempts = attempt(task)
    if attempts < task.succeed_at:
        os.kill(os.getpid(), signal.SIGSEGV)
    return attempts


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def threads(variables: tuple[str, ...]) -> tuple[dict[str, str | None], int]:
    import polars as pl

    return {name: os.environ.get(name) for name in variables}, pl.thread_pool_size()


def process_id(_: int) -> int:
    return os.getpid()


def panic(task: Attempts) -> int:
    import polars as pl

    attempt(task)
    raise pl.exceptions.PanicException("index out of bounds")


def hang(task: Attempts) -> int:
    attempts = attempt(task)
    if attempts < task.succeed_at:
        time.sleep(60)
    return attempts


def variables(names: tuple[str, ...]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}
