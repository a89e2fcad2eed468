from __future__ import annotations

import errno
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError, ExitCode, ResourceError, TransientError
from engine.execution.attempts import Pace, delay_before, in_order, may_pass, memory_requests, more_memory
from engine.execution.protocol import TaskSize

GIB = 2**30
STEP = 128 * 2**20


def of_memory(*memory: int) -> list[TaskSize]:
    return [TaskSize(rows=1, memory=each) for each in memory]


def test_tasks_of_unknown_size_keep_their_order() -> None:
    assert in_order(None, 3) == [0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))))
def test_the_largest_tasks_come_first(sizes: list[tuple[int, int]]) -> None:
    order = in_order([TaskSize(rows=rows, memory=memory) for rows, memory in sizes], len(sizes))
    assert sorted(order) == list(range(len(sizes)))
    for first, second in pairwise(order):
        (rows, memory), (rows_after, memory_after) = sizes[first], sizes[second]
        assert (memory, rows, -first) > (memory_after, rows_after, -second)


@pytest.mark.parametrize(
    ("memory", "largest", "asked"),
    [
        ([], GIB, []),
        ([0, 1, STEP, STEP + 1], GIB, [0, STEP, STEP, 2 * STEP]),
        # The step must not make of a task that fits one that does not.
        ([GIB - 5], GIB - 5, [GIB - 5]),
        ([5 * GIB], 0, [0]),
    ],
)
def test_memory_is_asked_for_in_steps(memory: list[int], largest: int, asked: list[int]) -> None:
    assert memory_requests("score", of_memory(*memory), len(memory), largest) == asked


def test_memory_of_unknown_tasks_is_not_asked_for() -> None:
    assert memory_requests("score", None, 2, GIB) == [0, 0]


def test_a_task_that_no_node_can_hold() -> None:
    with pytest.raises(ResourceError) as caught:
        memory_requests("score_bucket", [TaskSize(1, 1, GIB), TaskSize(5_000, 1, 3 * GIB)], 2, 2 * GIB)
    assert caught.value.code == "cluster-too-small"
    assert caught.value.exit_code == ExitCode.RESOURCES
    assert caught.value.message == (
        "score_bucket task 1 of 2 needs 3.0 GiB of memory for 5,000 rows, the largest node has 2.0 GiB"
    )


@pytest.mark.parametrize(
    ("asked", "largest", "more"), [(0, 8, 4), (1, 8, 4), (3, 8, 6), (5, 8, 8), (8, 8, 8), (0, 0, 0)]
)
def test_more_memory_after_it_ran_out(asked: int, largest: int, more: int) -> None:
    assert more_memory(asked, largest) == more


def test_longer_and_longer_delays() -> None:
    delays = [delay_before(failures) for failures in range(1, 101)]
    assert delays == sorted(delays)
    assert (delays[0], delays[-1]) == (0.2, 10.0)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (TransientError("x", code="storage-unreachable"), True),
        (DataError("x", code="some-code"), False),
        (ResourceError("x", code="disk-full"), False),
        (OSError(errno.EIO, "x"), True),
        (OSError("without a number"), True),
        (FileNotFoundError(errno.ENOENT, "x"), True),
        (OSError(errno.ENOSPC, "x"), False),
        (PermissionError(errno.EACCES, "x"), False),
        (ValueError("x"), False),
    ],
)
def test_what_another_attempt_may_mend(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes


def pace(factor: float = 4, count: int = 4, rows: tuple[int, ...] = (), finished: tuple[float, ...] = ()) -> Pace:
    made = Pace(factor, count, least=10, rows=rows)
    for index, seconds in enumerate(finished):
        made.note(index, seconds)
    return made


@pytest.mark.parametrize(
    ("made", "seconds", "slow"),
    [
        (pace(finished=(5, 5, 5)), 20.0, False),
        (pace(finished=(5, 5, 5)), 20.1, True),
        (pace(finished=(1, 1, 1)), 9.0, False),
        (pace(finished=(5,)), 1_000.0, False),
        (pace(count=9, finished=(5, 5, 5, 5)), 1_000.0, False),
        (pace(count=9, finished=(5, 5, 5, 5, 5)), 1_000.0, True),
        (pace(factor=0, finished=(5, 5, 5)), 1_000.0, False),
        # The last task has three times the rows of the others.
        (pace(rows=(10, 10, 10, 30), finished=(5, 5, 5)), 60.0, False),
        (pace(rows=(10, 10, 10, 30), finished=(5, 5, 5)), 60.1, True),
        (pace(rows=(0, 0, 0, 0), finished=(5, 5, 5)), 20.1, True),
    ],
)
def test_a_slow_task_is_known_by_the_others(made: Pace, seconds: float, slow: bool) -> None:
    assert made.is_slow(3, seconds) is slow


def test_tasks_with_fewer_rows_are_not_called_slow_earlier() -> None:
    made = pace(rows=(10, 10, 10, 1), finished=(5, 5, 5))
    assert not made.is_slow(3, 20.0)
