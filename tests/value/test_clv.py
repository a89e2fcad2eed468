from __future__ import annotations

import numpy as np
import pytest

from engine.value.clv import discounted, period_ends


@pytest.mark.parametrize(
    ("horizon", "ends"),
    [(1, [1]), (30, [30]), (31, [30, 31]), (60, [30, 60]), (365, [*range(30, 361, 30), 365])],
)
def test_a_horizon_is_cut_into_months_of_thirty_days(horizon: int, ends: list[int]) -> None:
    assert period_ends(horizon).tolist() == ends


def test_each_period_is_discounted_at_its_end() -> None:
    ends = period_ends(365)
    expected = np.cumsum(np.random.default_rng(0).random((5, ends.size)), axis=1)
    by_period = np.diff(expected, axis=1, prepend=0)
    by_hand = sum(by_period[:, index] / 1.1 ** (end / 365) for index, end in enumerate(ends))
    assert discounted(expected, ends, 0.1) == pytest.approx(by_hand, rel=1e-13)


def test_without_a_rate_nothing_is_discounted() -> None:
    ends = period_ends(365)
    expected = np.cumsum(np.random.default_rng(0).random((5, ends.size)), axis=1)
    assert np.array_equal(discounted(expected, ends, 0.0), expected[:, -1])


def test_a_higher_rate_counts_less() -> None:
    ends = period_ends(200)
    expected = np.linspace(1, 3, ends.size)[None, :]
    values = [discounted(expected, ends, rate)[0] for rate in (0, 0.05, 0.5, 10)]
    assert values == sorted(values, reverse=True)
    assert values[-1] > 0
