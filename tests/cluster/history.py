"""A shop with yesterday's tables and a week of new files: what today's run gives, on this process alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from engine.execution.local import LocalExecutor
from engine.pipeline import run
from tests.cluster.gates import Begun, Gates
from tests.samples import AS_OF, TOML, configuration, contacts, mail, shop, write_sample

ROOT = Path(__file__).parents[2]
YESTERDAY = AS_OF - timedelta(days=6)
NEW_FILES = 3
LIMIT = 300.0
"""Seconds after which a driver that has not ended is a failure of the test."""
INSIDE = {"_rollups", "_runs", "_work"}
REFIT = ("--set", "refit_after_days=1")


def published(out: Path) -> dict[str, str]:
    """The checksum of each file that readers see, bundles included, by its path."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] not in INSIDE
    }


def checksum(files: dict[str, str]) -> str:
    """One for all, short enough for a line."""
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:12]


def write_history(folder: Path) -> None:
    """The sample with the run of yesterday, and the files that came since."""
    # In four buckets, not in the two that most tests do with: a node more is to get one of them.
    write_sample(folder, toml=TOML.replace("rows_per_task = 920", "rows_per_task = 460"))
    since = datetime(YESTERDAY.year, YESTERDAY.month, YESTERDAY.day, tzinfo=UTC)
    new = {}
    for name, frame in {"shop": shop(), "mail": mail()}.items():
        frame.filter(pl.col("at") < since).write_parquet(folder / name / "000.parquet")
        new[name] = frame.filter(pl.col("at") >= since)
    contacts().write_parquet(folder / "contacts.parquet")
    config = configuration(folder / "tamis.toml", out=str(folder / "out"))
    run(config, YESTERDAY, executor=LocalExecutor(threads=1))
    for name, frame in new.items():
        for part in range(NEW_FILES):
            frame[part::NEW_FILES].write_parquet(folder / name / f"{part + 1:03d}.parquet")


@dataclass(frozen=True)
class History:
    """What all tests begin with, and what today's run has to give; made once.

    Attributes:
        folder: Where every run takes place: its path is in the configuration that a run is known by.
        kept: What is in it at the beginning.
        before: What is published at the beginning.
        expected: What is published by a run on this process alone, by its options.
    """

    folder: Path
    kept: Path
    before: dict[str, str]
    expected: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)

    def begin(self) -> Path:
        """The folder, as it is at the beginning."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.kept, self.folder)
        return self.folder

    def wanted(self, *options: str) -> dict[str, str]:
        """What `tamis run` publishes on this process alone with these options; the folder is as at the beginning."""
        if options not in self.expected:
            self.begin()
            command = [str(Path(sys.executable).with_name("tamis")), *arguments("local", options)]
            subprocess.run(command, cwd=self.folder, env=environment(), check=True, timeout=LIMIT)
            self.expected[options] = published(self.folder / "out")
            assert self.expected[options].keys() > self.before.keys()
            self.begin()
        return self.expected[options]


def make_history(folder: Path) -> History:
    """The history, in a folder of this one."""
    here = folder / "shop"
    here.mkdir()
    write_history(here)
    shutil.copytree(here, folder / "kept")
    return History(here, folder / "kept", published(here / "out"))


def arguments(executor: str, options: Sequence[str], *, quiet: bool = True) -> list[str]:
    return ["run", *(["--quiet"] if quiet else []), "--as-of", str(AS_OF), "--executor", executor, *options]


def environment(**others: str) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return mine | {"PYTHONPATH": str(ROOT), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_AUTH_MODE": "disabled"} | others


@dataclass(frozen=True)
class Ended:
    """A driver that has ended."""

    code: int
    said: str
    seconds: float


@dataclass
class Driver:
    """Today's run on a cluster, in a process of its own."""

    process: subprocess.Popen[str]
    gates: Gates
    folder: Path
    log: Path
    began: float = field(default_factory=time.monotonic)

    def wait_for(self, what: Callable[[], bool], seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, f"the driver ended: {self.log.read_text(encoding='utf-8')}"
            assert time.monotonic() < until, f"{[*map(str, self.gates.begun())]}"
            time.sleep(0.05)

    def held(self, stage: str, at: Callable[[Begun], bool] = lambda _: True) -> Begun:
        """The first attempt of a stage that fits, once it has begun."""
        self.wait_for(lambda: any(at(begun) for begun in self.gates.begun(stage)))
        return next(begun for begun in self.gates.begun(stage) if at(begun))

    def end(self, limit: float = LIMIT) -> Ended:
        since = time.monotonic()
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"no end in {limit} s: {self.log.read_text(encoding='utf-8')}") from error
        return Ended(code, self.log.read_text(encoding="utf-8"), time.monotonic() - since)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def start_driver(
    folder: Path,
    address: str,
    *,
    hold: Sequence[str] = (),
    options: Sequence[str] = (),
    inside: Sequence[str] = (),
    quiet: bool = True,
    feed: tuple[str, int, int] | None = None,
) -> Driver:
    """Start today's run on the cluster at an address, with some stages held.

    Args:
        folder: A copy of the history.
        address: Of the cluster.
        hold: Names of the functions whose tasks wait.
        options: Of `tamis run`.
        inside: The command that enters a host, when it is not this one.
        quiet: Whether it tells nothing of what it waits for.
        feed: A function, and how many bytes how many of its attempts take.
    """
    gates = Gates(folder / f"gates-{time.monotonic_ns()}")
    gates.folder.mkdir()
    for stage in hold:
        gates.hold(stage)
    if feed is not None:
        gates.feed(feed[0], feed[1], times=feed[2])
    log = gates.folder / "driver.log"
    command = [
        *inside,
        *(sys.executable, "-m", "tests.cluster.drive", str(gates.folder)),
        *arguments("ray", ["--address", address, *options], quiet=quiet),
    ]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=output, stderr=subprocess.STDOUT, text=True
        )
    return Driver(process, gates, folder, log)


def message(said: str) -> str:
    """The line that tells the error."""
    return next((line for line in said.splitlines() if line.startswith("error[")), "no message")
