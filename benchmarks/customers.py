"""Customers who behave as BG/NBD and Gamma-Gamma say: what the value models must find again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from engine.value.bgnbd import BgNbd
    from engine.value.gamma_gamma import GammaGamma

DAYS_PER_WEEK = 7


def simulate(
    customers: int, purchases: BgNbd, spend: GammaGamma, *, days: int, ahead: int = 0, seed: int = 0
) -> pl.DataFrame:
    """The BTYD features of simulated customers, whose first purchases fall evenly on `days` days.

    Args:
        customers: Number of rows.
        purchases: How they buy, and leave.
        spend: What their purchases are worth; amounts are rounded to cents.
        days: Length of the log; T is at most one day less.
        ahead: Days after it in which purchases are counted too.
        seed: Of the random numbers.

    Returns:
        `btyd_frequency`, `btyd_recency_days`, `btyd_t_days`, `btyd_mean_repeat_spend`, and `later`: days with a
        purchase in the `ahead` days after T. Purchases of one day are one.
    """
    random = np.random.default_rng(seed)
    rate = random.gamma(purchases.r, 1 / purchases.alpha, customers) / DAYS_PER_WEEK
    leaves = random.beta(purchases.a, purchases.b, customers)
    age = random.integers(0, days, customers)
    frequency, recency, later, last = (np.zeros(customers, np.int64) for _ in range(4))
    alive, now = np.arange(customers), np.zeros(customers)
    while alive.size:
        now = now + random.exponential(size=alive.size) / np.maximum(rate[alive], 1e-300)
        within = now < age[alive] + ahead + 1
        alive, now = alive[within], now[within]
        day = now.astype(np.int64)
        # A day counts once; the first purchase was on day 0.
        new, past = day > last[alive], day <= age[alive]
        frequency[alive[new & past]] += 1
        later[alive[new & ~past]] += 1
        recency[alive[past]] = day[past]
        last[alive] = day
        stays = random.random(alive.size) >= leaves[alive]
        alive, now = alive[stays], now[stays]
    scale = 1 / random.gamma(spend.q, 1 / spend.v, customers)
    cents = np.rint(100 * random.gamma(np.maximum(spend.p * frequency, 1e-9)) * scale).astype(np.int64)
    mean = np.where(frequency > 0, cents / (np.maximum(frequency, 1) * 100), 0.0)
    return pl.DataFrame(
        {
            "btyd_frequency": frequency,
            "btyd_recency_days": recency,
            "btyd_t_days": age,
            "btyd_mean_repeat_spend": mean,
            "later": later,
        }
    )
