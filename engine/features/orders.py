"""Orders net of refunds: counts, amounts and their spread.

An order is all purchase rows of a user with one order id, and a purchase row without an id. It belongs to the windows
that hold the day of its first line. A refund reaches back to the order of the same user with its id, whenever it comes
before `as_of`: without an amount it cancels the order, with one it takes its absolute value off. An order that is given
back in full is cancelled too, so what is left of an order is never below zero because of refunds. A refund without an
id, or with the id of no order, changes nothing here. Cancelled orders count in `order_cancelled_share` alone.

An order none of whose lines has an amount is counted, but has no amount; only a refund without an amount cancels it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from engine.features.columns import integer, real
from engine.features.feature import Family, Feature, Reads
from engine.features.money import major_units
from engine.features.order_lines import has_order_ids, number_orders
from engine.features.spec import FeatureSpec
from engine.features.tally import Column, days_since, family_frame, ints, latest, per_window, ratios, tally
from engine.features.windows import Ints


def _roles(spec: FeatureSpec) -> tuple[str, ...]:
    """The purchase and, when orders can be recognised, the refund type; empty without a purchase type."""
    if spec.purchase is None:
        return ()
    if spec.refund is None or spec.refund == spec.purchase or not has_order_ids(spec):
        return (spec.purchase,)
    return (spec.purchase, spec.refund)


def _is_priced(name: str | None, spec: FeatureSpec) -> bool:
    return name is not None and spec.types[spec.type_names.index(name)].priced


def _features(spec: FeatureSpec) -> tuple[Feature, ...]:
    return tuple(_columns(spec))


def _columns(spec: FeatureSpec) -> Iterator[Feature]:
    types = _roles(spec)
    if not types:
        return
    order = "orders whose first line is in the window"
    net = f"{order}, cancelled or fully refunded ones left out" if len(types) > 1 else order
    for window in spec.windows:
        count = f"Number of {net}."
        yield integer(spec, f"order_count_net_{window}d", "count", count, types, window=window, absent=0)
    if _is_priced(spec.purchase, spec):
        amount = "amount less refunds" if len(types) > 1 else "amount"
        for window in spec.windows:
            total = f"Sum over {net}: {amount}."
            yield real(spec, f"order_amount_net_{window}d", "money", total, types, window=window, absent=0)
        for name, what in (("max", "Largest"), ("min", "Smallest"), ("median", "Median")):
            for window in spec.windows:
                one = f"{what} {amount} among {net}; null without any amount."
                yield real(spec, f"order_amount_{name}_{window}d", "money", one, types, window=window)
    if len(types) > 1:
        for window in spec.windows:
            share = f"Share of {order} that were cancelled or fully refunded; null without any."
            yield real(spec, f"order_cancelled_share_{window}d", "ratio", share, types, window=window)
    last = "Days from the first line's day of the last order that was not cancelled or fully refunded to as_of."
    yield integer(spec, "days_since_last_net_order", "days", last, types)


def _reads(spec: FeatureSpec) -> Reads:
    types = _roles(spec)
    columns = {"order"} if types and has_order_ids(spec) else set()
    if any(_is_priced(name, spec) for name in types):
        columns.add("amount")
    return Reads(frozenset(types), frozenset(columns))


def _build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    windows, features = spec.windows, _features(spec)
    priced = _is_priced(spec.purchase, spec)
    orders = _net_orders(rows, spec)
    user, day, net = (ints(orders[name]) for name in ("user", "day", "net"))
    users = int(user.max()) + 1 if len(user) else 0
    kept = ~orders["cancelled"].to_numpy()
    kept_orders = tally(user[kept], day[kept], users, as_of_day, windows)
    every, left = tally(user, day, users, as_of_day, windows).count(), kept_orders.count()
    columns: dict[str, Column] = {
        **per_window("order_count_net", left, windows),
        **ratios("order_cancelled_share", every - left, every, windows),
        "days_since_last_net_order": days_since(latest(user[kept], day[kept], users), as_of_day),
    }
    if priced:
        total = kept_orders.total(net[kept])
        columns.update(
            {name: _money(minor, spec) for name, minor in per_window("order_amount_net", total, windows).items()}
        )
        amounts = orders.filter(~pl.col("cancelled") & pl.col("has_amount")).sort("user", "net")
        for window in windows:
            inside = amounts.filter(pl.col("day") >= as_of_day - window)
            columns.update(_spread(ints(inside["user"]), ints(inside["net"]), users, window, spec))
    return family_frame(columns, user, features)


def _net_orders(rows: pl.DataFrame, spec: FeatureSpec) -> pl.DataFrame:
    """One row per order: `user`, `day` of the first line, `net` (minor units), `has_amount`, `cancelled`."""
    codes = [spec.code(name) for name in _roles(spec)]
    lines, orders = number_orders(rows.filter(pl.col("type").is_in(codes)), spec)
    number, day, kind = (ints(lines[name]) for name in ("order_number", "day", "type"))
    bought = kind == spec.code(spec.purchase)
    is_order = np.bincount(number[bought], minlength=orders) > 0
    user = np.zeros(orders, dtype=np.int64)
    user[number] = ints(lines["user"])
    first_day = np.full(orders, np.iinfo(np.int64).max, dtype=np.int64)
    np.minimum.at(first_day, number[bought], day[bought])
    amount = lines["amount"] if "amount" in _reads(spec).columns else pl.Series([None] * lines.height, dtype=pl.Int64)
    has_amount = amount.is_not_null().to_numpy()
    value = ints(amount.fill_null(0))
    gross, refunded = np.zeros(orders, dtype=np.int64), np.zeros(orders, dtype=np.int64)
    np.add.at(gross, number[bought], value[bought])
    np.add.at(refunded, number[~bought], np.abs(value[~bought]))
    with_amount = np.bincount(number[bought & has_amount], minlength=orders) > 0
    voided = np.bincount(number[~bought & ~has_amount], minlength=orders) > 0
    cancelled = voided | (with_amount & (refunded > 0) & (refunded >= gross))
    # What has no amount cannot lose one.
    net = np.where(with_amount, gross - refunded, 0)
    return pl.DataFrame(
        {"user": user, "day": first_day, "net": net, "has_amount": with_amount, "cancelled": cancelled}
    ).filter(pl.Series(is_order))


def _spread(user: Ints, net: Ints, users: int, window: int, spec: FeatureSpec) -> dict[str, pl.Series]:
    """Smallest, largest and median amount per user, from amounts sorted by user and size."""
    count = np.bincount(user, minlength=users)
    end = np.cumsum(count)
    none = pl.Series(count == 0)
    # A user without orders reads another's amounts, which are then set to null.
    padded = np.append(net, 0)
    begin = end - count
    last = np.maximum(end - 1, begin)
    low, high = np.maximum(begin + (count - 1) // 2, begin), begin + count // 2
    median = pl.Series(padded[low] + padded[high])
    unit = pl.Series(np.full(users, 2 * 10**spec.currency_digits, dtype=np.int64))
    return {
        f"order_amount_min_{window}d": _money(padded[begin], spec).set(none, None),
        f"order_amount_max_{window}d": _money(padded[last], spec).set(none, None),
        f"order_amount_median_{window}d": (median / unit).set(none, None),
    }


def _money(minor: Ints, spec: FeatureSpec) -> pl.Series:
    return pl.DataFrame({"minor": minor}).select(major_units(pl.col("minor"), spec.currency_digits)).to_series()


FAMILY: Final = Family("orders", "events", _features, _reads, _build)
