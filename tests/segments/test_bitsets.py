from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.segments.bitsets import in_common, packed, sums_over


def drawn(sets: int, users: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((sets, users)) < 0.3


@pytest.mark.parametrize("users", [0, 1, 63, 64, 65, 1000, 70_000])
def test_pairs_are_counted_as_by_hand(users: int) -> None:
    left, right = drawn(3, users), drawn(4, users, 1)
    expected = [[int((a & b).sum()) for b in right] for a in left]
    assert in_common(packed(left, users), packed(right, users)).tolist() == expected


@given(st.lists(st.integers(-(2**61), 2**61), max_size=130))
def test_sums_are_exact_whatever_the_sign(values: list[int]) -> None:
    sets = drawn(3, len(values))
    sets[0] = True
    expected = tuple(sum(value for value, inside in zip(values, row, strict=True) if inside) for row in sets)
    assert sums_over(packed(sets, len(values)), np.array(values, dtype=np.int64)) == expected


def test_no_sets_have_nothing_in_common() -> None:
    assert in_common(packed([], 10), packed(drawn(2, 10), 10)).shape == (0, 2)
