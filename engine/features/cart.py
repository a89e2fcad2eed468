"""What users put in the cart, take out of it, buy, and leave behind.

Events at the same instant happen in the order add, remove, purchase. The quantity of a row (1 where none is known, its
sign dropped) goes in or out per item; taking out more than there is leaves none. Rows without an item, or of a source
that names none, are of one nameless item. A purchase takes all that is in the cart.

A cart begins with the add that finds it empty. It is converted when a purchase comes while something is in it,
emptied when the last piece is taken out, and open at `as_of` otherwise. Emptied and open carts are abandoned ones. A
cart belongs to the windows that hold the day on which it began.

What is left of an item in the open cart is worth its share, by quantity, of the amounts of its adds in that cart,
rounded down to minor units; an add without an amount adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from engine.features.columns import purposes
from engine.features.feature import Family, Feature, Reads
from engine.features.money import major_units
from engine.features.spec import FeatureSpec
from engine.features.tally import (
    NEVER,
    Column,
    Mask,
    days_since,
    family_frame,
    ints,
    latest,
    per_window,
    quantities,
    ratios,
    running_sum,
    starts,
    tally,
)
from engine.features.windows import Ints

_ADD, _REMOVE, _PURCHASE = 0, 1, 2


def _roles(spec: FeatureSpec) -> tuple[str | None, ...]:
    return spec.cart_add, spec.cart_remove, spec.purchase


def _types(spec: FeatureSpec) -> tuple[str, ...]:
    return () if spec.cart_add is None else tuple(name for name in _roles(spec) if name is not None)


def _is_priced(spec: FeatureSpec) -> bool:
    return spec.cart_add is not None and spec.types[spec.type_names.index(spec.cart_add)].priced


def _features(spec: FeatureSpec) -> tuple[Feature, ...]:
    return tuple(_columns(spec))


def _columns(spec: FeatureSpec) -> Iterator[Feature]:
    types = _types(spec)
    if not types:
        return
    whole, real = pl.Int64(), pl.Float64()
    needs = purposes(types, spec)

    def windowed(prefix: str, dtype: pl.DataType, unit: str, meaning: str, absent: int | None = 0) -> list[Feature]:
        return [
            Feature(f"{prefix}_{window}d", dtype, unit, meaning, window, absent, types, needs)
            for window in spec.windows
        ]

    yield from windowed("cart_adds", whole, "count", f"Events of type {spec.cart_add} in the window.")
    if spec.cart_remove is not None:
        yield from windowed("cart_removes", whole, "count", f"Events of type {spec.cart_remove} in the window.")
    net = "Pieces put in the cart less pieces taken out in the window, per item never below 0, summed over the items."
    yield from windowed("cart_net_items", whole, "count", net)
    yield from windowed("carts", whole, "count", "Carts begun in the window.")
    lost = "Carts begun in the window that no purchase followed before they were emptied or as_of came."
    yield from windowed("carts_abandoned", whole, "count", lost)
    if spec.purchase is not None:
        bought = "Share of the carts begun in the window that ended with a purchase; null without carts."
        yield from windowed("cart_conversion", real, "ratio", bought, None)
    open_cart = (
        "1 if something was put in the cart in the window, no purchase followed and the cart is not empty, else 0."
    )
    yield from windowed("cart_abandoned", whole, "flag", open_cart)
    yield Feature("cart_items_left", whole, "count", "Pieces in the cart at as_of.", None, 0, types, needs)
    if _is_priced(spec):
        worth = "Value of what is in the cart at as_of, at the mean price of each item's adds."
        yield Feature("cart_value_left", real, "money", worth, None, 0, types, needs)
    touched = "Days from the day of the last add to or removal from the cart to as_of."
    yield Feature("days_since_last_cart", whole, "days", touched, None, None, types, needs)


def _reads(spec: FeatureSpec) -> Reads:
    types = _types(spec)
    if not types:
        return Reads(frozenset())
    columns = {"item_id", "quantity"} & set(spec.columns)
    return Reads(frozenset(types), frozenset({*columns, *(["amount"] if _is_priced(spec) else [])}))


def _build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    windows = spec.windows
    events = _in_order(rows, spec)
    user, day, kind, moved, item = (ints(events[name]) for name in ("user", "day", "kind", "moved", "item"))
    users = int(user[-1]) + 1 if len(user) else 0
    counted = events["n"].to_numpy() > 0
    every = tally(user, day, users, as_of_day, windows)
    carts = _carts(user, kind, moved, item)
    owner, begun = user[carts.start], day[carts.start]
    started = tally(owner, begun, users, as_of_day, windows)
    count, converted = started.count(), started.count(carts.converted)

    open_user = user[carts.open_rows]
    last_add = latest(open_user, np.where(carts.delta > 0, day, NEVER)[carts.open_rows], users)
    left = np.zeros(users, dtype=np.int64)
    np.add.at(left, open_user, carts.delta[carts.open_rows])
    in_cart = kind != _PURCHASE
    columns: dict[str, Column] = {
        **per_window("cart_adds", every.count((kind == _ADD) & counted), windows),
        **per_window("cart_removes", every.count((kind == _REMOVE) & counted), windows),
        **per_window("cart_net_items", _net_items(user, day, moved, item, as_of_day, windows), windows),
        **per_window("carts", count, windows),
        **per_window("carts_abandoned", count - converted, windows),
        **ratios("cart_conversion", converted, count, windows),
        **{f"cart_abandoned_{window}d": np.where(last_add >= as_of_day - window, 1, 0) for window in windows},
        "cart_items_left": left,
        "days_since_last_cart": days_since(latest(user[in_cart], day[in_cart], users), as_of_day),
    }
    if _is_priced(spec):
        added = np.where(kind == _ADD, moved, 0)[carts.open_rows]
        amount = np.where(kind == _ADD, ints(events["amount"].fill_null(0)), 0)[carts.open_rows]
        value = _value_left(open_user, item[carts.open_rows], added, amount, carts.delta[carts.open_rows], users)
        columns["cart_value_left"] = (
            pl.DataFrame({"minor": value}).select(major_units(pl.col("minor"), spec.currency_digits)).to_series()
        )
    return family_frame(columns, user, _features(spec))


def _in_order(rows: pl.DataFrame, spec: FeatureSpec) -> pl.DataFrame:
    """The family's rows as they happened, with `kind`, signed `moved` and `item` (a code)."""
    codes = [spec.code(name) for name in _roles(spec)]
    kind = pl.lit(None, pl.Int64)
    for number, code in enumerate(codes):
        if code is not None:
            kind = pl.when(pl.col("type") == code).then(number).otherwise(kind)
    quantity = quantities() if "quantity" in spec.columns else pl.lit(1, pl.Int64)
    # The codes are compared for equality alone: which item has which is left to chance.
    item = pl.col("item_id").cast(pl.Categorical).to_physical().cast(pl.Int64) + 1
    sign = pl.when(kind == _ADD).then(1).when(kind == _REMOVE).then(-1).otherwise(0)
    return (
        rows.with_columns(
            kind=kind,
            moved=quantity * sign,
            item=item.fill_null(0) if "item_id" in spec.columns else pl.lit(0, pl.Int64),
        )
        .filter(pl.col("kind").is_not_null())
        .sort("user", "time", "kind")
    )


@dataclass(frozen=True)
class _Carts:
    """The carts in rows that stand as they happened.

    Attributes:
        delta: What each row changed: pieces that went in (positive) or out.
        start: The rows that began a cart, one per cart.
        converted: Which of the carts ended with a purchase.
        open_rows: The rows that belong to a cart that is open at the end.
    """

    delta: Ints
    start: Ints
    converted: Mask
    open_rows: Mask


def _carts(user: Ints, kind: Ints, moved: Ints, item: Ints) -> _Carts:
    new_user = starts(user)
    # A purchase ends an epoch: what follows it starts from an empty cart.
    first = new_user.copy()
    first[1:] |= kind[:-1] == _PURCHASE
    delta = _deltas(np.cumsum(first), item, moved)
    held = running_sum(delta, first)
    start = np.flatnonzero((delta > 0) & (held == delta))
    # The cart that a row belongs to, or the last one before it.
    cart = np.searchsorted(start, np.arange(len(user)), side="right") - 1
    converted = np.zeros(len(start), dtype=np.bool_)
    converted[cart[(kind == _PURCHASE) & (held > 0)]] = True
    last = np.flatnonzero(np.append(new_user[1:], True)) if len(user) else np.zeros(0, dtype=np.int64)
    is_open = np.zeros(len(start) + 1, dtype=np.bool_)
    is_open[cart[last[(kind[last] != _PURCHASE) & (held[last] > 0)]]] = True
    # Rows of the next user up to the first cart have the number of this user's last one.
    owner = np.append(user[start], -1)
    return _Carts(delta, start, converted, is_open[cart] & (owner[cart] == user))


def _deltas(epoch: Ints, item: Ints, moved: Ints) -> Ints:
    """What each row really changed, as an item's pieces never fall below 0.

    With S the running sum of an item's moves, its level is S − min(0, min S so far) (Skorokhod's reflection).
    """
    if not len(item):
        return moved
    order = np.argsort(epoch * (int(item.max()) + 1) + item, kind="stable")
    first = starts(epoch[order], item[order])
    move = moved[order]
    sums = running_sum(move, first)
    # One running minimum serves all groups: each is shifted below the one before it by more than both can span.
    group = np.cumsum(first) - 1
    span = np.zeros(int(group[-1]) + 1, dtype=np.int64)
    np.add.at(span, group, np.abs(move))
    shift = (2 * np.cumsum(span) - span + np.arange(len(span)))[group]
    lowest = np.minimum.accumulate(sums - shift) + shift
    level = sums - np.minimum(lowest, 0)
    before = np.append(0, level[:-1])
    before[first] = 0
    delta = np.empty_like(moved)
    delta[order] = level - before
    return delta


def _net_items(user: Ints, day: Ints, moved: Ints, item: Ints, as_of_day: int, windows: tuple[int, ...]) -> Ints:
    """Pieces in less pieces out, per item never below 0: shape (users, windows)."""
    items = int(item.max()) + 1 if len(item) else 1
    keys, pair = np.unique(user * items + item, return_inverse=True)
    net = tally(pair, day, len(keys), as_of_day, windows).total(moved)
    total = np.zeros((int(user[-1]) + 1 if len(user) else 0, len(windows)), dtype=np.int64)
    np.add.at(total, keys // items, np.maximum(net, 0))
    return total


def _value_left(user: Ints, item: Ints, added: Ints, amount: Ints, delta: Ints, users: int) -> Ints:
    """Worth of the open carts in minor units, from their rows."""
    items = int(item.max()) + 1 if len(item) else 1
    keys, pair = np.unique(user * items + item, return_inverse=True)
    pieces, paid, left = (np.zeros(len(keys), dtype=np.int64) for _ in range(3))
    for target, values in ((pieces, added), (paid, amount), (left, delta)):
        np.add.at(target, pair, values)
    pieces = np.maximum(pieces, 1)
    # paid × left // pieces; the product of the remainder is exact up to 2^53 and does not wrap around beyond.
    rest = np.floor((paid % pieces).astype(np.float64) * left / pieces).astype(np.int64)
    worth = paid // pieces * left + rest
    value = np.zeros(users, dtype=np.int64)
    np.add.at(value, keys // items, worth)
    return value


FAMILY: Final = Family("cart", "events", _features, _reads, _build)
