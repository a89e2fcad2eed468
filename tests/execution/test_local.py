from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import DataError
from engine.execution.local import LocalExecutor, usable_cpus
from engine.execution.protocol import Executor
from tests.execution.tasks import Attempts, attempt, break_down, double, double_late, panic, process_id, refuse


@pytest.mark.parametrize("tasks", [[], [3], [0, 1, 2, 3, 4, 5]])
def test_results_in_the_order_of_the_tasks(executor: Executor, tasks: list[int]) -> None:
    assert executor.map(double_late, tasks) == [2 * task for task in tasks]


def test_every_result_is_told_once(executor: Executor) -> None:
    told: list[int] = []
    executor.map(double, [1, 2, 3], on_done=told.append)
    assert sorted(told) == [2, 4, 6]


def test_an_error_for_the_user_arrives_as_it_was_raised(executor: Executor, tmp_path: Path) -> None:
    file = tmp_path / "attempts"
    with pytest.raises(DataError) as caught:
        executor.map(refuse, [Attempts(str(file))])
    assert type(caught.value) is DataError
    assert (caught.value.message, caught.value.code, caught.value.hint) == ("what\nand where", "some-code", "do this")
    assert file.read_text() == "x"


def test_any_other_error_too(executor: Executor, tmp_path: Path) -> None:
    file = tmp_path / "attempts"
    with pytest.raises(KeyError, match="'b'") as caught:
        executor.map(break_down, [Attempts(str(file))])
    assert type(caught.value) is KeyError
    assert file.read_text() == "x"


def test_a_panic_too(executor: Executor, tmp_path: Path) -> None:
    # Polars' panics are no `Exception`, and on Ray they come back as a class that only has the name in common.
    file = tmp_path / "attempts"
    with pytest.raises(BaseException, match="out of bounds") as caught:
        executor.map(panic, [Attempts(str(file))])
    assert type(caught.value).__name__ == "PanicException"
    assert file.read_text() == "x"


def test_an_error_of_the_listener_ends_the_run(executor: Executor) -> None:
    def listen(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor.map(double, [1, 2, 3], on_done=listen)
    assert executor.map(double, [1]) == [2]


def test_it_goes_on_after_a_failure(executor: Executor, tmp_path: Path) -> None:
    tasks = [Attempts(str(tmp_path / f"{index}")) for index in range(4)]
    with pytest.raises(DataError):
        executor.map(refuse, tasks)
    assert executor.map(attempt, [Attempts(str(tmp_path / "after"))]) == [1]


def test_local_tasks_run_in_this_process_one_after_the_other() -> None:
    assert LocalExecutor().map(process_id, [1, 2]) == [os.getpid()] * 2


def test_local_threads_are_the_usable_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LocalExecutor().threads == usable_cpus() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cpus() == os.cpu_count()
