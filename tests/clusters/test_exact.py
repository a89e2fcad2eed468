from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clusters import nearest
from engine.clusters.exact import LAST_UNITS, sums_to_the_last_bit

# Up to 2³⁰, in multiples of 2⁻²³: every digit of these counts.
value = st.integers(-(2**53), 2**53).map(lambda whole: whole * 2.0**-23)
row = st.tuples(st.integers(0, 2), value, st.integers(0, 2**24))


@given(st.lists(row, max_size=20), st.integers(0, 20))
def test_sums_are_those_of_fractions_in_any_cut(rows: list[tuple[int, float, int]], cut: int) -> None:
    found = [0, 0, 0]
    for part in (rows[:cut], rows[cut:]):
        labels = np.array([label for label, _, _ in part], dtype=np.intp)
        weights = np.array([weight for _, _, weight in part], dtype=np.int64)
        sums = sums_to_the_last_bit(np.array([value for _, value, _ in part]), labels, 3, weights)
        found = [total + more for total, more in zip(found, sums, strict=True)]
    for label in range(3):
        expected = sum((Fraction(value) * weight for own, value, weight in rows if own == label), Fraction(0))
        assert Fraction(found[label], LAST_UNITS) == expected


@pytest.mark.parametrize("value", [1 / 3, -0.1, 2.0**-21 / 3, 1e-6, 2.0**28 + 1 / 3, 0.0])
def test_small_values_keep_their_digits(value: float) -> None:
    (total,) = sums_to_the_last_bit(np.full(3, value), np.zeros(3, dtype=np.intp), 1)
    assert total / (3 * LAST_UNITS) == pytest.approx(value, rel=2.0**-50, abs=0)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    values, labels = random.normal(size=500) * 900, random.integers(0, 4, 500)
    whole = sums_to_the_last_bit(values, labels, 4)
    monkeypatch.setattr(nearest, "_CHUNK_ROWS", 7)
    assert sums_to_the_last_bit(values, labels, 4) == whole
