"""BG/NBD: how often customers buy, and whether they still do (Fader, Hardie and Lee 2005, Marketing Science 24:2).

While alive, a customer buys at a rate of their own (gamma: r, alpha) and may leave after each purchase, with a chance
of their own (beta: a, b). Time is in weeks, as in the paper, so that alpha can be compared with published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.stable_math import exp, log, log1p, sigmoid
from engine.value.counts import CUSTOMERS, FREQUENCY, RECENCY_DAYS, T_DAYS
from engine.value.optimum import Floats, Objective, Optimum, Range, maximise, total_of

Integers = NDArray[np.int64]

DAYS_PER_WEEK: Final = 7
RANGES: Final = (
    Range("r", 1e-4, 1e4),
    Range("alpha", 1e-4, 1e6),
    Range("a", 1e-4, 1e4),
    Range("b", 1e-4, 1e4),
)
# Triples that stay in a core's cache together.
_CHUNK: Final = 1 << 15
# Above this many triples the search starts from the optimum of histories whose days were rounded down to weeks.
_COARSE_ABOVE: Final = 20_000


@dataclass(frozen=True)
class BgNbd:
    """The parameters; `alpha` is in weeks, the others have no unit."""

    r: float
    alpha: float
    a: float
    b: float

    @property
    def values(self) -> tuple[float, float, float, float]:
        return self.r, self.alpha, self.a, self.b


def fit_bgnbd(histories: pl.DataFrame) -> Optimum:
    """The parameters r, alpha (weeks), a, b of the greatest likelihood.

    Args:
        histories: As in `Counts`: `frequency`, `recency_days`, `t_days`, `customers`, one row per distinct triple.
    """
    starts: list[tuple[float, ...]] = [(1.0, _mean_weeks(histories), 1.0, 1.0), (0.3, 5.0, 0.8, 2.5)]
    if histories.height > _COARSE_ABOVE:
        days = [RECENCY_DAYS, T_DAYS]
        by_week = histories.with_columns(pl.col(days) // DAYS_PER_WEEK * DAYS_PER_WEEK)
        coarse = by_week.group_by(FREQUENCY, *days).agg(pl.col(CUSTOMERS).sum()).sort(FREQUENCY, *days)
        starts = [maximise(bgnbd_objective(coarse), RANGES, starts).values]
    return maximise(bgnbd_objective(histories), RANGES, starts)


def log_likelihood(histories: pl.DataFrame, model: BgNbd) -> float:
    """The sum over all customers of the logarithm of equation (6) of the paper."""
    mean, _ = bgnbd_objective(histories)(np.array(model.values))
    return mean * int(histories[CUSTOMERS].sum())


def p_alive(model: BgNbd, frequency: Integers, recency_days: Integers, t_days: Integers) -> Floats:
    """Probability that a customer still buys at T; 1 without a repeat purchase, as the model lets nobody leave before.

    (Fader and Hardie 2008, "Computing P(alive) Using the BG/NBD Model".)

    Args:
        model: The parameters.
        frequency: Repeat purchase days x.
        recency_days: Days from the first purchase day to the last, t_x.
        t_days: Days from the first purchase day to the end of the observation, T.
    """
    if not frequency.size:
        return np.empty(0)
    level = _log_weeks(model.alpha, int(t_days.max()))
    gone = _log_odds_gone(model.a, model.b, int(frequency.max()))
    odds = gone[frequency] + (model.r + frequency) * (level[t_days] - level[recency_days])
    return np.where(frequency > 0, sigmoid(-odds), 1.0)


def bgnbd_objective(histories: pl.DataFrame) -> Objective:
    """The mean log-likelihood of a customer as a function of (r, alpha, a, b), with its derivatives.

    Gamma functions appear only as ratios Γ(r + x) / Γ(r) with a whole x: sums of logarithms. What depends on one of x,
    t_x and T is computed once per value and looked up.

    Args:
        histories: As in `Counts`.
    """
    x, recency, age, weight = (
        histories[name].to_numpy().astype(np.int64) for name in (FREQUENCY, RECENCY_DAYS, T_DAYS, CUSTOMERS)
    )
    customers = float(weight.sum())
    top, last = int(x.max()), int(age.max())
    by_x = np.bincount(x, weights=weight, minlength=top + 1)
    by_age = np.bincount(age, weights=weight, minlength=last + 1)
    repeats_by_age = np.bincount(age, weights=weight * x, minlength=last + 1)
    if not top:
        message = "expected a customer with a repeat purchase"
        raise ValueError(message)
    # Whether someone is gone is a question only after a repeat purchase.
    again = x > 0
    x, recency, age, weights = x[again], recency[again], age[again], weight[again].astype(np.float64)
    orders = np.arange(top, dtype=np.float64)

    def objective(values: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = map(float, values)
        log_alpha = float(log(alpha))
        level, inverse = _log_weeks(alpha, last), 1.0 / _weeks(alpha, last)
        rise_r, rise_b, rise_ab = (_rises(log(start + orders)) for start in (r, b, a + b))
        slope_r, slope_b, slope_ab = (_rises(1.0 / (start + orders)) for start in (r, b, a + b))
        gone = _log_odds_gone(a, b, top)
        # Weighted sums over the triples: ln(1 + e^odds) and what its derivatives need.
        total = by_r = by_alpha = 0.0
        left_by_x = np.zeros(top + 1)
        for start in range(0, x.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            power, behind = r + x[part], level[age[part]] - level[recency[part]]
            odds = gone[x[part]] + power * behind
            small = exp(-np.abs(odds))
            total += total_of(weights[part] * (np.maximum(odds, 0.0) + log1p(small)))
            left = weights[part] * (np.where(odds < 0, small, 1.0) / (1.0 + small))
            by_r += total_of(left * behind)
            by_alpha += total_of(left * power * (inverse[age[part]] - inverse[recency[part]]))
            left_by_x += np.bincount(x[part], weights=left, minlength=top + 1)
        likelihood = (
            total
            + customers * r * log_alpha
            + total_of(by_x * (rise_r + rise_b - rise_ab))
            - total_of((r * by_age + repeats_by_age) * level)
        )
        from_ab = -total_of(by_x * slope_ab)
        after = np.arange(top + 1, dtype=np.float64) + (b - 1.0)
        slope = (
            by_r + customers * log_alpha + total_of(by_x * slope_r) - total_of(by_age * level),
            by_alpha + customers * r / alpha - total_of((r * by_age + repeats_by_age) * inverse),
            from_ab + total_of(left_by_x) / a,
            from_ab + total_of(by_x * slope_b) - total_of(left_by_x[1:] / after[1:]),
        )
        return likelihood / customers, np.array(slope) / customers

    return objective


def _weeks(alpha: float, last_day: int) -> Floats:
    return alpha + np.arange(last_day + 1, dtype=np.float64) / DAYS_PER_WEEK


def _log_weeks(alpha: float, last_day: int) -> Floats:
    return log(_weeks(alpha, last_day))


def _log_odds_gone(a: float, b: float, top: int) -> Floats:
    """ln(a / (b + x − 1)) for x = 0, 1, …; 0 stands for x = 0."""
    return np.concatenate(([0.0], log(a / (b + np.arange(top, dtype=np.float64)))))


def _rises(steps: Floats) -> Floats:
    return np.concatenate(([0.0], np.cumsum(steps)))


def _mean_weeks(histories: pl.DataFrame) -> float:
    ages, customers = histories[T_DAYS], histories[CUSTOMERS]
    return max(1, int((ages * customers).sum())) / (DAYS_PER_WEEK * int(customers.sum()))
