from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, special

from engine.value.bgnbd import BgNbd, p_alive
from engine.value.expected import by_integral, by_series, purchases_if_alive
from tests.value.customers import CDNOW, LIVELY, simulated

TAME = [CDNOW, LIVELY, BgNbd(3, 4.4, 0.79, 0.1), BgNbd(0.5, 4, 0.3, 0.2), BgNbd(1, 4, 15, 30), BgNbd(1, 2, 0.5, 900)]
AT_THE_POLES = [BgNbd(0.5, 4, 1, 2), BgNbd(0.5, 4, 1 + 1e-12, 2), BgNbd(0.5, 4, 0.4, 0.6), BgNbd(0.5, 4, 0.3, 0.7)]
WILD = [BgNbd(100, 50, 2, 3), BgNbd(1, 2, 500, 400), BgNbd(4, 2, 0.001, 1), BgNbd(9000, 9000, 9000, 9000)]
ORDERS = np.array([0.0, 1, 2, 10, 100, 1000, 5000])


def grid(model: BgNbd) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, age, ahead = np.meshgrid(ORDERS, [0.0, 1, 40, 300], [0.1, 10, 52, 520], indexing="ij")
    return x.ravel(), model.alpha + age.ravel(), ahead.ravel()


def by_quadrature(model: BgNbd, x: float, elapsed: float, ahead: float) -> float:
    # E[(1 − (1 + p t / (alpha + T))^−(r + x)) / p] over p ~ Beta(a, b + x), in log-odds so that small p are seen.
    a, b = model.a, model.b + x
    centre, width = np.log(a / b), np.sqrt(1 / a + 1 / b)

    def density(log_odds: float) -> float:
        log_p = -np.logaddexp(0, -log_odds)
        return np.exp(a * log_p - b * np.logaddexp(0, log_odds) - special.betaln(a, b))

    def bought(log_odds: float) -> float:
        p = np.exp(-np.logaddexp(0, -log_odds))
        return -np.expm1(-(model.r + x) * np.log1p(p * ahead / elapsed)) / p

    edges = centre + np.array([-60 / a, -12 * width, -3 * width, 0, 3 * width, 12 * width, 60 / b + 12 * width])
    pieces = list(zip(sorted(edges)[:-1], sorted(edges)[1:], strict=True))
    return sum(
        integrate.quad(lambda odds: density(odds) * bought(odds), low, high, epsabs=0, epsrel=1e-11, limit=400)[0]
        for low, high in pieces
    )


@pytest.mark.parametrize("model", [*TAME[:3], AT_THE_POLES[0], AT_THE_POLES[2], WILD[0], WILD[1]])
@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
def test_the_integral_is_that_of_scipy(model: BgNbd) -> None:
    x, elapsed, ahead = grid(model)
    some = np.random.default_rng(0).choice(x.size, 15, replace=False)
    expected = [by_quadrature(model, *row) for row in zip(x[some], elapsed[some], ahead[some], strict=True)]
    assert by_integral(model, x[some], elapsed[some], ahead[some]) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("model", [CDNOW, LIVELY, BgNbd(0.5, 4, 2.5, 3)])
def test_it_is_equation_10_where_that_can_be_computed(model: BgNbd) -> None:
    x, elapsed, ahead = (values[values_of <= 10] for values_of in [grid(model)[0]] for values in grid(model))
    r, _, a, b = model.values
    z = ahead / (elapsed + ahead)
    tail = (1 - z) ** (r + x) * special.hyp2f1(r + x, b + x, a + b + x - 1, z)
    equation = (a + b + x - 1) / (a - 1) * (1 - tail)
    days = np.rint(7 * (elapsed - model.alpha)).astype(np.int64)
    found = [
        purchases_if_alive(model, np.array([int(order)]), np.array([day]), np.array([round(7 * horizon)]))[0, 0]
        for order, day, horizon in zip(x, days, ahead, strict=True)
        if round(7 * horizon) == 7 * horizon
    ]
    assert found == pytest.approx(equation[np.rint(7 * ahead) == 7 * ahead], rel=1e-7)


@pytest.mark.parametrize("model", [*TAME, *AT_THE_POLES])
def test_series_and_integral_agree(model: BgNbd) -> None:
    x, elapsed, ahead = grid(model)
    short = ahead / (elapsed + ahead) <= 0.93
    series = by_series(model, x[short], elapsed[short], ahead[short])
    assert series == pytest.approx(by_integral(model, x[short], elapsed[short], ahead[short]), rel=1e-9)


@pytest.mark.parametrize("model", [*TAME, *AT_THE_POLES, *WILD])
def test_expectations_are_sound_for_every_parameter_and_customer(model: BgNbd) -> None:
    frequency = np.repeat(ORDERS.astype(np.int64), 3)
    age = np.tile([5000, 5001, 9000], ORDERS.size)
    horizons = np.array([1, 7, 30, 365, 3650])
    found = purchases_if_alive(model, frequency, age, horizons)
    assert np.isfinite(found).all()
    assert (found > 0).all()
    assert (np.diff(found, axis=1) > 0).all()
    # Nobody buys more than without ever leaving.
    certain = (model.r + frequency)[:, None] / (model.alpha + age / 7)[:, None] * (horizons / 7)
    assert (found <= certain * (1 + 1e-9)).all()


def test_an_hour_after_the_first_purchase() -> None:
    found = purchases_if_alive(BgNbd(0.3, 1e-4, 0.8, 2.5), np.array([0]), np.array([0]), np.array([1, 3650]))
    expected = by_quadrature(BgNbd(0.3, 1e-4, 0.8, 2.5), 0, 1e-4, 1 / 7)
    assert found[0, 0] == pytest.approx(expected, rel=1e-7)
    assert found[0, 1] > found[0, 0]


def test_a_value_does_not_depend_on_the_rows_and_horizons_beside_it() -> None:
    frequency, age = simulated().select("btyd_frequency", "btyd_t_days").head(3000).to_numpy().T
    horizons = np.array([30, 60, 365])
    whole = purchases_if_alive(CDNOW, frequency, age, horizons)
    for start in range(5):
        part = purchases_if_alive(CDNOW, frequency[start::5], age[start::5], horizons)
        assert np.array_equal(part, whole[start::5])
    assert np.array_equal(purchases_if_alive(CDNOW, frequency, age, horizons[2:]), whole[:, 2:])
    assert purchases_if_alive(CDNOW, frequency[:0], age[:0], horizons).shape == (0, 3)


def test_simulated_customers_buy_as_much_as_expected() -> None:
    customers = simulated()
    x, recency, age = customers.select("btyd_frequency", "btyd_recency_days", "btyd_t_days").to_numpy().T
    ahead = purchases_if_alive(LIVELY, x, age, np.array([280]))[:, 0]
    expected, later = p_alive(LIVELY, x, recency, age) * ahead, customers["later"].to_numpy()
    assert later.mean() == pytest.approx(expected.mean(), rel=0.04)
    for group in (x == 0, x == 1, (x > 1) & (x < 5), x >= 5):
        assert later[group].mean() == pytest.approx(expected[group].mean(), rel=0.1)
