from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run, score_run
from engine.rollups.index import read_index
from engine.rollups.update import store_folder
from engine.rollups.verify import whole_part
from engine.tables.publish import LISTING_SECONDS
from tests.samples import AS_OF, TOML, configuration, files, write_sample

LOCAL = LocalExecutor(threads=1)
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"}
USERS = 60
# Without models: to load LightGBM takes longer than the whole run.
QUICK = TOML[: TOML.index("[[targets]]")] + TOML[TOML.index("[clusters]") :].replace(
    "propensity_buys >= 0.5", "r_score = 5"
).replace("rows_per_task = 920", "rows_per_task = 460")  # Four buckets: more tasks to be killed in.

Tree = dict[str, bytes]


def published(out: Path) -> Tree | None:
    """What a reader finds who lists the published date and then opens each file; None when it has to list again."""
    folder = out / "segments" / f"as_of={AS_OF}"
    started = time.monotonic()
    try:
        paths = sorted(folder.glob("**/*.parquet"))
        if time.monotonic() - started > LISTING_SECONDS:
            return None
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}
    except FileNotFoundError:
        return None


@dataclass
class Reader:
    """Reads what is published, over and over, and keeps what is not one complete run."""

    out: Path
    complete: tuple[Tree, ...]
    seen: list[int] = field(default_factory=list)
    mixed: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.wait(0.002):
            found = published(self.out)
            if found in self.complete:
                self.seen.append(self.complete.index(found))
            elif found is not None:
                self.mixed.append(sorted(found))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def start_scorer(out: Path, configs: list[Path]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("scorer.py"), out, *configs],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def start_command(out: Path, config: Path) -> subprocess.Popen[str]:
    command = ["score", "-c", config, "--out", out, "--as-of", str(AS_OF)]
    return subprocess.Popen(
        [sys.executable, "-c", "from jobs.app import main; main()", *command],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> int:
    process.kill()
    process.communicate()
    return process.returncode


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two logs of the same users and one bundle for both."""
    written = [
        write_sample(tmp_path_factory.mktemp(name), USERS, seed=seed, toml=QUICK) for name, seed in (("a", 7), ("b", 8))
    ]
    bundles = [configuration(config).out for config in written]
    fit_run(configuration(written[0]), AS_OF, executor=LOCAL)
    shutil.copytree(bundles[0], bundles[1])
    return written


@pytest.mark.slow
@pytest.mark.parametrize("kills", [50])
def test_a_reader_sees_one_complete_run_whenever_score_is_killed(
    configs: list[Path], tmp_path: Path, kills: int
) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    trees, seconds = [], []
    for config in configs:
        started = time.monotonic()
        score_run(configuration(config), AS_OF, executor=LOCAL)
        seconds.append(time.monotonic() - started)
        trees.append(files(Path(configuration(config).out)))
    complete = tuple(
        {name: content for name, content in tree.items() if name.startswith("segments/") and name.endswith(".parquet")}
        for tree in trees
    )
    assert complete[0].keys().isdisjoint(complete[1])

    out = tmp_path / "out"
    store = store_folder(out)
    shutil.copytree(configuration(configs[0]).out, out)
    reader = Reader(out, complete)
    killed_in = {"anywhere": 0, "publishing": 0, "command": 0}
    victim = scorer = start_scorer(out, configs)
    try:
        for kill in range(kills):
            if kill % 5 == 4:
                # A real command, its start included.
                mode, victim = "command", start_command(out, configs[kill % 2])
                time.sleep(moments.uniform(0.3, 1 + 2 * seconds[0]))
            else:
                mode, victim = ("anywhere", "publishing")[kill % 2], scorer
                assert victim.stdout is not None
                assert victim.stdin is not None
                assert victim.stdout.readline() == "ready\n", f"seed {seed}"
                victim.stdin.write(f"{configs[moments.randrange(2)]}\n")
                scorer = start_scorer(out, configs)
                if mode == "publishing":
                    assert victim.stdout.readline() == "publishing\n", f"seed {seed}"
                    time.sleep(moments.uniform(0, 0.3))
                else:
                    time.sleep(moments.uniform(0, 2.5 * seconds[0]))
            status = end(victim)
            # A command may have been faster than its kill.
            assert status == -signal.SIGKILL or (mode, status) == ("command", 0), f"seed {seed}"
            killed_in[mode] += status == -signal.SIGKILL
            # Whatever the index names is there and whole; a run trusts nothing else.
            index = read_index(store)
            assert whole_part(index, store, LOCAL) == (index, set()), f"seed {seed}"
            if kill % 3 == 0:
                continue  # the next one finds what this one left
            next_run = kill % 2
            score_run(configuration(configs[next_run], out=str(out)), AS_OF, executor=LOCAL)
            assert files(out) == trees[next_run], f"seed {seed}"
        score_run(configuration(configs[1], out=str(out)), AS_OF, executor=LOCAL)
    finally:
        reader.stop()
        for process in (victim, scorer):
            end(process)
    assert reader.mixed == [], f"seed {seed}"
    assert set(reader.seen) == {0, 1}, f"seed {seed}"
    assert min(killed_in["anywhere"], killed_in["publishing"]) > 0
    assert files(out) == trees[1], f"seed {seed}"
    assert [path.name for path in (out / "_work").iterdir()] == ["lock"], f"seed {seed}"
