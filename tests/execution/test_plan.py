from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events.ingest import Piece
from engine.execution import plan
from engine.execution.plan import plan_buckets, plan_pieces


def pieces_of(*rows: int) -> list[Piece]:
    return [Piece(index % 3, f"f{index}", 0, count, (count, index)) for index, count in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "limit", "tasks"),
    [
        ((), 10, []),
        ((0, 0), 10, []),
        ((10,), 10, [[("f0", 0, 10)]]),
        ((11,), 10, [[("f0", 0, 10)], [("f0", 10, 1)]]),
        ((4, 0, 6, 1), 10, [[("f0", 0, 4), ("f2", 0, 6)], [("f3", 0, 1)]]),
        ((25, 3), 10, [[("f0", 0, 10)], [("f0", 10, 10)], [("f0", 20, 5), ("f1", 0, 3)]]),
        ((2, 1), 1, [[("f0", 0, 1)], [("f0", 1, 1)], [("f1", 0, 1)]]),
    ],
)
def test_rows_are_packed_in_order(rows: tuple[int, ...], limit: int, tasks: list[list[tuple[str, int, int]]]) -> None:
    pieces = plan_pieces(pieces_of(*rows), limit)
    assert [[(piece.file, piece.start, piece.rows) for piece in task] for task in pieces] == tasks
    assert all(piece.source == int(piece.file[1:]) % 3 for task in pieces for piece in task)


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 60))
def test_each_row_is_read_once(rows: list[int], limit: int) -> None:
    tasks = plan_pieces(pieces_of(*rows), limit)
    flat: list[Piece] = [piece for task in tasks for piece in task]
    covered = [(piece.file, row) for piece in flat for row in range(piece.start, piece.start + piece.rows)]
    assert covered == [(f"f{index}", row) for index, count in enumerate(rows) for row in range(count)]
    sizes = [sum(piece.rows for piece in task) for task in tasks]
    assert all(size == limit for size in sizes[:-1])
    assert all(0 < size <= limit for size in sizes)
    assert all(piece.rows > 0 for piece in flat)


def test_a_piece_knows_the_file_whose_footer_was_read() -> None:
    [[first], [second]] = plan_pieces([Piece(1, "a", 0, 3, (5, 7))], 2)
    assert (first, second) == (Piece(1, "a", 0, 2, (5, 7)), Piece(1, "a", 2, 1, (5, 7)))


def test_portions_of_files_are_cut_further() -> None:
    cut = plan_pieces([Piece(0, "a", 10, 5)], 3)
    assert cut == [(Piece(0, "a", 10, 3),), (Piece(0, "a", 13, 2),)]


def test_buckets_are_limited() -> None:
    assert plan_buckets(10**9, 1) == 65_536


def test_a_task_stays_in_memory_whatever_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "TASK_ROWS", 7)
    assert [sum(piece.rows for piece in task) for task in plan_pieces(pieces_of(20), 1_000)] == [7, 7, 6]


@pytest.mark.parametrize(
    ("rows", "per_task", "buckets"),
    [
        (0, 10, 1),
        (1, 10, 1),
        (10, 10, 1),
        (11, 10, 2),
        (20, 10, 2),
        (21, 10, 4),
        (50_000_000, 4_000_000, 16),
        (5, 1, 8),
    ],
)
def test_buckets(rows: int, per_task: int, buckets: int) -> None:
    assert plan_buckets(rows, per_task) == buckets


@given(st.integers(0, 10**12), st.integers(1, 10**8))
def test_buckets_are_the_smallest_power_of_two_that_suffices(rows: int, per_task: int) -> None:
    buckets = plan_buckets(rows, per_task)
    assert buckets.bit_count() == 1
    assert buckets * per_task >= rows or buckets == 65_536
    assert buckets == 1 or (buckets // 2) * per_task < rows
