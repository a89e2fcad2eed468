from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clusters.units import FINE_UNITS, LIMIT, UNITS, exact_sums, rounded, sum_all, to_units, whole


def test_coordinates_are_whole_units_within_the_limit() -> None:
    values = np.array([[0.1, -0.1], [5000.0, -np.inf], [-0.0, -1e-9], [0.25, -1024.5]])
    found = rounded(np.asfortranarray(values))
    assert (found * UNITS == np.rint(found * UNITS)).all()
    np.testing.assert_allclose(found[0], values[0], atol=0.5 / UNITS)
    assert found[1:].tolist() == [[LIMIT, -LIMIT], [0, 0], [0.25, -LIMIT]]
    assert not np.signbit(found[2]).any()
    assert found.flags.f_contiguous


def test_rounding_twice_is_rounding_once() -> None:
    found = rounded(np.random.default_rng(0).normal(scale=300, size=(500, 3)))
    assert rounded(found).tobytes() == found.tobytes()
    assert (to_units(found) / UNITS == found).all()


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(-1e9, 1e9), st.integers(0, 2**20)), max_size=30),
    st.integers(0, 30),
    st.randoms(use_true_random=False),
)
def test_exact_sums_depend_on_no_order_and_no_cut(
    terms: list[tuple[int, float, int]], cut: int, random: object
) -> None:
    def sums(some: list[tuple[int, float, int]]) -> tuple[int, ...]:
        labels, values, weights = (np.array(column) for column in zip(*some, strict=True)) if some else ([], [], [])
        return exact_sums(
            np.asarray(values, dtype=float), np.asarray(labels, dtype=int), 3, np.asarray(weights, dtype=int)
        )

    shuffled = list(terms)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = [0, 0, 0]
    for label, value, weight in terms:
        expected[label] += round(value * FINE_UNITS) * weight
    assert list(sums(shuffled)) == expected
    assert list(sum_all([sums(terms[:cut]), sums(terms[cut:])])) == expected


@pytest.mark.parametrize("weights", [[1.5, 1.0], [-1.0, 1.0]])
def test_weights_that_count_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="whole numbers of at least 0"):
        whole(np.array(weights))
    assert whole(np.array([2.0, 0.0])).dtype == np.int64
