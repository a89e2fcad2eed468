"""Customer value as it is usually written down: every customer is a row, and every row is evaluated.

    python -m benchmarks.value_by_hand FILE TO

BG/NBD and Gamma-Gamma by Nelder-Mead over all rows, then the equations of the papers with scipy's hypergeometric
function for each customer and month. Where that overflows, so does the value.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

COLUMNS = ("btyd_frequency", "btyd_recency_days", "btyd_t_days", "btyd_mean_repeat_spend")
ENDS = [*range(30, 361, 30), 365]
RATE = 0.1


def maximise(likelihood: Callable[[Floats], float], start: list[float]) -> Floats:
    from scipy.optimize import minimize

    found = minimize(
        lambda theta: -likelihood(np.exp(theta)),
        np.log(start),
        method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 4000, "maxfev": 4000},
    )
    return np.exp(found.x)


def fit_purchases(x: Floats, recency: Floats, age: Floats) -> Floats:
    from scipy.special import betaln, gammaln

    def likelihood(values: Floats) -> float:
        r, alpha, a, b = values
        first = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        stayed = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
        with np.errstate(divide="ignore"):
            odds = np.where(x > 0, np.log(a / np.maximum(b + x - 1, 1e-300)), -np.inf)
        left = stayed + odds + (r + x) * (np.log(alpha + age) - np.log(alpha + recency))
        return float(np.mean(first + np.logaddexp(stayed, left)))

    return maximise(likelihood, [1, 1, 1, 1])


def fit_spend(x: Floats, mean: Floats) -> Floats:
    from scipy.special import gammaln

    def likelihood(values: Floats) -> float:
        p, q, v = values
        gammas = gammaln(p * x + q) - gammaln(p * x) - gammaln(q)
        return float(
            np.mean(
                gammas
                + q * np.log(v)
                + (p * x - 1) * np.log(mean)
                + p * x * np.log(x)
                - (p * x + q) * np.log(v + x * mean)
            )
        )

    return maximise(likelihood, [1, 2, 10])


def values(frame: pl.DataFrame) -> pl.DataFrame:
    """The value columns of all customers of the frame."""
    from scipy.special import hyp2f1

    x, recency, age, mean = (frame[column].to_numpy().astype(np.float64) for column in COLUMNS)
    recency, age = recency / 7, age / 7
    repeat = (x > 0) & (mean > 0)
    r, alpha, a, b = fit_purchases(x, recency, age)
    p, q, v = fit_spend(x[repeat], mean[repeat])
    odds = a / (b + np.maximum(x, 1) - 1) * ((alpha + age) / (alpha + recency)) ** (r + x)
    alive = np.where(x > 0, 1 / (1 + odds), 1.0)

    def expected(days: int) -> Floats:
        t = days / 7
        z = t / (alpha + age + t)
        tail = (1 - z) ** (r + x) * hyp2f1(r + x, b + x, a + b + x - 1, z)
        return alive * (a + b + x - 1) / (a - 1) * (1 - tail)

    order = p * (v + x * mean) / (p * x + q - 1)
    value, before = np.zeros(x.size), np.zeros(x.size)
    for end in ENDS:
        until = expected(end)
        value += order * (until - before) / (1 + RATE) ** (end / 365)
        before = until
    columns = {"expected_purchases": before, "p_alive": alive, "expected_order": order, "clv": value}
    return pl.DataFrame({f"value_{name}": column for name, column in columns.items()})


if __name__ == "__main__":
    with np.errstate(over="ignore", invalid="ignore"):
        values(pl.read_parquet(sys.argv[1])).write_parquet(sys.argv[2])
