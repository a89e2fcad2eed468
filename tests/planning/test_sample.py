from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events.ingest import Piece
from engine.planning.sample import MOST_FILES, _thinned, estimate_distinct


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


@pytest.mark.parametrize("files", [MOST_FILES + 1, 10_000])
def test_of_very_many_files_some_are_opened(files: int) -> None:
    pieces = [Piece(0, f"{number:05d}", 0, 20) for number in range(files)]
    chosen = _thinned(pieces)
    assert len(chosen) == len(set(chosen)) == MOST_FILES
    assert (chosen[0], chosen[-1]) == (pieces[0], pieces[-1])
    assert chosen == sorted(chosen, key=lambda piece: piece.file)
