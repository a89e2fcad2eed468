from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats.contingency import relative_risk

from engine.points.rates import difference, lift, wilson

COUNTS = st.integers(1, 400).flatmap(lambda users: st.tuples(st.integers(0, users), st.just(users)))


@given(COUNTS)
def test_the_interval_of_a_rate_is_that_of_scipy(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(method="wilson")
    found = wilson(*counts)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(COUNTS, COUNTS)
def test_the_interval_of_a_lift_is_that_of_scipy(one: tuple[int, int], two: tuple[int, int]) -> None:
    found = lift(*one, *two)
    if one[0] and two[0]:
        expected = relative_risk(*one, *two)
        interval = expected.confidence_interval()
        assert found.value == pytest.approx(expected.relative_risk)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    else:
        assert (found.value is None) == (two[0] == 0)
        assert 0 < found.low <= found.high


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    # The examples of Newcombe (1998), table II, method 10.
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0000),
    ],
)
def test_the_interval_of_a_difference_is_the_published_one(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    found = difference(*counts)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_nobody_has_no_rate() -> None:
    with pytest.raises(ValueError, match="expected users"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="both groups"):
        lift(1, 2, 0, 0)
