from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import PointRule
from engine.points.forms import points_of, to_hundredths, to_points

NONE = math.nan


def rule(**keys: Any) -> PointRule:
    return PointRule(name="r", value="x", **keys)


LINEAR = {"points": 10, "form": "linear", "full_at": 4}
LOG = {"points": 5, "form": "log", "full_at": 0.5}
STEPS = {"form": "steps", "steps": ((1, 2), (5, 8), (10, -1))}


@pytest.mark.parametrize(
    ("keys", "quantity", "points"),
    [
        ({"points": 10}, 3, 30),
        ({"points": 10}, 0, 0),
        ({"points": 10}, NONE, 0),
        ({"points": -20}, 2, -40),
        ({"points": 2.5}, 0.5, 1.25),
        ({"points": 1}, -3, -3),
        ({"points": 10, "cap": 25}, 3, 25),
        ({"points": -20, "cap": 50}, 3, -50),
        ({"points": 10, "cap": 25}, 2, 20),
        ({"points": 10, "form": "once"}, 7, 10),
        ({"points": 10, "form": "once"}, 0.1, 10),
        ({"points": 10, "form": "once"}, 0, 0),
        ({"points": 10, "form": "once"}, -1, 0),
        ({"points": 10, "form": "once"}, NONE, 0),
        (LINEAR, 1, 2.5),
        (LINEAR, 3, 7.5),
        (LINEAR, 4, 10),
        (LINEAR, 9, 10),
        (LINEAR, -1, 0),
        (LINEAR, math.inf, 10),
        ({**LINEAR, "cap": 6}, 4, 6),
        ({**LINEAR, "points": -10}, 2, -5),
        (LOG, 0, 0),
        (LOG, 0.25, round(5 * math.log2(1.5), 2)),
        (LOG, 0.5, 5),
        (LOG, 1, 5),
        (LOG, math.inf, 5),
        (LOG, -0.2, 0),
        (LOG, NONE, 0),
        (STEPS, 0, 0),
        (STEPS, 0.99, 0),
        (STEPS, 1, 2),
        (STEPS, 4.9, 2),
        (STEPS, 5, 8),
        (STEPS, 10, -1),
        (STEPS, math.inf, -1),
        (STEPS, NONE, 0),
        ({"form": "steps", "steps": ((0, 3), (2, 1))}, 0, 3),
        ({"form": "steps", "steps": ((0, 3), (2, 1))}, NONE, 0),
        ({"points": 1}, math.inf, 1e11),
        ({"points": 1}, -math.inf, -1e11),
    ],
)
def test_points_of_each_form(keys: dict[str, Any], quantity: float, points: float) -> None:
    assert to_points(points_of(np.array([quantity]), rule(**keys))).tolist() == [points]


@pytest.mark.parametrize(
    ("points", "hundredths"),
    [(0.005, 1), (-0.005, -1), (0.0049, 0), (1.005, 101), (-1.005, -101), (2.675, 268), (0.015, 2), (0.0, 0)],
)
def test_halves_are_rounded_away_from_zero_as_they_are_written(points: float, hundredths: int) -> None:
    assert to_hundredths(np.array([points])).tolist() == [hundredths]


@given(st.decimals(min_value=-10_000, max_value=10_000, places=3))
def test_decimals_are_rounded_as_on_paper(points: Decimal) -> None:
    expected = int((points * 100).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    assert to_hundredths(np.array([float(points)])).tolist() == [expected]


@given(st.floats(0, 1e6, allow_nan=False), st.floats(0.01, 1e4))
def test_the_logarithmic_form_is_that_of_its_formula(quantity: float, full: float) -> None:
    exact = min(7 * math.log2(1 + quantity / full), 7)
    assert abs(points_of(np.array([quantity]), rule(points=7, form="log", full_at=full))[0] - 100 * exact) <= 0.5 + 1e-6
