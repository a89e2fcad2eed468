from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from engine.errors import DataError, TransientError
from engine.execution.local import LocalExecutor
from engine.execution.origin import Origin, this_origin
from engine.pipeline import score_run
from engine.rollups.maintain import Selection
from engine.rollups.update import store_folder
from engine.schedule.finished import look_at, read_new
from engine.stages.collecting import collect
from engine.stages.opening import open_run
from engine.stages.upkeep import rebuild
from engine.tables import disk
from engine.tables.layout import work_root
from tests.faults.restarter import Watched, job
from tests.samples import AS_OF, TOML, configuration, contacts, files, write_sample

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"}
# Without models: to load LightGBM takes longer than the whole run.
QUICK = TOML[: TOML.index("[[targets]]")] + TOML[TOML.index("[clusters]") :].replace(
    "propensity_buys >= 0.5", "r_score = 5"
).replace("rows_per_task = 920", "rows_per_task = 460")  # Four buckets: more tasks to be interrupted between.
USERS = 60
COMMAND: tuple[str | Path, ...] = (sys.executable, "-m", "tests.faults.restarter", "run")


class DiedError(BaseException):
    """As Ctrl-C: no error of a run."""


def die() -> None:
    raise DiedError


def ended(log: Path) -> Counter[str]:
    return Counter(log.read_text(encoding="utf-8").splitlines()) if log.exists() else Counter()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("restart"), USERS, toml=QUICK)


@pytest.fixture(scope="module")
def undisturbed(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Counter[str]]:
    """The files of a run, and its tasks by function."""
    folder = tmp_path_factory.mktemp("undisturbed")
    job("run", config, folder / "out", Watched(folder / "log"))
    return files(folder / "out"), functions(ended(folder / "log"))


def functions(tasks: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for told, number in tasks.items():
        found[told.split()[0]] += number
    return found


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_each_task_of_an_interrupted_run_is_run_once(
    config: Path, undisturbed: tuple[dict[str, bytes], Counter[str]], step: int, tmp_path: Path
) -> None:
    answer, tasks = undisturbed
    # Interrupted again and again, after each few tasks, in every stage.
    out, log, lives = tmp_path / "out", tmp_path / "log", 0
    while True:
        lives += 1
        before = ended(log).total()
        try:
            job("run", config, out, Watched(log, step, die))
        except DiedError:
            assert ended(log).total() == before + step
            assert lives <= tasks.total()
            continue
        break
    assert lives == 1 + tasks.total() // step
    assert functions(ended(log)) == tasks
    assert files(out) == answer
    assert [path.name for path in work_root(out).iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("number", "share"),
    [
        pytest.param("SIGKILL", 0.95, marks=pytest.mark.slow),
        *(
            pytest.param(number, share, marks=pytest.mark.slow)
            for number in ("SIGKILL", "SIGTERM", "SIGINT")
            for share in (0.1, 0.5, 0.9)
        ),
    ],
)
def test_a_killed_run_goes_on_where_it_stopped(
    config: Path, undisturbed: tuple[dict[str, bytes], Counter[str]], number: str, share: float, tmp_path: Path
) -> None:
    answer, tasks = undisturbed
    out, log = tmp_path / "out", tmp_path / "log"
    after = max(1, int(share * tasks.total()))
    command = [*COMMAND, config, out, log, number, str(after)]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == {"SIGKILL": -signal.SIGKILL, "SIGTERM": 143, "SIGINT": 130}[number], done.stderr
    assert ended(log).total() == after
    job("run", config, out, Watched(log))
    assert functions(ended(log)) == tasks
    assert files(out) == answer
    assert [path.name for path in work_root(out).iterdir()] == ["lock"]


@pytest.mark.slow
def test_a_run_killed_at_any_time(
    config: Path, undisturbed: tuple[dict[str, bytes], Counter[str]], tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    answer, _ = undisturbed
    for turn in range(8):
        out, log = tmp_path / str(turn) / "out", tmp_path / "log"
        for _ in range(3):
            command = [*COMMAND, config, out, log, "SIGINT", "0"]
            process = subprocess.Popen(command, env=ENVIRONMENT, cwd=ROOT, stderr=subprocess.DEVNULL)
            try:
                process.wait(rng.uniform(0.5, 4))
            except subprocess.TimeoutExpired:
                process.send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
                process.wait(30)
        job("run", config, out, LocalExecutor(threads=1))
        assert files(out) == answer, f"seed {seed}"


@dataclass(frozen=True)
class Interrupted:
    """A score that was interrupted near its end.

    Attributes:
        config: The configuration, in the folder of its input.
        out: The output root, where the bundle is.
        log: The tasks that ended.
    """

    config: Path
    out: Path
    log: Path


@pytest.fixture(scope="module")
def interrupted_once(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted")
    found = Interrupted(write_sample(folder / "log", USERS, toml=QUICK), folder / "out", folder / "tasks")
    job("fit", found.config, found.out, LocalExecutor(threads=1))
    with pytest.raises(DiedError):
        job("score", found.config, found.out, Watched(found.log, 8, die))
    [work] = [path for path in work_root(found.out).iterdir() if path.is_dir()]
    assert work.name.startswith("score-")
    return found


@pytest.fixture
def interrupted(interrupted_once: Interrupted, tmp_path: Path) -> Iterator[Interrupted]:
    """The same to go on with, at the same paths, which are part of what tasks are."""
    once = interrupted_once
    shutil.copytree(once.out, tmp_path / "out")
    shutil.copy(once.log, tmp_path / "tasks")
    # The file itself is kept: a copy of it would be another one.
    table = once.config.with_name("contacts.parquet")
    (tmp_path / table.name).hardlink_to(table)
    yield once
    shutil.rmtree(once.out)
    shutil.move(tmp_path / "out", once.out)
    (tmp_path / "tasks").replace(once.log)
    (tmp_path / table.name).replace(table)


@pytest.mark.parametrize(
    "changed", ["input", *(pytest.param(name, marks=pytest.mark.slow) for name in ("configuration", "code", "day"))]
)
def test_another_run_starts_from_nothing(
    interrupted: Interrupted, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out, log = interrupted.config, interrupted.out, interrupted.log
    before, day, settings = ended(log), AS_OF, {}
    assert before.total() == 8
    if changed == "configuration":
        settings = {"segments__warm__where": "engagement_score > 50"}
    elif changed == "code":
        monkeypatch.setattr("engine.identity.version", lambda name: f"another {name}")
    elif changed == "input":
        file.with_name("contacts.parquet").unlink()
        contacts(USERS + 1).write_parquet(file.with_name("contacts.parquet"))
    else:
        day = AS_OF + timedelta(days=1)
    score_run(configuration(file, out=str(out), **settings), day, executor=Watched(log))
    assert functions(ended(log) - before)["engine.stages.scoring:score_bucket"] == 4
    assert [path.name for path in work_root(out).iterdir()] == ["lock"]


def refuse() -> None:
    raise DataError("no", code="refused")


@pytest.mark.parametrize("first", [None, 6])
def test_a_refused_run_leaves_nothing(config: Path, first: int | None, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    if first is not None:
        with pytest.raises(DiedError):
            job("fit", config, out, Watched(log, first, die))
        assert store_folder(out).is_dir()
    with pytest.raises(DataError):
        job("fit", config, out, Watched(log, 1, refuse))
    # The run made the folder itself, in whichever of its lives.
    assert not out.exists()
    out.mkdir()
    with pytest.raises(DataError):
        job("fit", config, out, Watched(log, 6, refuse))
    assert disk.list_files(out) == {"_work/lock": 0}


def test_a_run_that_found_no_answer_goes_on(config: Path, tmp_path: Path) -> None:
    def lose() -> None:
        raise TransientError("gone", code="cluster-lost")

    out, log = tmp_path / "out", tmp_path / "log"
    with pytest.raises(TransientError):
        job("fit", config, out, Watched(log, 5, lose))
    job("fit", config, out, Watched(log))
    assert max(ended(log).values()) == 1


def test_a_table_of_features_goes_on(config: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    job("features", config, tmp_path / "answer" / "out", LocalExecutor(threads=1))
    with pytest.raises(DiedError):
        job("features", config, out, Watched(log, 6, die))
    job("features", config, out, Watched(log))
    assert ended(log).total() > 6
    assert files(tmp_path / "table") == files(tmp_path / "answer" / "table")


@pytest.mark.parametrize("read", ["rebuild", "backfill"])
def test_reading_the_log_alone_goes_on(config: Path, read: str, tmp_path: Path) -> None:
    log, settings = tmp_path / "log", configuration(config, out=str(tmp_path / "out"))

    def rolled(executor: Watched) -> None:
        if read == "rebuild":
            rebuild(settings, Selection(), executor=executor)
        else:
            read_new(look_at(open_run(settings)), executor)

    with pytest.raises(DiedError):
        rolled(Watched(log, 3, die))
    rolled(Watched(log))
    assert ended(log).total() > 3
    assert max(ended(log).values()) == 1
    assert [path.name for path in work_root(tmp_path / "out").iterdir()] == ["lock"]


def test_gc_removes_what_is_left(interrupted: Interrupted) -> None:
    out = interrupted.out
    [item] = [item for item in collect(out).items if item.kind == "work"]
    assert item.name.startswith("_work/score-")
    assert item.files > 0
    assert [path.name for path in work_root(out).iterdir()] == ["lock"]


@pytest.mark.parametrize("harm", ["missing", "resized", "torn", "edited", "started again", "no start told"])
def test_what_is_not_sure_is_done_again(interrupted: Interrupted, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, log = interrupted.out, interrupted.log
    [work] = [path for path in work_root(out).iterdir() if path.is_dir()]
    [lines] = work.glob("_tasks/done-*.log")
    first, again = ended(log), 1
    written = sorted(work.glob("features/**/*.parquet"))
    content = lines.read_bytes()
    if harm == "missing":
        written[0].unlink()
    elif harm == "resized":
        written[0].write_bytes(written[0].read_bytes()[:-1])
    elif harm == "torn":
        lines.write_bytes(content[: content.rindex(b"\n", 0, -1) + 40])
    elif harm == "edited":
        lines.write_bytes(content.replace(b'"users":', b'"users": ', 1))
    else:
        origin = Origin(this_origin().host, "another" if harm == "started again" else "")
        monkeypatch.setattr("engine.execution.journal.this_origin", lambda: origin)
        again = first.total()
    job("score", interrupted.config, out, Watched(log))
    assert sum(number - 1 for number in ended(log).values()) == again
    assert [path.name for path in work_root(out).iterdir()] == ["lock"]
