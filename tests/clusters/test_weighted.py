from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clusters.weighted import Weighted, distinct_rows, thinned


@pytest.mark.parametrize("layout", ["C", "F"])
def test_distinct_rows_are_sorted_and_counted(layout: str) -> None:
    rows = np.array([[2, 1], [0, 5], [2, 1], [2, 0], [0, 5], [2, 1]], dtype=np.float64, order=layout)
    users = distinct_rows(rows)
    assert users.rows.tolist() == [[0, 5], [2, 0], [2, 1]]
    assert users.counts.tolist() == [2, 1, 3]
    assert users.users == 6


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(1, 60))
def test_a_thin_sample_has_each_row_in_proportion(counts: list[int], size: int) -> None:
    users = Weighted(np.arange(float(len(counts)))[:, np.newaxis], np.array(counts))
    few = thinned(users, size, 3)
    assert few.users == min(size, sum(counts))
    found = dict(zip(few.rows[:, 0].tolist(), few.counts.tolist(), strict=True))
    for row, count in enumerate(counts):
        assert abs(found.get(float(row), 0) - count * few.users / sum(counts)) <= 1 + 1e-9
