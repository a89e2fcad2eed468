"""What users do on one day of the synthetic log: campaigns with their opens and clicks, and visits to the shop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmarks.population import chance, visit_weights

if TYPE_CHECKING:
    from benchmarks.population import Floats, Integers, Population

EVENT_TYPES = ("email_sent", "email_open", "email_click", "page_view", "add_to_cart", "purchase")
SENT, OPEN, CLICK, VIEW, CART, PURCHASE = range(6)
NONE = -1
HOUR_TRAFFIC = (2, 1, 1, 1, 1, 2, 3, 5, 6, 6, 6, 6, 7, 7, 6, 6, 6, 7, 8, 9, 10, 9, 6, 4)
# What `campaign_rows` gives per send with the traits of `draw_population`.
REACTIONS_PER_SEND = 0.33
LARGEST_CAMPAIGN_SHARE = 0.6
SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
MEDIAN_OPEN_DELAY = 2.5 * HOUR
LONGEST_OPEN_DELAY = 60 * HOUR


def _frame(user: Integers, kind: int | Integers, time: Integers, *, campaign: int = NONE) -> pl.DataFrame:
    size = len(user)
    return pl.DataFrame(
        {
            "user": user,
            "kind": np.full(size, kind, dtype=np.int64),
            "time": time,
            "minor": np.full(size, NONE, dtype=np.int64),
            "campaign": np.full(size, campaign, dtype=np.int64),
        }
    )


def campaign_rows(
    rng: np.random.Generator, people: Population, mood: Floats, day: int, *, sends: int, hour: int, campaign: int
) -> pl.DataFrame:
    """One campaign of about `sends` messages on `day`: sends, and the opens and clicks that follow within hours.

    Returns:
        Grain event: `user`, `kind` (position in `EVENT_TYPES`), `time` (µs from the start of the log), `minor` (amount
        in minor units) and `campaign`, both `NONE` where they do not apply.
    """
    signed_up = people.signup_day <= day
    share = min(1.0, sends / max(1, int(signed_up.sum())))
    to = np.flatnonzero((rng.random(people.users) < share) & signed_up)
    sent = day * DAY + hour * HOUR + rng.integers(0, HOUR, len(to))
    opens = rng.random(len(to)) < chance(people.open_logit[to], mood[to], effect=0.6)
    delay = MEDIAN_OPEN_DELAY * np.exp(1.3 * rng.standard_normal(int(opens.sum())))
    openers, opened = to[opens], sent[opens] + np.minimum(delay, LONGEST_OPEN_DELAY).astype(np.int64)
    clicks = rng.random(len(openers)) < chance(people.click_logit[openers], mood[openers], effect=0.4)
    after = (5 * SECOND + 120 * SECOND * rng.standard_exponential(int(clicks.sum()))).astype(np.int64)
    return pl.concat(
        [
            _frame(to, SENT, sent, campaign=campaign),
            _frame(openers, OPEN, opened, campaign=campaign),
            _frame(openers[clicks], CLICK, opened[clicks] + after, campaign=campaign),
        ]
    )


def mail_rows(
    rng: np.random.Generator, people: Population, mood: Floats, day: int, *, sends: int, campaign: int
) -> list[pl.DataFrame]:
    """The campaigns of a day, numbered from `campaign`; more than one when one cannot carry all `sends`."""
    signed_up = max(1, int((people.signup_day <= day).sum()))
    campaigns = -(-sends // max(1, int(LARGEST_CAMPAIGN_SHARE * signed_up)))
    return [
        campaign_rows(
            rng, people, mood, day, sends=sends // campaigns, hour=8 + 3 * (number % 4), campaign=campaign + number
        )
        for number in range(campaigns)
    ]


def visit_rows(rng: np.random.Generator, people: Population, mood: Floats, day: int, *, events: int) -> pl.DataFrame:
    """Visits that start on `day`, about `events` events in all: page views, then carts, then a purchase.

    Returns:
        The columns of `campaign_rows`.
    """
    weights = np.cumsum(visit_weights(people, mood, day))
    drawn = events // 3 + 20 if weights[-1] > 0 else 0
    visitors = np.searchsorted(weights, rng.random(drawn) * weights[-1], side="right")
    views = rng.geometric(0.22, drawn)
    fills_cart = rng.random(drawn) < chance(people.cart_logit[visitors], mood[visitors], effect=0.3)
    carts = np.where(fills_cart, rng.geometric(0.6, drawn), 0)
    buys = fills_cart & (rng.random(drawn) < chance(people.buy_logit[visitors], mood[visitors], effect=0.4))
    sizes = views + carts + buys
    visits = int(np.searchsorted(np.cumsum(sizes), events, side="right"))
    visitors, views, carts, sizes = visitors[:visits], views[:visits], carts[:visits], sizes[:visits]

    hours = rng.choice(24, size=visits, p=np.array(HOUR_TRAFFIC) / sum(HOUR_TRAFFIC))
    begin = day * DAY + hours * HOUR + rng.integers(0, HOUR, visits)
    step = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    in_cart = np.where(step < np.repeat(views + carts, sizes), CART, PURCHASE)
    kind = np.where(step < np.repeat(views, sizes), VIEW, in_cart)
    user = np.repeat(visitors, sizes)
    time = np.repeat(begin, sizes) + step * 40 * SECOND + rng.integers(0, 30 * SECOND, len(step))
    bought = np.flatnonzero(kind == PURCHASE)
    basket = np.exp(people.log_basket[user[bought]] + 0.5 * rng.standard_normal(len(bought)))
    minor = np.full(len(step), NONE, dtype=np.int64)
    minor[bought] = np.maximum(100, np.rint(basket)).astype(np.int64)
    return _frame(user, kind, time).with_columns(minor=minor)
