from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.config import Execution
from engine.errors import DataError, ResourceError, TransientError
from engine.execution import ray_attempt, ray_stage
from engine.execution.attempts import Attempt
from engine.execution.on_ray import ray_executor
from engine.execution.protocol import TaskSize
from engine.execution.ray_attempt import _guarded, ask
from engine.execution.ray_stage import Stage, Terms
from engine.progress import Tally
from tests.execution.tasks import (
    Attempts,
    die,
    double,
    fail_to_read,
    hang,
    miss_the_store,
    refuse_until,
    sleep,
    variables,
)

pytestmark = pytest.mark.ray


def opened(**settings: Any) -> Any:
    return ray_executor(Execution(executor="ray", **settings))


def attempts_of(task: Attempts) -> int:
    return len(Path(task.file).read_text())


def left_on_the_cluster() -> list[bytes]:
    from ray.experimental import internal_kv

    return list(internal_kv._internal_kv_list("", namespace=b"tamis"))


def test_a_head_that_is_lost_while_it_is_asked_is_told_before_ray_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_attempt, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(ray_attempt, "_ASK_SECONDS", 0.02)
    answers = iter([True, *[False] * 20])
    monkeypatch.setattr(ray_attempt, "head_answers", lambda: next(answers))
    never = threading.Event()
    with pytest.raises(TransientError, match="does not answer any more, during score") as caught:
        ask(never.wait, "score")
    never.set()
    assert caught.value.code == "cluster-lost"
    # A head that is there may take its time, and what it says is what is raised.
    monkeypatch.setattr(ray_attempt, "head_answers", lambda: True)
    assert ask(lambda: time.sleep(0.15), "score") is None  # type: ignore[func-returns-value]
    with pytest.raises(KeyError, match="gone"):
        ask(lambda: {}["gone"], "score")


@pytest.mark.parametrize("count", [1, 40])
def test_only_a_few_tasks_are_handed_to_ray_at_a_time(ray_session: None, count: int) -> None:
    import ray

    in_flight: list[int] = []
    terms = Terms(Execution(), {}, 60.0, Tally())
    stage: Stage[int, int] = Stage(
        terms, double, range(count), None, lambda _: in_flight.append(len(stage.running) + 1)
    )
    assert stage.run() == [2 * task for task in range(count)]
    assert max(in_flight) <= 2 * int(ray.cluster_resources()["CPU"])


def test_the_largest_tasks_begin_first(ray_session: None, tmp_path: Path) -> None:
    begun: list[int] = []
    sizes = [TaskSize(rows=rows) for rows in (1, 3, 2, 9, 5)]
    terms = Terms(Execution(), {}, 60.0, Tally())
    stage: Stage[int, int] = Stage(terms, double, range(5), sizes, None)
    submit = stage._submit
    stage._submit = lambda index: (begun.append(index), submit(index))[1]  # type: ignore[method-assign]
    assert stage.run() == [0, 2, 4, 6, 8]
    assert begun == [3, 4, 1, 2, 0]


def test_rows_bytes_and_retries_are_counted_before_they_are_told(ray_session: None, tmp_path: Path) -> None:
    tasks = [Attempts(str(tmp_path / "a"), 1), Attempts(str(tmp_path / "b"), 3)]
    told: list[tuple[int, int]] = []
    with opened() as executor:
        sizes = [TaskSize(10, 100), TaskSize(1, 2)]
        tally = executor.tally
        executor.map(die, tasks, sizes=sizes, on_done=lambda _: told.append((tally.rows, tally.bytes)))
    assert told == [(10, 100), (11, 102)]
    assert tally == Tally(11, 102, retried=2)


def test_an_error_tells_its_task(ray_session: None, tmp_path: Path) -> None:
    task = Attempts(str(tmp_path / "attempts"))
    for function, kind in ((refuse_until, DataError), (fail_to_read, OSError), (die, ResourceError)):
        with opened(retries=0) as executor, pytest.raises(kind) as caught:
            executor.map(function, [replace(task, succeed_at=0)] * 3 + [task])
        assert caught.value.__dict__["task_index"] == 3


@pytest.mark.slow
def test_a_slow_task_is_ended_and_started_again_once(ray_session: None, tmp_path: Path) -> None:
    tasks = [Attempts(str(tmp_path / f"{index}"), 1) for index in range(3)]
    slow = Attempts(str(tmp_path / "slow"), 2)
    with opened(straggler_factor=2) as executor:
        started = time.monotonic()
        eager = replace(executor, straggler_seconds=0.5)
        assert eager.map(hang, [*tasks, slow]) == [1, 1, 1, 2]
        assert time.monotonic() - started < 30
        assert (executor.tally.retried, attempts_of(slow)) == (1, 2)
        # One that is slow twice is what it is: it may take its time.
        slower = Attempts(str(tmp_path / "slower"), 3)
        terms = executor.execution.model_copy(update={"task_timeout_seconds": 6, "retries": 0})
        strict = replace(eager, execution=terms)
        with pytest.raises(ResourceError, match="hang task 3 of 4 did not end within 6 seconds"):
            strict.map(hang, [*(Attempts(task.file, 1) for task in tasks), slower])
        assert attempts_of(slower) == 2
    assert left_on_the_cluster() == []


@pytest.mark.slow
def test_slow_tasks_are_left_alone_when_asked(ray_session: None) -> None:
    with opened(straggler_factor=0) as executor:
        replace(executor, straggler_seconds=0.1).map(sleep, [0.0, 0.0, 2.5])
        assert executor.tally.retried == 0


@pytest.mark.slow
def test_a_task_that_hangs_twice_is_not_tried_a_third_time(ray_session: None, tmp_path: Path) -> None:
    task = Attempts(str(tmp_path / "attempts"))
    with opened(task_timeout_seconds=1, retries=5) as executor, pytest.raises(ResourceError) as caught:
        executor.map(hang, [task])
    assert (caught.value.code, caught.value.__dict__["task_index"]) == ("task-timeout", 0)
    assert attempts_of(task) == 2


@pytest.mark.slow
def test_waiting_for_a_processor_does_not_count_as_time(ray_session: None) -> None:
    import ray

    cpus = int(ray.cluster_resources()["CPU"])
    with opened(task_timeout_seconds=4, retries=0) as executor:
        assert executor.map(sleep, [1.5] * cpus * 4) == [1.5] * cpus * 4


def test_a_task_that_no_node_can_hold_is_refused_before_anything_starts(ray_session: None, tmp_path: Path) -> None:
    task = Attempts(str(tmp_path / "attempts"))
    with opened() as executor, pytest.raises(ResourceError) as caught:
        executor.map(die, [task, task], sizes=[TaskSize(1, 1, 1), TaskSize(1, 1, 2**50)])
    assert caught.value.code == "cluster-too-small"
    assert not Path(task.file).exists()


@pytest.mark.slow
def test_a_request_is_never_more_than_the_largest_node_has(ray_session: None) -> None:
    import ray

    memory = int(ray.nodes()[0]["Resources"]["memory"])
    with opened() as executor:
        assert executor.map(double, [1, 2], sizes=[TaskSize(1, 1, memory - 1)] * 2) == [2, 4]


@pytest.mark.parametrize("times", [1, 9])
def test_a_task_that_ran_out_of_memory_asks_for_more(
    ray_session: None, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    import ray

    original, left = ray_stage.answer_of, [times]

    def answer_of(reference: Any) -> Any:
        answer = original(reference)
        left[0] -= 1
        return ray.exceptions.OutOfMemoryError("killed") if left[0] >= 0 else answer

    monkeypatch.setattr(ray_stage, "answer_of", answer_of)
    terms = Terms(Execution(retries=2), {}, 60.0, Tally())
    stage: Stage[int, int] = Stage(terms, double, [4], [TaskSize(1, 1, 2**30)], None)
    if times == 1:
        assert stage.run() == [8]
        assert stage.memory == [max(2**31, stage.largest // 2)]
        return
    with pytest.raises(ResourceError, match=r"double task 0 of 1 ran out of memory .*: it asked for .* GiB") as caught:
        stage.run()
    assert caught.value.code == "task-memory"
    assert terms.tally.retried == 2


def test_storage_that_fails_is_given_time(ray_session: None, tmp_path: Path) -> None:
    with opened(retries=2) as executor:
        started = time.monotonic()
        assert executor.map(fail_to_read, [Attempts(str(tmp_path / "attempts"), 3)]) == [3]
    assert time.monotonic() - started > 0.5


def test_a_lost_cluster_is_told_from_a_lost_worker(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray_stage, "answer_of", lambda _: ray.exceptions.RaySystemError("gone"))
    with opened() as executor, pytest.raises(TransientError) as caught:
        executor.map(double, [1])
    assert caught.value.code == "cluster-lost"


def test_a_cluster_that_is_lost_between_two_tasks(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def gone(*_: object, **__: object) -> Any:
        raise ray.exceptions.RaySystemError("gone")

    with opened() as executor:
        monkeypatch.setattr(ray_stage, "nodes", gone)
        with pytest.raises(TransientError) as caught:
            executor.map(double, [1])
    assert caught.value.code == "cluster-lost"


def test_a_head_that_does_not_answer_for_a_moment_costs_no_task(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    from ray.experimental import internal_kv

    def silent(*_: object, **__: object) -> Any:
        raise ray.exceptions.RpcError("unavailable", 14)

    monkeypatch.setattr(internal_kv, "_internal_kv_put", silent)
    monkeypatch.setattr(internal_kv, "_internal_kv_del", silent)
    assert _guarded(double, 4, 60.0, "stage/0.0").result == 8


def test_what_ends_a_stage_is_told_although_nothing_can_be_cancelled(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def gone(*_: object, **__: object) -> Any:
        raise ray.exceptions.RaySystemError("gone")

    def interrupt(*_: object, **__: object) -> Any:
        monkeypatch.setattr(ray, "cancel", gone)
        raise KeyboardInterrupt

    stage: Stage[int, int] = Stage(Terms(Execution(), {}, 60.0, Tally()), double, [1], None, None)
    monkeypatch.setattr(stage, "_collect", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stage.run()


@pytest.mark.parametrize("left", [{}, {"small": (8.0, 2**20)}, {"narrow": (1.0, 2**40)}])
def test_tasks_do_not_wait_for_ever_for_a_node_that_left(
    ray_session: None, monkeypatch: pytest.MonkeyPatch, left: dict[str, tuple[float, int]]
) -> None:
    whole = {"large": (8.0, 2**40)}
    monkeypatch.setattr(ray_stage, "nodes", lambda _: whole)
    settings = Execution(cpus_per_task=2)
    stage: Stage[int, int] = Stage(Terms(settings, {}, 60.0, Tally()), double, [4], [TaskSize(1, 1, 2**30)], None)
    stage.running = {"pending": Attempt(0, 0, 2**30)}
    stage._check_room(1.0)
    stage.cluster = left
    stage._check_room(2.0)
    stage._check_room(300.0)
    # It came back in time, and what runs already needs no room.
    stage.cluster = whole
    stage._check_room(301.0)
    stage.cluster = left
    stage._check_room(302.0)
    stage._check_room(601.0)
    with pytest.raises(TransientError, match=r"double task 0 of 1 asks for 2 CPUs and 1.0 GiB of memory") as caught:
        stage._check_room(603.0)
    assert caught.value.code == "cluster-lost"
    stage.running["pending"].started = 1.0
    stage._check_room(604.0)


def test_dq10_the_log_tells_which_tasks_are_run_again_and_why(
    ray_session: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = [Attempts(str(tmp_path / "a"), 2), Attempts(str(tmp_path / "b"), 1)]
    with caplog.at_level("INFO", logger="tamis"), opened() as executor:
        executor.map(die, tasks)
        executor.map(miss_the_store, [replace(tasks[0], file=str(tmp_path / "c"))])
        executor.map(fail_to_read, [replace(tasks[0], file=str(tmp_path / "d"))])
    told = [record.__dict__["fields"] for record in caplog.records if record.__dict__["event"] == "task-retried"]
    assert told == [
        {"stage": "die", "reason": "its worker died"},
        {"stage": "miss_the_store", "reason": "its storage failed (storage-unreachable)"},
        {"stage": "fail_to_read", "reason": "its storage failed (FileNotFoundError)"},
    ]


def test_an_interrupted_stage_leaves_nothing_running(ray_session: None) -> None:
    with opened() as executor:
        threading.Timer(3.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            executor.map(sleep, [60.0] * 5)
        assert time.monotonic() - started < 8
        assert executor.map(double, [1, 2, 3]) == [2, 4, 6]
    assert left_on_the_cluster() == []


def test_workers_give_memory_back_as_the_command_line_does(ray_session: None) -> None:
    wanted = {
        "OMP_WAIT_POLICY": "passive",
        "_RJEM_MALLOC_CONF": "dirty_decay_ms:1000,muzzy_decay_ms:0",
        "MALLOC_MMAP_THRESHOLD_": "1048576",
    }
    with opened() as executor:
        assert executor.environment == {}
        assert executor.map(variables, [tuple(wanted)]) == [wanted]
