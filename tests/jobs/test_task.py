from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from engine.errors import ResourceError
from engine.stages import scoring
from engine.tables.durable import durable_parquet
from tests.samples import AS_OF, TOML, write_sample

# Without models: to load LightGBM takes longer than the whole run.
QUICK = TOML[: TOML.index("[[targets]]")] + TOML[TOML.index("[clusters]") :].replace(
    "propensity_buys >= 0.5", "r_score = 5"
)
Tamis = Callable[..., Result]
DAY = ("--as-of", str(AS_OF))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from engine.execution.local import LocalExecutor
    from engine.pipeline import fit_run
    from tests.samples import configuration

    file = write_sample(tmp_path_factory.mktemp("task"), 60, toml=QUICK)
    fit_run(configuration(file), AS_OF, executor=LocalExecutor(threads=1))
    return file.parent


@pytest.fixture
def sample(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shutil.copytree(fitted, tmp_path / "sample")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Lets the second bucket fail after it has written its first table."""
    real = durable_parquet

    def fail(error: BaseException) -> None:
        def write(frame: Any, folder: Path, stem: str, **more: Any) -> Any:
            if folder.parent.name == "scores" and "-00001-" in stem:
                raise error
            return real(frame, folder, stem, **more)

        monkeypatch.setattr(scoring, "durable_parquet", write)

    return fail


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(result: Result) -> tuple[str, str]:
    """The run and the task that a message names."""
    [(run, key)] = set(re.findall(r"`tamis task (\S+) ([0-9a-f]{12})`", result.stderr))
    return run, key


def test_a_bug_is_run_again_by_itself(
    tamis: Tamis, sample: Path, failing: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(ValueError("odd"))
    failed = tamis("score", *DAY)
    assert failed.exit_code == 1
    run, key = told(failed)
    assert run.startswith(f"score-{AS_OF}-")
    assert "hint: Please report it with the lines above. `tamis task" in failed.stderr
    before = tree(sample)

    listed = tamis("task", run)
    assert listed.exit_code == 0
    assert listed.stdout.split() == [
        "task",
        "function",
        "error",
        key,
        "engine.stages.scoring:score_bucket",
        "ValueError",
    ]
    again = tamis("task", run, key)
    assert again.exit_code == 1
    assert "ValueError: odd" in again.stderr
    assert "score_bucket" in again.stderr

    monkeypatch.undo()
    monkeypatch.chdir(sample)
    done = tamis("task", run, key, "--json")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["run"], answer["task"]) == (run, key)
    assert answer["result"]["users"] > 0
    assert {file["path"].split("/as_of")[0] for file in answer["files"]} >= {
        f"_work/{run}/features",
        f"_work/{run}/scores",
    }
    shown = tamis("task", run, key)
    assert f"Task {key} of run {run} ended after" in shown.stdout
    assert "part-00001" in shown.stdout
    assert tamis("task", run, key, "--quiet").stdout == ""
    # The run's own files are as they were, also those of the task.
    assert tree(sample) == before

    assert tamis("score", *DAY).exit_code == 0
    assert [path.name for path in (sample / "out" / "_work").iterdir()] == ["lock"]


def test_a_task_that_died_has_the_exit_code_of_its_error(
    tamis: Tamis, sample: Path, failing: Callable[[BaseException], None]
) -> None:
    failing(ResourceError("the worker died on every attempt", code="task-died", hint="Look."))
    failed = tamis("score", *DAY, "--json")
    assert failed.exit_code == 6
    run, key = told(failed)
    assert json.loads(failed.stdout)["error"]["hint"].startswith("Look. `tamis task ")
    again = tamis("task", run, key, "--out", str(sample / "out"))
    assert again.exit_code == 6
    assert "Traceback" in again.stderr
    assert "error[task-died]" in again.stderr
    listed = json.loads(tamis("task", run, "--json").stdout)
    assert listed == {
        "run": run,
        "failed": [{"run": run, "key": key, "function": "engine.stages.scoring:score_bucket", "error": "task-died"}],
    }


def test_what_is_not_there(tamis: Tamis, sample: Path) -> None:
    missing = tamis("task", "score-none")
    assert missing.exit_code == 2
    assert "error[task-run-unknown]" in missing.stderr
    assert "no run left anything" in missing.stderr
    failed = sample / "out" / "_work" / "r1" / "_tasks" / "failed"
    failed.mkdir(parents=True)
    assert "what runs left: r1" in tamis("task", "score-none").stderr
    assert tamis("task", "r1").stdout == "No task of run r1 failed by its own doing\n"
    unknown = tamis("task", "r1", "0123456789ab")
    assert unknown.exit_code == 2
    assert "error[task-unknown]" in unknown.stderr
    for content in (
        "{",
        "[]",
        '{"function": "os:system", "error": "", "out": [], "task": "true"}',
        '{"function": "engine.stages.scoring:score_bucket", "error": "", "out": [], "task": {"data": "x"}}',
    ):
        (failed / "0123456789ab.json").write_text(content)
        unreadable = tamis("task", "r1", "0123456789ab")
        assert unreadable.exit_code == 7
        assert "error[task-unreadable]" in unreadable.stderr
