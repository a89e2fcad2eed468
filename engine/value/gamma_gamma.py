"""Gamma-Gamma: what a customer's purchases are worth on average (Fader and Hardie 2013, brucehardie.com note 025).

The worth of a purchase is gamma distributed with a shape p that all share and a rate of the customer's own, which is
gamma distributed itself (q, v). How often someone buys is taken to say nothing about how much: see `correlation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from engine.stable_math import log
from engine.value.bgnbd import Integers
from engine.value.counts import CUSTOMERS, FREQUENCY, SPEND_MINOR
from engine.value.optimum import Floats, Objective, Optimum, Range, maximise, total_of

# q − 1, not q: at q ≤ 1 the mean purchase would be infinite.
_RANGES: Final = (Range("p", 1e-4, 1e5), Range("q - 1", 1e-4, 1e5), Range("v", 1e-6, 1e12))


@dataclass(frozen=True)
class GammaGamma:
    """The parameters; `v` is money in major units, the others have no unit."""

    p: float
    q: float
    v: float

    @property
    def mean(self) -> float:
        """Mean purchase of a customer of whom nothing is known, in major units."""
        return self.p * self.v / (self.q - 1.0)


def paying(spend: pl.DataFrame) -> pl.DataFrame:
    """The rows of `Counts.spend` that can be learnt from: the repeat purchases are worth more than nothing."""
    return spend.filter(pl.col(SPEND_MINOR) > 0)


def fit_gamma_gamma(spend: pl.DataFrame, currency_digits: int) -> Optimum:
    """The parameters p, q, v (major units) of the greatest likelihood, with q above 1.

    Args:
        spend: As `paying` gives it: `frequency`, `spend_minor`, `customers`, one row per distinct pair.
        currency_digits: Decimals of the minor unit.
    """
    objective = gamma_gamma_objective(spend, currency_digits)

    def shifted(values: Floats) -> tuple[float, Floats]:
        p, above_one, v = values
        return objective(np.array([p, 1.0 + above_one, v]))

    repeats = float((spend[FREQUENCY] * spend[CUSTOMERS]).sum())
    mean = float((spend[SPEND_MINOR] * spend[CUSTOMERS]).sum()) / 10**currency_digits / repeats
    found = maximise(shifted, _RANGES, [(2.0, 2.0, mean), (6.0, 2.5, mean / 2.0), (0.5, 0.5, mean)])
    p, above_one, v = found.values
    return Optimum((p, 1.0 + above_one, v), found.mean, found.problem)


def gamma_gamma_objective(spend: pl.DataFrame, currency_digits: int) -> Objective:
    """The mean log-likelihood of a customer as a function of (p, q, v), with its derivatives (equation 1a of the note).

    With S = x z̄, the spend, it is a sum over the distinct x of ln Γ(p x + q) − ln Γ(p x) and one over the distinct S of
    (p x + q) ln(v + S): one logarithm per distinct spend. The gamma functions are scipy's, as nothing else has them;
    their last bits are far below the digits that are kept.

    Args:
        spend: As `paying` gives it.
        currency_digits: Decimals of the minor unit.
    """
    from scipy.special import digamma, gammaln

    # Sums of whole numbers are exact, in any order.
    orders = spend.group_by(FREQUENCY).agg(pl.col(CUSTOMERS).sum()).sort(FREQUENCY)
    x, by_x = (orders[name].to_numpy().astype(np.float64) for name in (FREQUENCY, CUSTOMERS))
    sums = (
        spend.group_by(SPEND_MINOR)
        .agg(pl.col(CUSTOMERS).sum(), repeats=(pl.col(CUSTOMERS) * pl.col(FREQUENCY)).sum())
        .sort(SPEND_MINOR)
    )
    amount = sums[SPEND_MINOR].to_numpy() / 10**currency_digits
    by_amount, repeats = (sums[name].to_numpy().astype(np.float64) for name in (CUSTOMERS, "repeats"))
    customers = total_of(by_x)
    log_amount = log(amount)
    # Σ x ln S, and Σ ln z̄ = Σ ln S − Σ ln x.
    weighted = total_of(repeats * log_amount)
    log_means = total_of(by_amount * log_amount) - total_of(by_x * log(x))

    def objective(values: Floats) -> tuple[float, Floats]:
        p, q, v = map(float, values)
        log_v, log_all, inverse = float(log(v)), log(v + amount), 1.0 / (v + amount)
        all_repeats, all_customers = total_of(repeats * log_all), total_of(by_amount * log_all)
        likelihood = (
            total_of(by_x * (gammaln(p * x + q) - gammaln(p * x)))
            + customers * (q * log_v - float(gammaln(q)))
            + p * weighted
            - log_means
            - p * all_repeats
            - q * all_customers
        )
        slope = (
            total_of(by_x * x * (digamma(p * x + q) - digamma(p * x))) + weighted - all_repeats,
            total_of(by_x * digamma(p * x + q)) + customers * (log_v - float(digamma(q))) - all_customers,
            customers * q / v - total_of((p * repeats + q * by_amount) * inverse),
        )
        return likelihood / customers, np.array(slope) / customers

    return objective


def expected_order(model: GammaGamma, frequency: Integers, spend_minor: Integers, currency_digits: int) -> Floats:
    """Expected mean of a customer's purchases, in major units: p (v + x z̄) / (p x + q − 1).

    Without a repeat purchase it is the mean of everybody. Repeat purchases of less than nothing count as nothing.

    Args:
        model: The parameters.
        frequency: Repeat purchase days x.
        spend_minor: What was spent on them, in minor units.
        currency_digits: Decimals of the minor unit.
    """
    spent = np.maximum(spend_minor, 0) / 10**currency_digits
    return np.asarray(model.p * (model.v + spent) / (model.p * frequency + (model.q - 1.0)))


def correlation(spend: pl.DataFrame) -> float:
    """Pearson's correlation of the number of repeat purchases and their mean spend; 0 where one of them is constant.

    Args:
        spend: As `paying` gives it.
    """
    x, spent, customers = (spend[name].to_numpy().astype(np.float64) for name in (FREQUENCY, SPEND_MINOR, CUSTOMERS))
    total = total_of(customers)
    order, mean = (values - total_of(customers * values) / total for values in (x, spent / x))
    both = total_of(customers * order * order) * total_of(customers * mean * mean)
    return total_of(customers * order * mean) / float(np.sqrt(both)) if both > 0 else 0.0
