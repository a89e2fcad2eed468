from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features.feature import Feature
from engine.features.tally import (
    NEVER,
    QUANTITY_LIMIT,
    days_since,
    family_frame,
    known,
    latest,
    quantities,
    ratio,
    running_sum,
    starts,
    tally,
)

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(80, 99), st.integers(-(2**50), 2**50)), max_size=30)


@given(rows=ROWS, windows=st.sets(st.integers(1, 25), min_size=1, max_size=4).map(lambda found: tuple(sorted(found))))
def test_windows_are_those_of_a_plain_loop(rows: list[tuple[int, int, int]], windows: tuple[int, ...]) -> None:
    owner, day, value = (np.array([row[part] for row in rows], dtype=np.int64) for part in range(3))
    found = tally(owner, day, 4, 100, windows)
    inside = [
        [[v for who, when, v in rows if who == user and when >= 100 - window] for window in windows]
        for user in range(4)
    ]
    assert found.count().tolist() == [[len(cell) for cell in row] for row in inside]
    assert found.total(value).tolist() == [[sum(cell) for cell in row] for row in inside]
    assert found.highest(value).tolist() == [[max(cell, default=NEVER) for cell in row] for row in inside]
    positive = [[sum(v > 0 for v in cell) for cell in row] for row in inside]
    assert found.count(value > 0).tolist() == positive


@given(st.lists(st.tuples(st.booleans(), st.integers(-9, 9)), max_size=20))
def test_running_sums_start_anew_with_each_group(rows: list[tuple[bool, int]]) -> None:
    first = np.array([flag for flag, _ in rows], dtype=np.bool_)
    first[:1] = True
    expected: list[int] = []
    for begins, (_, value) in zip(first, rows, strict=True):
        expected.append(value if begins else expected[-1] + value)
    assert running_sum(np.array([value for _, value in rows], dtype=np.int64), first).tolist() == expected


def test_a_group_starts_where_any_column_changes() -> None:
    left, right = np.array([1, 1, 1, 2, 2]), np.array([5, 5, 6, 6, 6])
    assert starts(left, right).tolist() == [True, False, True, True, False]
    assert starts(left[:0]).tolist() == []


def test_what_never_was_is_null() -> None:
    last = latest(np.array([2, 0, 2]), np.array([-7, 5, -9]), 3)
    assert last.tolist() == [5, NEVER, -7]
    assert known(last).to_list() == [5, None, -7]
    assert days_since(last, 10).to_list() == [5, None, 17]


@pytest.mark.parametrize(("above", "below", "expected"), [(1, 3, 1 / 3), (0, 2, 0.0), (1, 0, None), (-1, -2, None)])
def test_a_ratio_needs_something_to_divide_by(above: int, below: int, expected: float | None) -> None:
    assert ratio(np.array([above]), np.array([below])).to_list() == [expected]


def test_quantities_have_no_sign_and_a_limit() -> None:
    raw = pl.DataFrame({"quantity": [None, 0, -3, 2**63 - 1, -(2**63)]}, schema={"quantity": pl.Int64})
    assert raw.select(quantities()).to_series().to_list() == [1, 0, 3, QUANTITY_LIMIT, QUANTITY_LIMIT]


def test_a_family_returns_the_users_that_have_rows() -> None:
    feature = Feature("share", pl.Float64(), "ratio", "A share.")
    frame = family_frame({"share": np.arange(4), "more": np.arange(4)}, np.array([3, 1, 3]), [feature])
    assert frame.equals(pl.DataFrame({"user": pl.Series([1, 3], dtype=pl.UInt32), "share": [1.0, 3.0]}))
    empty = family_frame({"share": np.arange(0)}, np.array([], dtype=np.int64), [feature])
    assert empty.schema == frame.schema
