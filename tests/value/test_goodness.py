from __future__ import annotations

import numpy as np
import pytest

from engine.value.expected import purchases_if_alive
from engine.value.goodness import actual_counts, expected_counts, purchase_chances
from tests.value.customers import CDNOW, LIVELY, btyd, counted, simulated


def test_customers_are_grouped_by_their_repeat_purchases() -> None:
    rows = [(x, x, 40, 1.0) for x in (0, 0, 1, 6, 7, 7, 19)]
    assert actual_counts(counted(btyd(rows)).histories) == (2, 1, 0, 0, 0, 0, 1, 3)


def test_simulated_customers_fall_into_the_groups_as_expected() -> None:
    histories = counted(simulated()).histories
    expected = expected_counts(histories, LIVELY)
    assert expected.sum() == pytest.approx(histories["customers"].sum())
    assert expected == pytest.approx(actual_counts(histories), rel=0.1)


def test_chances_without_time_and_with_little_of_it() -> None:
    now, soon = purchase_chances(CDNOW, np.array([0.0, 0.01]))
    assert now.tolist() == [1, 0, 0, 0, 0, 0, 0]
    # So soon nobody buys more than a few times: the chances hold all of the mean.
    mean = float((soon * np.arange(7)).sum())
    days = purchases_if_alive(CDNOW, np.array([0]), np.array([0]), np.array([1]))[0, 0]
    assert soon.sum() == pytest.approx(1, abs=1e-9)
    assert mean == pytest.approx(0.07 * days, rel=0.05)
