from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.planning.sample import estimate_distinct


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 10))
def test_a_whole_log_is_counted(once: int, more: int, times: int) -> None:
    rows = once + 2 * more
    if rows:
        assert estimate_distinct(once, more, rows, rows) == once + more
    assert estimate_distinct(once, more, rows, rows * times) <= max(rows * times, once + more)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_error_is_bounded(share: float) -> None:
    rng = random.Random(f"distinct {share}")
    rows = [int(rng.paretovariate(0.8)) for _ in range(50_000)]
    sample = [value for value in rows if rng.random() < share]
    seen = Counter(sample)
    once = sum(count == 1 for count in seen.values())
    more = len(seen) - once
    found = estimate_distinct(once, more, len(sample), len(rows))
    true = len(set(rows))
    # The guarantee of the estimator: a factor of the square root of rows per sampled row.
    bound = (1 / share) ** 0.5 * 1.1
    assert true / bound <= found <= true * bound
