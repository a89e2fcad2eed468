from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.planning.costs import Cost, Costs
from engine.planning.schedule import TASK_SECONDS, Workers, call_seconds, makespan
from engine.planning.work import Call, Work

GIB = 1 << 30


def one_by_one(durations: list[tuple[float, int]], slots: int) -> float:
    loads = [0.0] * slots
    for seconds in sorted((seconds for seconds, count in durations for _ in range(count)), reverse=True):
        heapq.heapreplace(loads, loads[0] + seconds)
    return max(loads)


@pytest.mark.parametrize(
    ("durations", "slots", "seconds"),
    [
        ([(2.0, 3)], 1, 6.0),
        ([(2.0, 3)], 2, 4.0),
        ([(2.0, 3)], 5, 2.0),
        ([(5.0, 1), (1.0, 5)], 2, 5.0),
        ([(1.0, 100_000)], 1_000, 100.0),
    ],
)
def test_makespan(durations: list[tuple[float, int]], slots: int, seconds: float) -> None:
    assert makespan(durations, slots) == pytest.approx(seconds)


@given(
    st.lists(st.tuples(st.floats(0.01, 10), st.integers(1, 40)), min_size=1, max_size=4),
    st.integers(1, 12),
)
def test_makespan_is_near_that_of_tasks_handed_out_one_by_one(durations: list[tuple[float, int]], slots: int) -> None:
    found = makespan(durations, slots)
    total = sum(seconds * count for seconds, count in durations)
    longest = max(seconds for seconds, _ in durations)
    assert found >= max(total / slots, longest) - 1e-9
    # At most one task of each size is misplaced by whole rounds.
    assert found <= one_by_one(durations, slots) + sum(seconds for seconds, _ in durations) + 1e-9


def costs(memory: float = 0.0) -> Costs:
    return Costs("test", 2, 0.0, 0.0, {"A": Cost(1.0, {"rows": 0.001}, serial=0.5, memory=memory)})


def test_time_grows_with_rows_and_falls_with_threads() -> None:
    work = Work("A", 1, {"rows": 1_000})
    assert costs().seconds(work) == pytest.approx(2.0)
    # Half of it on one thread is serial: 2 s on two threads are 2.67 s on one, and 1.67 s on four.
    assert costs().seconds(work, 1) == pytest.approx(2.0 / 0.75)
    assert costs().seconds(work, 4) == pytest.approx(2.0 / 0.75 * 0.625)


@pytest.mark.parametrize(("memory", "slots"), [(1 * GIB, 8), (4 * GIB, 6), (100 * GIB, 0)])
def test_memory_limits_the_tasks_side_by_side(memory: float, slots: int) -> None:
    assert Workers(2, 4, 16 * GIB, 1).slots(memory) == slots


def test_a_driver_can_be_slower_than_its_workers() -> None:
    many = Call("score", (Work("A", 10_000, {}),))
    workers = Workers(100_000, 8, 64 * GIB, 1)
    assert call_seconds(many, costs(), workers) == (pytest.approx(10_000 * TASK_SECONDS + TASK_SECONDS), "driver")
    local = Workers(1, 2, 64 * GIB, 2, local=True)
    assert call_seconds(many, costs(), local) == (pytest.approx(10_000.0), "workers")
