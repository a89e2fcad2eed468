"""Who the users of the synthetic log are: latent rates and propensities, and how they drift from day to day."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

COUNTRIES = {"FR": 0.34, "DE": 0.21, "ES": 0.14, "IT": 0.12, "BE": 0.09, "NL": 0.06, "PT": 0.04}
PLANS = ("free", "plus", "gold")
SIGNED_UP_WITHIN_DAYS = 1500
# Autocorrelation of the daily mood: half of it is gone after three weeks, so the last month tells of the next one.
MOOD_PERSISTENCE = 0.967
MOOD_ON_VISITS = 0.9


@dataclass(frozen=True)
class Population:
    """Latent traits, one entry per user in every array; position is the user's number.

    `signup_day` counts days from the start of the log (negative: before it). `log_rate` is the log of a relative visit
    rate, the `_logit` fields are log-odds at a neutral mood, `log_basket` is the log of a basket in minor units.
    """

    signup_day: Integers
    log_rate: Floats
    open_logit: Floats
    click_logit: Floats
    cart_logit: Floats
    buy_logit: Floats
    log_basket: Floats

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.signup_day)


def draw_population(users: int, days: int, rng: np.random.Generator) -> Population:
    """Traits of `users` users of a log of `days` days.

    Visit rates are log-normal, so a few users make much of the traffic; one shared factor ties rates, opens and
    purchases together, as interest in a brand does. About one user in fifteen signs up while a 100-day log runs.
    """
    interest = rng.standard_normal(users)
    signup_day = days - 1 - np.floor(rng.random(users) * SIGNED_UP_WITHIN_DAYS).astype(np.int64)
    return Population(
        signup_day=signup_day,
        log_rate=1.2 * interest,
        open_logit=-1.3 + 0.5 * interest + 0.9 * rng.standard_normal(users),
        click_logit=-1.5 + 0.3 * interest + 0.6 * rng.standard_normal(users),
        cart_logit=-0.9 + 0.3 * interest + 0.6 * rng.standard_normal(users),
        buy_logit=-0.4 + 0.3 * interest + 0.8 * rng.standard_normal(users),
        log_basket=math.log(4500.0) + 0.6 * rng.standard_normal(users),
    )


def first_mood(users: int, rng: np.random.Generator) -> Floats:
    """The mood of every user on the first day: standard normal."""
    return rng.standard_normal(users)


def next_mood(mood: Floats, rng: np.random.Generator) -> Floats:
    """The mood a day later: a first-order autoregression that stays standard normal."""
    news = rng.standard_normal(len(mood))
    return MOOD_PERSISTENCE * mood + math.sqrt(1 - MOOD_PERSISTENCE**2) * news


def visit_weights(people: Population, mood: Floats, day: int) -> Floats:
    """Relative rate of visits on `day`; 0 before the sign-up."""
    return np.where(people.signup_day <= day, np.exp(people.log_rate + MOOD_ON_VISITS * mood), 0.0)


def chance(logit: Floats, mood: Floats, effect: float) -> Floats:
    """Probability from log-odds shifted by the mood."""
    odds: Floats = np.exp(logit + effect * mood)
    return odds / (1 + odds)


def user_ids(users: int, kind: str) -> pl.Series:
    """Ids by user number: `u0001234` as strings, the number itself as integers."""
    numbers = pl.Series("user_id", np.arange(users))
    if kind == "int":
        return numbers
    width = max(7, len(str(users - 1)))
    return ("u" + numbers.cast(pl.String).str.zfill(width)).alias("user_id")


def contacts(people: Population, ids: pl.Series, start: date, rng: np.random.Generator) -> pl.DataFrame:
    """One row per user: `user_id`, `country`, `signup_date`, `plan`; the plan leans on the visit rate."""
    country = rng.choice(len(COUNTRIES), size=people.users, p=list(COUNTRIES.values()))
    leaning = people.log_rate + 1.5 * rng.standard_normal(people.users)
    plan = (leaning > 1.0).astype(np.int64) + (leaning > 2.5)
    origin = (start - date(1970, 1, 1)) // timedelta(days=1)
    return pl.DataFrame(
        {
            "user_id": ids,
            "country": pl.Series(list(COUNTRIES)).gather(country),
            "signup_date": pl.Series((people.signup_day + origin).astype(np.int32)).cast(pl.Date),
            "plan": pl.Series(PLANS).gather(plan),
        }
    )
