from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config import Execution
from engine.errors import ResourceError, TamisError, TransientError
from engine.execution.on_ray import ray_executor
from tests.execution.tasks import (
    Attempts,
    break_stubbornly,
    die,
    die_by_signal,
    double,
    fail_to_read,
    miss_the_store,
    process_id,
    sleep,
    threads,
)

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]
PINNED = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_IO_THREADS")


def opened(**settings: Any) -> Any:
    return ray_executor(Execution(executor="ray", **settings))


@pytest.fixture
def once(ray_session: None, tmp_path: Path) -> Attempts:
    return Attempts(str(tmp_path / "attempts"))


def attempts_of(task: Attempts) -> int:
    return len(Path(task.file).read_text())


@pytest.mark.parametrize("function", [die, fail_to_read, miss_the_store])
def test_dq10_what_may_pass_is_tried_again(once: Attempts, function: Callable[[Attempts], int]) -> None:
    with opened(retries=2) as executor:
        assert executor.map(function, [Attempts(once.file, succeed_at=3)]) == [3]


@pytest.mark.parametrize(
    ("function", "kind", "code"),
    [
        (die_by_signal, ResourceError, "task-died"),
        (miss_the_store, TransientError, "storage-unreachable"),
    ],
)
def test_until_the_attempts_are_used_up(
    once: Attempts, function: Callable[[Attempts], int], kind: type[TamisError], code: str
) -> None:
    with opened(retries=1) as executor, pytest.raises(kind) as caught:
        executor.map(function, [once])
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert attempts_of(once) == 2


def test_a_file_that_stays_away(once: Attempts) -> None:
    with opened(retries=1) as executor, pytest.raises(FileNotFoundError) as caught:
        executor.map(fail_to_read, [once])
    assert (caught.value.errno, caught.value.filename) == (2, "part.parquet")
    assert attempts_of(once) == 2


def test_no_attempt_beside_the_first(once: Attempts) -> None:
    with opened(retries=0) as executor, pytest.raises(ResourceError):
        executor.map(die, [once])
    assert attempts_of(once) == 1


def test_an_exception_that_cannot_travel_still_tells_its_message(once: Attempts) -> None:
    with opened() as executor, pytest.raises(Exception, match="the file is odd"):
        executor.map(break_stubbornly, [once])
    assert attempts_of(once) == 1


@pytest.mark.slow
def test_a_task_over_its_time_ends_the_run(ray_session: None) -> None:
    with opened(task_timeout_seconds=1.5, retries=1) as executor:
        with pytest.raises(ResourceError, match="of 3 did not end within") as caught:
            executor.map(sleep, [0.0, 60.0, 60.0])
        assert caught.value.code == "task-timeout"
    with opened() as executor:
        # Those that were hanging gave their processors back.
        assert executor.map(double, list(range(4))) == [0, 2, 4, 6]


@pytest.mark.slow
def test_time_counts_from_the_start_of_each_task(ray_session: None) -> None:
    seconds = [0.5] * 10
    with opened(task_timeout_seconds=2) as executor:
        assert executor.map(sleep, seconds) == seconds
        # A worker that is used again is not ended by the clock of its last task.
        assert executor.map(sleep, [1.8, 1.8]) == [1.8, 1.8]


@pytest.mark.parametrize("cpus", [1, 2])
def test_threads_are_pinned(ray_session: None, cpus: int) -> None:
    with opened(cpus_per_task=cpus) as executor:
        assert executor.threads == cpus
        [(variables, pool)] = executor.map(threads, [PINNED])
    assert variables == dict.fromkeys(PINNED, str(cpus))
    assert pool == cpus


def test_more_processors_than_a_node_has(ray_session: None) -> None:
    with pytest.raises(ResourceError) as caught, opened(cpus_per_task=1_000):
        pass
    assert caught.value.code == "cluster-too-small"


def test_a_ray_that_runs_already_is_used_and_left_running(ray_session: None) -> None:
    import ray

    job = ray.get_runtime_context().get_job_id()
    for _ in range(2):
        with opened() as executor:
            assert executor.map(process_id, [1]) != [os.getpid()]
    assert ray.is_initialized()
    assert ray.get_runtime_context().get_job_id() == job
