from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import integrate, special, stats

from engine.value import bgnbd as module
from engine.value.bgnbd import BgNbd, bgnbd_objective, fit_bgnbd, log_likelihood, p_alive
from tests.value.customers import CDNOW, LIVELY, btyd, counted, simulated

CASES = [
    (CDNOW, 0, 0, 0),
    (CDNOW, 0, 0, 273),
    (CDNOW, 1, 1, 1),
    (CDNOW, 2, 213, 272),
    (CDNOW, 26, 216, 217),
    (BgNbd(3.0, 2.0, 1.5, 0.4), 5, 30, 200),
    (BgNbd(0.1, 40.0, 0.05, 9.0), 12, 365, 365),
]


def integrated(model: BgNbd, x: int, recency: int, age: int) -> tuple[float, float]:
    # The likelihood of a history by integrals over the rate and the drop-out, and its part with a living customer.
    t_x, t = recency / 7, age / 7

    def over_rates(until: float) -> float:
        def density(rate: float) -> float:
            return rate**x * np.exp(-rate * until) * stats.gamma.pdf(rate, model.r, scale=1 / model.alpha)

        return sum(
            integrate.quad(density, low, high, epsabs=0, limit=200)[0]
            for low, high in [(0, 1e-3), (1e-3, 0.1), (0.1, 2), (2, 20), (20, 200)]
        )

    def over_chances(gone: int, stayed: int) -> float:
        def density(p: float) -> float:
            return p**gone * (1 - p) ** stayed * stats.beta.pdf(p, model.a, model.b)

        return sum(
            integrate.quad(density, low, high, epsabs=0, limit=200)[0]
            for low, high in [(0, 1e-6), (1e-6, 1e-2), (1e-2, 0.5), (0.5, 0.99), (0.99, 1)]
        )

    alive = over_chances(0, x) * over_rates(t)
    left = over_chances(1, x - 1) * over_rates(t_x) if x else 0.0
    return alive + left, alive


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize(("model", "x", "recency", "age"), CASES)
def test_likelihood_and_p_alive_are_the_integrals_they_stand_for(model: BgNbd, x: int, recency: int, age: int) -> None:
    whole, alive = integrated(model, x, recency, age)
    others = btyd([(1, 5, 9, 1.0)])
    both = counted(pl.concat([btyd([(x, recency, age, 1.0)]), others])).histories
    found = log_likelihood(both, model) - log_likelihood(counted(others).histories, model)
    assert found == pytest.approx(np.log(whole), abs=1e-5)
    chance = p_alive(model, *(np.array([value]) for value in (x, recency, age)))
    assert chance == pytest.approx(alive / whole, rel=1e-5)


def test_the_likelihood_is_that_of_the_paper() -> None:
    histories = counted(simulated()[:500]).histories
    r, alpha, a, b = LIVELY.values
    total = 0.0
    for x, recency, age, customers in histories.iter_rows():
        first = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha)
        second = special.betaln(a, b + x) - special.betaln(a, b)
        third = (alpha + age / 7) ** -(r + x)
        if x:
            third += a / (b + x - 1) * (alpha + recency / 7) ** -(r + x)
        total += customers * (first + second + np.log(third))
    assert log_likelihood(histories, LIVELY) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("model", [CDNOW, LIVELY, BgNbd(5.0, 0.01, 0.01, 30.0)])
def test_the_derivatives_are_those_of_the_likelihood(model: BgNbd) -> None:
    objective = bgnbd_objective(counted(simulated()[:2000]).histories)
    at = np.array(model.values)
    _, slope = objective(at)
    for index in range(4):
        step = np.zeros(4)
        step[index] = 1e-6 * at[index]
        measured = (objective(at + step)[0] - objective(at - step)[0]) / (2e-6 * at[index])
        assert slope[index] == pytest.approx(measured, rel=1e-5, abs=1e-7)


def test_the_parameters_of_simulated_customers_are_found_again() -> None:
    found = fit_bgnbd(counted(simulated()).histories)
    assert found.problem is None
    assert BgNbd(*found.values).values == pytest.approx(LIVELY.values, rel=0.12)


@pytest.mark.parametrize("above", [100, 10**9])
def test_the_search_ends_at_the_same_place_from_weeks_and_from_scratch(
    above: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = counted(simulated()[:3000]).histories
    expected = fit_bgnbd(histories)
    monkeypatch.setattr(module, "_COARSE_ABOVE", above)
    assert fit_bgnbd(histories).values == pytest.approx(expected.values, rel=1e-8)


@pytest.mark.parametrize("chunk", [7, 1000])
def test_chunks_do_not_change_the_likelihood(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = bgnbd_objective(counted(simulated()[:2000]).histories)
    mean, slope = objective(np.array(CDNOW.values))
    monkeypatch.setattr(module, "_CHUNK", chunk)
    again, slope_again = objective(np.array(CDNOW.values))
    assert again == pytest.approx(mean, rel=1e-13)
    assert slope_again == pytest.approx(slope, rel=1e-10)


def test_p_alive_of_extreme_customers() -> None:
    x = np.array([0, 0, 1, 5000, 5000, 5000, 3])
    recency = np.array([0, 0, 1, 5000, 5000, 5001, 10])
    age = np.array([0, 9000, 1, 5000, 9000, 5002, 9000])
    found = p_alive(CDNOW, x, recency, age)
    assert found[:2].tolist() == [1, 1]
    # Who bought on the last day left then or not at all.
    assert found[2] == pytest.approx(1 / (1 + CDNOW.a / CDNOW.b))
    assert found[3] == pytest.approx(1 / (1 + CDNOW.a / (CDNOW.b + 4999)))
    assert found[4] == 0
    assert 0.5 < found[5] < found[3]
    assert 0 < found[6] < 0.01


def test_p_alive_of_a_row_does_not_depend_on_the_others() -> None:
    x, recency, age = simulated().select("btyd_frequency", "btyd_recency_days", "btyd_t_days").to_numpy().T
    whole = p_alive(LIVELY, x, recency, age)
    parts = [p_alive(LIVELY, x[start::7], recency[start::7], age[start::7]) for start in range(7)]
    assert all(np.array_equal(whole[start::7], part) for start, part in enumerate(parts))
    assert p_alive(LIVELY, x[:0], recency[:0], age[:0]).size == 0


def test_without_a_repeat_purchase_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="repeat purchase"):
        bgnbd_objective(counted(btyd([(0, 0, 9, 0.0)])).histories)
