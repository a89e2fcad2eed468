from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from engine.config import Execution
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor

# Before anything imports Polars or Ray: both read the environment when they are loaded.
os.environ["TZ"] = "UTC"
time.tzset()
os.environ.pop("RAY_ADDRESS", None)
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

# A deadline per example fails on a busy machine; what is slow shows in the duration of the suite.
settings.register_profile("tamis", settings(), deadline=None, max_examples=40)
settings.register_profile("thorough", settings(), deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tamis"))

REFERENCE_DATA = "TAMIS_REFERENCE_DATA"
RAY = re.compile("(?<![a-z])ray(?![a-z])")


@pytest.fixture(scope="session")
def reference_data() -> Path:
    asked = os.environ.get(REFERENCE_DATA)
    if asked:
        folder = Path(asked)
        assert folder.is_dir(), f"{REFERENCE_DATA}={asked} is not a folder"
        return folder
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}: set {REFERENCE_DATA} to the folder of cdnow_master.parquet")
    return folder


@pytest.fixture(scope="module", autouse=True)
def footers_here(request: pytest.FixtureRequest) -> Iterator[None]:
    """Footers are read in the process of the test, where no file is meant to be malformed.

    The child process that reads them otherwise takes a fifth of a second to start, several times per run. That it
    stands between a run and a malformed file is shown by the modules that say `FOOTERS_IN_A_CHILD = True`.
    """
    if getattr(request.module, "FOOTERS_IN_A_CHILD", False):
        yield
        return
    from engine.events import probe

    def answers(files: Sequence[Path]) -> Iterator[str]:
        return (json.dumps(probe._probe(file.absolute())) for file in files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_child_lines", answers)
        yield


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray for all tests that need one: starting it takes seconds."""
    from engine.execution.on_ray import ray_executor

    with ray_executor(Execution(executor="ray")):
        yield


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Each executor in turn: what is asked of one is asked of all."""
    if request.param == "local":
        yield LocalExecutor()
        return
    from engine.execution.on_ray import ray_executor

    request.getfixturevalue("ray_session")
    with ray_executor(Execution(executor="ray")) as opened:
        yield opened


# Begun first, so that no worker of pytest-xdist is left with one of them at the end.
LONG = (
    "test_pipeline.py",
    "test_on_ray.py",
    "test_bad_input.py",
    "test_bad_store.py",
    "test_untrusted.py",
    "test_fitting.py",
    "test_publish_kill.py",
    "test_pipeline_wide.py",
    "test_pipeline_clusters.py",
    "test_cascade.py",
    "test_backfill_kill.py",
    "test_score_kill.py",
    "test_publish_faults.py",
    "test_learning.py",
    "test_restart.py",
    "test_whole_runs.py",
    "test_backfill.py",
    "test_accounts.py",
    "test_local_run.py",
    "test_demo.py",
    "test_published_tables.py",
    "test_incremental.py",
    "test_audience.py",
    "test_bundle_kill.py",
    "test_bundle.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files in the order of `LONG`, and all tests that say in their names that they use Ray in one worker.

    pytest-xdist itself begins with the files of the most tests, which are not the longest; and each worker with such a
    test would start a Ray of its own.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "ray" if RAY.search(nodeid) else str(super()._split_scope(nodeid))

    config.option.loadscopereorder = False
    return Scheduling(config, log)
