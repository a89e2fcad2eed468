from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.propensity.platt import fit_platt, platt
from engine.stable_math import logit


def simulated(seed: int, rows: int, slope: float, intercept: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    log_odds = random.normal(-2, 1.5, rows)
    chance = 1 / (1 + np.exp(-(slope * log_odds + intercept)))
    return random.random(rows) < chance, 1 / (1 + np.exp(-log_odds))


@pytest.mark.parametrize(("seed", "rows"), [(1, 12), (2, 300), (3, 5000)])
def test_the_likelihood_is_the_greatest(seed: int, rows: int) -> None:
    from scipy.optimize import minimize

    truth, scores = simulated(seed, rows, 0.7, -0.5)
    positives = int(truth.sum())
    targets = np.where(truth, (positives + 1) / (positives + 2), 1 / (rows - positives + 2))
    log_odds = np.log(scores / (1 - scores))

    def loss(point: np.ndarray) -> float:
        fitted = point[0] * log_odds + point[1]
        return float(np.mean(np.logaddexp(0, fitted) - targets * fitted))

    oracle = minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-9})
    found = fit_platt(truth, scores)
    assert found == pytest.approx(oracle.x, rel=1e-4, abs=1e-5)
    assert loss(np.array(found)) <= oracle.fun + 1e-12


def test_the_parameters_of_a_simulation_are_recovered() -> None:
    slope, intercept = fit_platt(*simulated(4, 60_000, 0.6, -1.0))
    assert slope == pytest.approx(0.6, abs=0.04)
    assert intercept == pytest.approx(-1.0, abs=0.08)


@pytest.mark.parametrize(
    ("labels", "scores", "rate"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.3], 1 / 5),
        ([1, 1], [0.1, 0.2], 3 / 4),
        ([0, 1, 0, 0], [0.3] * 4, (2 / 3 + 3 / 5) / 4),
        ([1, 0, 0], [0.1, 0.5, 0.9], (2 / 3 + 2 / 4) / 3),
        ([1], [1.0], 2 / 3),
    ],
    ids=["no positives", "positives only", "one score", "reversed", "one row"],
)
def test_scores_that_tell_nothing_get_the_smoothed_rate(labels: list[int], scores: list[float], rate: float) -> None:
    slope, intercept = fit_platt(np.array(labels, dtype=bool), np.array(scores))
    assert slope == 0.0
    assert platt(np.array([0.0, 0.5, 1.0]), slope, intercept) == pytest.approx([rate] * 3)


@pytest.mark.parametrize("scores", [[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.5 + 1e-9, 0.5 + 1e-9]])
def test_separated_classes_have_a_finite_curve_through_the_smoothed_targets(scores: list[float]) -> None:
    slope, intercept = fit_platt(np.array([False, False, True, True]), np.array(scores))
    assert np.isfinite([slope, intercept]).all()
    assert platt(np.array(scores), slope, intercept) == pytest.approx([0.25, 0.25, 0.75, 0.75], abs=1e-6)


def test_the_order_of_rows_changes_no_bit() -> None:
    truth, scores = simulated(5, 2000, 1.2, 0.3)
    shuffle = np.random.default_rng(6).permutation(2000)
    assert fit_platt(truth, scores) == fit_platt(truth[shuffle], scores[shuffle])


@given(
    st.floats(0, 1) | st.floats(0.01, 0.02),
    st.integers(1, 2000),
    st.floats(2.0**-10, 50),
    st.floats(-20, 20),
)
def test_a_higher_score_never_has_a_lower_probability(start: float, steps: int, slope: float, intercept: float) -> None:
    fine = start + np.arange(300) * steps * 2.0**-53
    probability = platt(np.minimum(fine, 1.0), slope, intercept)
    assert (np.diff(probability) >= 0).all()
    assert ((probability >= 0) & (probability <= 1)).all()


def test_no_change_without_slope_and_intercept() -> None:
    scores = np.linspace(0.001, 0.999, 500)
    assert platt(scores, 1.0, 0.0) == pytest.approx(scores, rel=1e-7)
    assert logit(platt(scores, 2.0, 1.0)) == pytest.approx(2 * logit(scores) + 1, abs=1e-6)
