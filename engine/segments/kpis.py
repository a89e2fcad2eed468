"""The table `segment_kpis`: key figures per segment, each rate with what it is made of, beside those of all users."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from engine.segments.definition import Definition
from engine.segments.stats import SegmentStats

ALL_USERS: Final = "(all users)"
"""The first row of the table, of kind `all`."""

RATES: Final = {
    "open_rate": ("opens", "delivered"),
    "open_rate_human": ("opens_human", "delivered"),
    "click_rate": ("clicks", "delivered"),
    "click_rate_human": ("clicks_human", "delivered"),
    "reply_rate": ("replies", "delivered"),
    "unsubscribe_rate": ("unsubscribes", "delivered"),
    "complaint_rate": ("complaints", "delivered"),
    "conversion": ("buyers", "users"),
    "reactivation_rate": ("reactivated", "inactive"),
}
"""Rate, the column above and the column below the line."""

MEANS: Final = {
    "orders_per_buyer": ("orders", "buyers"),
    "categories_per_buyer": ("categories", "buyers"),
    "mean_value": ("total_value", "users"),
    "mean_clv": ("total_clv", "clv_users"),
}
"""Mean, the column above and the column below the line."""

_COUNTS: Final = (
    *("sent", "delivered", "opens", "opens_human", "clicks", "clicks_human", "replies", "unsubscribes", "complaints"),
    *("buyers", "first_buyers", "orders", "categories", "clv_users", "reactivated", "inactive"),
)
# Column of the table, and the sum in minor units that it is made of.
_MONEY: Final = {"revenue": "revenue", "total_value": "value", "total_clv": "clv"}

KPI_SCHEMA: Final = pl.Schema(
    {
        "segment": pl.String(),
        "kind": pl.String(),
        "group": pl.String(),
        "window_days": pl.Int32(),
        "users": pl.Int64(),
        "user_share": pl.Float64(),
        **dict.fromkeys(_COUNTS, pl.Int64()),
        **dict.fromkeys(_MONEY, pl.Float64()),
        **dict.fromkeys(RATES, pl.Float64()),
        **dict.fromkeys(MEANS, pl.Float64()),
        "cost": pl.Float64(),
        "cost_per_acquisition": pl.Float64(),
        **{f"{rate}_lift": pl.Float64() for rate in RATES},
    }
)
"""Columns of `segment_kpis`."""


def segment_kpis(
    stats: SegmentStats, definitions: Iterable[Definition], *, window: int, currency_digits: int
) -> pl.DataFrame:
    """The key figures of every segment, in the last `window` days before as_of unless said otherwise.

    - `delivered`: messages sent less those that bounced, not below 0 for a user; all sent ones without a bounce role.
    - `opens`, `clicks`: by people and machines; `…_human` leaves out those that are known to be of machines.
    - `buyers`: users with a purchase; `first_buyers`: those who had none before; `conversion` is buyers ÷ users.
    - `orders`, `revenue`: purchases and their amounts; `categories`: different ones per user, added up.
    - `inactive`: users who came back in the window after a pause of `features.reactivated_after_days` or are in
      one at as_of; `reactivated`: the former. They are there when the family lifecycle is.
    - `total_value`: spend of the whole history, `mean_value` that per user.
    - `total_clv`: `value_clv` of its `clv_users`, each rounded to the minor unit.
    - `cost`: as configured; `cost_per_acquisition` is cost ÷ first_buyers.
    - `…_lift`: the segment's rate ÷ that of all users.

    Money is in major units. What the roles of the configuration do not allow is null, and so is a quotient whose lower
    part is 0.

    Args:
        stats: Counts of the whole run.
        definitions: The segments.
        window: The days that `stats` was counted with.
        currency_digits: Decimals of the minor unit.

    Returns:
        One row per segment, key `segment`, after the row of all users (`ALL_USERS`): the largest first; see
        `KPI_SCHEMA`.
    """
    known = {definition.name: definition for definition in definitions}
    unit: int = 10**currency_digits
    base = _figures(stats, 0, unit)
    rows = [{"segment": ALL_USERS, "kind": "all", **_with_lift(base, base)}]
    for place, name in sorted(enumerate(stats.segments), key=lambda item: (-stats.sizes[item[0]], item[1])):
        found = _figures(stats, place + 1, unit)
        definition = known[name]
        costs = {
            "cost": definition.cost,
            "cost_per_acquisition": _quotient(definition.cost, found["first_buyers"]),
        }
        row = {"segment": name, "kind": definition.kind, "group": definition.group}
        rows.append({**row, **_with_lift(found, base), **costs})
    table = pl.DataFrame([{"window_days": window, **row} for row in rows], KPI_SCHEMA)
    return table.select(KPI_SCHEMA.names())


def _figures(stats: SegmentStats, place: int, unit: int) -> dict[str, float | None]:
    """Counts, money, rates and means of one segment; 0 is all users."""
    sums = {name: row[place] for name, row in stats.sums}
    users = (stats.users, *stats.sizes)[place]
    found: dict[str, float | None] = {"users": users, "user_share": _quotient(users, stats.users)}
    found |= {name: sums.get(name) for name in _COUNTS}
    found |= {column: _quotient(sums.get(name), unit) for column, name in _MONEY.items()}
    for name, (above, below) in {**RATES, **MEANS}.items():
        count = found[below]
        if count is None or above not in _MONEY:
            found[name] = _quotient(found[above], count)
        else:
            # Integers are divided once, so that the mean is the nearest float.
            found[name] = _quotient(sums.get(_MONEY[above]), count * unit)
    return found


def _with_lift(found: dict[str, float | None], base: dict[str, float | None]) -> dict[str, float | None]:
    return {**found, **{f"{rate}_lift": _quotient(found[rate], base[rate]) for rate in RATES}}


def _quotient(above: float | None, below: float | None) -> float | None:
    return None if above is None or not below else above / below
