from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import integrate, special, stats

from engine.value.gamma_gamma import (
    GammaGamma,
    correlation,
    expected_order,
    fit_gamma_gamma,
    gamma_gamma_objective,
    paying,
)
from tests.value.customers import CDNOW_SPEND, btyd, counted, simulated


def spend_of(rows: list[tuple[int, float]]) -> pl.DataFrame:
    return counted(btyd([(x, 1, 2, mean) for x, mean in rows])).spend


def test_the_likelihood_is_that_of_the_note() -> None:
    spend = paying(counted(simulated()[:1000]).spend)
    p, q, v = 2.0, 4.5, 12.0
    total = 0.0
    for x, minor, customers in spend.iter_rows():
        mean = minor / 100 / x
        total += customers * (
            special.gammaln(p * x + q)
            - special.gammaln(p * x)
            - special.gammaln(q)
            + q * np.log(v)
            + (p * x - 1) * np.log(mean)
            + p * x * np.log(x)
            - (p * x + q) * np.log(v + x * mean)
        )
    found = gamma_gamma_objective(spend, 2)(np.array([p, q, v]))[0] * spend["customers"].sum()
    assert found == pytest.approx(total, rel=1e-12)


def test_the_likelihood_is_the_integral_over_the_rate() -> None:
    model = CDNOW_SPEND

    def density(rate: float) -> float:
        return stats.gamma.pdf(22.35, 2 * model.p, scale=1 / (2 * rate)) * stats.gamma.pdf(
            rate, model.q, scale=1 / model.v
        )

    mean, _ = gamma_gamma_objective(spend_of([(2, 22.35)]), 2)(np.array([model.p, model.q, model.v]))
    assert mean == pytest.approx(np.log(integrate.quad(density, 0, 5, epsabs=0)[0]), rel=1e-8)


def test_the_derivatives_are_those_of_the_likelihood() -> None:
    objective = gamma_gamma_objective(paying(counted(simulated()[:1000]).spend), 2)
    at = np.array([2.0, 4.5, 12.0])
    _, slope = objective(at)
    for index in range(3):
        step = np.zeros(3)
        step[index] = 1e-6 * at[index]
        measured = (objective(at + step)[0] - objective(at - step)[0]) / (2e-6 * at[index])
        assert slope[index] == pytest.approx(measured, rel=1e-5, abs=1e-7)


def test_the_parameters_of_simulated_customers_are_found_again() -> None:
    found = fit_gamma_gamma(paying(counted(simulated()).spend), 2)
    assert found.problem is None
    model = GammaGamma(*found.values)
    assert model.mean == pytest.approx(CDNOW_SPEND.mean, rel=0.03)
    assert found.values == pytest.approx((6.25, 3.74, 15.44), rel=0.12)


@pytest.mark.parametrize("digits", [0, 2])
def test_money_is_in_major_units(digits: int) -> None:
    spend = paying(counted(simulated()).spend)
    found = fit_gamma_gamma(spend, digits)
    p, q, v = fit_gamma_gamma(spend, 2).values
    assert found.values == pytest.approx((p, q, v * 10 ** (2 - digits)), rel=1e-7)


def test_prices_that_are_all_the_same_run_to_a_bound() -> None:
    found = fit_gamma_gamma(spend_of([(1, 10.0), (2, 10.0), (3, 10.0)] * 50), 2)
    assert found.problem is not None
    assert "runs to" in found.problem


def test_the_expected_order_lies_between_the_own_mean_and_that_of_all() -> None:
    frequency, spend = np.array([0, 1, 100, 5000, 3, 3]), np.array([0, 10_000, 1_000_000, 50_000_000, 0, -500])
    found = expected_order(CDNOW_SPEND, frequency, spend, 2)
    assert found[0] == pytest.approx(CDNOW_SPEND.mean)
    assert CDNOW_SPEND.mean < found[1] < found[2] < found[3] < 100.01
    assert 0 < found[4] == found[5] < CDNOW_SPEND.mean


def test_those_who_spent_nothing_are_left_out() -> None:
    assert paying(spend_of([(1, 0.0), (1, -3.0), (2, 4.0)])).rows() == [(2, 800, 1)]


def test_the_correlation_is_that_of_numpy() -> None:
    frame = simulated().filter(pl.col("btyd_mean_repeat_spend") > 0)
    expected = np.corrcoef(frame["btyd_frequency"], frame["btyd_mean_repeat_spend"])[0, 1]
    assert correlation(paying(counted(frame).spend)) == pytest.approx(expected, rel=1e-9)
    assert correlation(spend_of([(1, 2.0), (1, 3.0)])) == 0
