from __future__ import annotations

import gc
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import wraps
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
# As the command line has it for LightGBM: waiting threads that spin take the processors from the other workers.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# The first worker has a thread per processor, and the tests of `WIDE`: a pool of threads for each of the workers is
# more threads than processors, which then wait for one another.
FIRST = "gw0"
if os.environ.get("PYTEST_XDIST_WORKER", FIRST) != FIRST:
    os.environ.setdefault("POLARS_MAX_THREADS", "1")

# Ten thousand tests and what they import stay, and looking for garbage among them is a fifth of the time in which each
# worker collects the tests: it is done less often.
gc.set_threshold(100_000, 50, 100)

# A deadline per example fails on a busy machine; what is slow shows in the duration of the suite.
settings.register_profile("tamis", settings(), deadline=None, max_examples=40)
settings.register_profile("thorough", settings(), deadline=None, max_examples=400)
# The same examples each time, for a gate that judges a change and not the luck of the day.
settings.register_profile("steady", settings(), deadline=None, max_examples=40, derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tamis"))

REFERENCE_DATA = "TAMIS_REFERENCE_DATA"
RAY = re.compile("(?<![a-z])ray(?![a-z])")
RUNNING = pytest.StashKey[ExitStack]()


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
    stands between a run and a malformed file is shown by the modules that say `FOOTERS_IN_A_CHILD = True`, and by the
    tests that ask for `footers_in_a_child`.
    """
    if getattr(request.module, "FOOTERS_IN_A_CHILD", False):
        yield
        return
    from engine.events import probe

    @wraps(probe._child_lines)
    def answers(files: Sequence[Path], columns: Mapping[Path, Sequence[str]]) -> Iterator[str]:
        return (json.dumps(probe._probe(file.absolute(), columns.get(file, ()))) for file in files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_child_lines", answers)
        yield


@pytest.fixture
def footers_in_a_child(footers_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a real run, for a test of a file that is malformed among others that are not."""
    from engine.events import probe

    monkeypatch.setattr(probe, "_child_lines", probe._child_lines.__wrapped__)  # type: ignore[attr-defined]


@pytest.fixture
def ray_session(request: pytest.FixtureRequest) -> None:
    """One local Ray for all tests that need one: starting it takes seconds."""
    from engine.execution.on_ray import ray_executor

    if RUNNING not in request.session.stash:
        running = ExitStack()
        running.enter_context(ray_executor(Execution(executor="ray")))
        request.session.stash[RUNNING] = running


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Ray ends after the last test that needs it: its ten processes keep themselves busy for as long as they are there.

    A worker of pytest-xdist has all these tests in one piece; in a run of one process they are here and there.
    """
    running = item.session.stash.get(RUNNING, None)
    in_one_piece = "PYTEST_XDIST_WORKER" in os.environ
    if running is not None and (nextitem is None or (in_one_piece and not RAY.search(nextitem.nodeid))):
        del item.session.stash[RUNNING]
        running.close()


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

# What these hold for any number of threads, they hold with more than one: they go to the worker that has them.
WIDE = (
    "ray",
    "tests/test_pipeline",
    "tests/test_fitting",
    "tests/clusters/",
    "tests/execution/",
    "tests/features/",
    "tests/golden/",
    "tests/properties/",
    "tests/propensity/",
    "tests/rollups/",
    "tests/rules/",
    "tests/segments/",
    "tests/tables/test_durable",
)
# The files of each of these share what takes seconds to make, and it is made in one worker: what a run has published,
# and the syntax trees of all sources.
SHARED = {
    "tests/reporting/": "reporting",
    "tests/why/": "why",
    "tests/test_architecture.py": "sources",
    "tests/test_errors_page.py": "sources",
    "tests/tables/test_effects.py": "sources",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files in the order of `LONG`, those of `WIDE` to the first worker, and all tests of Ray, by their names, to one.

    pytest-xdist itself begins with the files of the most tests, which are not the longest; and each worker with such a
    test would start a Ray of its own.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            shared = next((name for path, name in SHARED.items() if nodeid.startswith(path)), None)
            return "ray" if RAY.search(nodeid) else shared or str(super()._split_scope(nodeid))

        def _assign_work_unit(self, node: Any) -> None:
            wide = node.gateway.id == FIRST
            # When none of its own are left, a worker takes what is next.
            own = next((scope for scope in self.workqueue if scope.startswith(WIDE) == wide), None)
            if own is not None:
                self.workqueue.move_to_end(own, last=False)
            super()._assign_work_unit(node)

    config.option.loadscopereorder = False
    return Scheduling(config, log)
