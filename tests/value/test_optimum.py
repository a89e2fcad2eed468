from __future__ import annotations

import numpy as np
import pytest

from engine.value.optimum import Floats, Range, maximise, total_of

RANGES = (Range("x", 1e-3, 1e3), Range("y", 1e-3, 1e3))


def hill(values: Floats) -> tuple[float, Floats]:
    # −(ln x − 1)² − 2 (ln y + 0.5)² − (ln x)(ln y) / 2
    first, second = np.log(values)
    height = -((first - 1) ** 2) - 2 * (second + 0.5) ** 2 - first * second / 2
    slope = np.array([-2 * (first - 1) - second / 2, -4 * (second + 0.5) - first / 2])
    return float(height), slope / values


def ridge(values: Floats) -> tuple[float, Floats]:
    along = np.log(values).sum()
    return float(-(along**2)), -2 * along / values


def slope_up(values: Floats) -> tuple[float, Floats]:
    return float(np.log(values[0]) - np.log(values[1]) ** 2), np.array([1, -2 * np.log(values[1])]) / values


@pytest.mark.parametrize("start", [(1.0, 1.0), (500.0, 0.01), (0.002, 900.0)])
def test_the_maximum_is_found_to_all_digits_that_are_kept(start: tuple[float, float]) -> None:
    found = maximise(hill, RANGES, [start])
    expected = np.exp(np.linalg.solve([[2, 0.5], [0.5, 4]], [2, -2]))
    assert found.problem is None
    assert found.values == tuple(float(f"{value:.9g}") for value in expected)


def test_the_best_of_several_starts_wins() -> None:
    assert maximise(hill, RANGES, [(500.0, 500.0), (3.0, 0.6)]) == maximise(hill, RANGES, [(3.0, 0.6)])


@pytest.mark.parametrize(("objective", "problem"), [(slope_up, "x runs to 1000"), (ridge, "no single maximum")])
def test_what_has_no_maximum_is_told(objective: object, problem: str) -> None:
    found = maximise(objective, RANGES, [(2.0, 2.0)])  # type: ignore[arg-type]
    assert found.problem is not None
    assert problem in found.problem


def test_a_search_that_never_rests_is_told() -> None:
    calls = iter(range(10**6))

    def shaking(values: Floats) -> tuple[float, Floats]:
        height, slope = hill(values)
        return height, slope + 1e-4 * (next(calls) % 3)

    found = maximise(shaking, RANGES, [(2.0, 0.5)])
    assert found.problem is not None
    assert "did not come to rest" in found.problem or "no single maximum" in found.problem


def test_sums_do_not_depend_on_the_length_of_a_register() -> None:
    values = np.random.default_rng(0).normal(size=1001)
    total = 0.0
    for value in values.tolist():
        total += value
    assert total_of(values) == total
    assert total_of(np.empty(0)) == 0
