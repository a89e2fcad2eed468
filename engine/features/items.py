"""What users buy: variety, favourite category, baskets, promotions and repeated items.

An order and its lines belong to the windows that hold the day of the order's first line (`engine.features.orders`
says what an order is). Purchases count as they were recorded; refunds change nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from engine.features.columns import purposes
from engine.features.feature import Family, Feature, Reads
from engine.features.order_lines import has_order_ids, number_orders
from engine.features.spec import FeatureSpec
from engine.features.tally import (
    NEVER,
    Column,
    family_frame,
    ints,
    latest,
    per_window,
    quantities,
    ratio,
    ratios,
    starts,
    tally,
)
from engine.features.windows import Ints

_COLUMNS: Final = frozenset({"item_id", "category", "quantity", "promotion"})


def _features(spec: FeatureSpec) -> tuple[Feature, ...]:
    return tuple(_columns(spec)) if spec.purchase is not None else ()


def _columns(spec: FeatureSpec) -> Iterator[Feature]:
    columns = _mapped(spec)
    types = () if spec.purchase is None else (spec.purchase,)
    whole, real = pl.Int64(), pl.Float64()
    needs = purposes(types, spec)

    def windowed(prefix: str, dtype: pl.DataType, unit: str, meaning: str, absent: int | None = None) -> list[Feature]:
        return [
            Feature(f"{prefix}_{window}d", dtype, unit, meaning, window, absent, types, needs)
            for window in spec.windows
        ]

    if "item_id" in columns:
        yield from windowed("distinct_items", whole, "count", "Different items in the window's orders.", 0)
        repeated = (
            "Share of the different items in the window's orders that are in two or more of them; null without any."
        )
        yield from windowed("repeat_item_share", real, "ratio", repeated)
        per_order = "Mean number of different items per order of the window that names items; null without one."
        yield from windowed("items_per_order", real, "count", per_order)
    if columns & {"item_id", "quantity"}:
        each = "quantity where it is known, else 1 per line" if "quantity" in columns else "1 per line"
        basket = f"Mean number of pieces per order of the window ({each}); null without orders."
        yield from windowed("basket_size", real, "count", basket)
    if "category" in columns:
        yield from windowed("distinct_categories", whole, "count", "Different categories in the window's orders.", 0)
        measure = "the largest amount (then most lines)" if _by_amount(spec) else "most lines"
        favourite = (
            f"Category with {measure} in the window's orders; of equal ones the first by name; null without any."
        )
        yield from windowed("favourite_category", pl.String(), "name", favourite)
        of = "amount" if _by_amount(spec) else "lines"
        share = f"Share of the favourite category in the {of} of the window's lines with a category; null if that is 0."
        yield from windowed("favourite_category_share", real, "ratio", share)
    if "promotion" in columns:
        used = "Orders of the window with a promotion on any line."
        yield from windowed("promotion_orders", whole, "count", used, 0)
        part = "Share of the window's orders that have a promotion on any line; null without orders."
        yield from windowed("promotion_share", real, "ratio", part)


def _mapped(spec: FeatureSpec) -> frozenset[str]:
    return _COLUMNS & frozenset(spec.columns)


def _by_amount(spec: FeatureSpec) -> bool:
    return spec.purchase is not None and spec.types[spec.type_names.index(spec.purchase)].priced


def _reads(spec: FeatureSpec) -> Reads:
    columns = _mapped(spec)
    if spec.purchase is None or not columns:
        return Reads(frozenset())
    more = {"order"} if has_order_ids(spec) else set()
    if "category" in columns and _by_amount(spec):
        more.add("amount")
    return Reads(frozenset({spec.purchase}), columns | more)


def _build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    mapped, windows = _mapped(spec), spec.windows
    lines, orders = number_orders(rows.filter(pl.col("type") == spec.code(spec.purchase)), spec)
    number, line_day, line_user = (ints(lines[name]) for name in ("order_number", "day", "user"))
    users = int(line_user[-1]) + 1 if len(line_user) else 0
    user = np.zeros(orders, dtype=np.int64)
    user[number] = line_user
    day = -latest(number, -line_day, orders)
    in_window = tally(user, day, users, as_of_day, windows)
    count = in_window.count()
    columns: dict[str, Column] = {}
    if "item_id" in mapped:
        named = lines["item_id"].is_not_null().to_numpy()
        # The codes are compared for equality alone: which item has which is left to chance.
        item = ints(lines["item_id"].drop_nulls().cast(pl.Categorical).to_physical())
        columns.update(_items(number[named], item, (user, day), users, as_of_day, windows))
    if mapped & {"item_id", "quantity"}:
        pieces = np.ones(lines.height, dtype=np.int64)
        if "quantity" in mapped:
            pieces = ints(lines.select(quantities()).to_series())
        per_order = np.zeros(orders, dtype=np.int64)
        np.add.at(per_order, number, pieces)
        columns.update(ratios("basket_size", in_window.total(per_order), count, windows))
    if "category" in mapped:
        known = lines.filter(pl.col("category").is_not_null())
        amount = ints(known["amount"].fill_null(0)) if _by_amount(spec) else np.zeros(known.height, dtype=np.int64)
        order = ints(known["order_number"])
        columns.update(_categories(user[order], day[order], known["category"], amount, users, as_of_day, spec))
    if "promotion" in mapped:
        promoted = np.zeros(orders, dtype=np.int64)
        promoted[number[lines["promotion"].is_not_null().to_numpy()]] = 1
        used = in_window.total(promoted)
        columns.update(per_window("promotion_orders", used, windows))
        columns.update(ratios("promotion_share", used, count, windows))
    return family_frame(columns, line_user, _features(spec))


def _items(
    number: Ints, item: Ints, order: tuple[Ints, Ints], users: int, as_of_day: int, windows: tuple[int, ...]
) -> dict[str, Column]:
    """Distinct and repeated items and items per order.

    Args:
        number: Order of each line with an item.
        item: Code of its item.
        order: User and day of each order.
        users: Number of users.
        as_of_day: Days since 1970-01-01.
        windows: Lengths in days.
    """
    user, day = order
    kinds = int(item.max()) + 1 if len(item) else 1
    # Item × order, once each.
    pairs = pl.Series(number * kinds + item).unique().sort().to_numpy()
    at, what = pairs // kinds, pairs % kinds
    # By user and item, the latest order first: the second row of an item is its second latest order.
    by_item = pl.DataFrame({"key": user[at] * kinds + what, "day": day[at]}).sort(
        "key", "day", descending=[False, True]
    )
    key, bought = ints(by_item["key"]), ints(by_item["day"])
    first = starts(key)
    second = np.zeros_like(first)
    second[1:] = first[:-1] & ~first[1:]
    distinct = tally(key[first] // kinds, bought[first], users, as_of_day, windows).count()
    repeated = tally(key[second] // kinds, bought[second], users, as_of_day, windows).count()
    naming = starts(at)
    with_items = tally(user[at[naming]], day[at[naming]], users, as_of_day, windows).count()
    entries = tally(user[at], day[at], users, as_of_day, windows).count()
    return {
        **per_window("distinct_items", distinct, windows),
        **ratios("repeat_item_share", repeated, distinct, windows),
        **ratios("items_per_order", entries, with_items, windows),
    }


def _categories(
    user: Ints, day: Ints, category: pl.Series, amount: Ints, users: int, as_of_day: int, spec: FeatureSpec
) -> dict[str, Column]:
    """Distinct and favourite categories; one entry per line with a category."""
    names = category.unique().sort()
    codes = ints(category.cast(pl.Enum(names)).to_physical())
    kinds = max(len(names), 1)
    keys, pair = np.unique(user * kinds + codes, return_inverse=True)
    owner = keys // kinds
    cells = tally(pair, day, len(keys), as_of_day, spec.windows)
    lines, spent = cells.count(), cells.total(amount)
    columns: dict[str, Column] = {}
    for position, window in enumerate(spec.windows):
        inside = lines[:, position] > 0
        held, count, value = owner[inside], lines[inside, position], spent[inside, position]
        columns[f"distinct_categories_{window}d"] = np.bincount(held, minlength=users)
        best = value == latest(held, value, users)[held]
        best &= count == latest(held[best], count[best], users)[held]
        # Pairs are in the order of the names.
        best[best] = starts(held[best])
        chosen = held[best]
        code = np.full(users, NEVER, dtype=np.int64)
        code[chosen] = keys[inside][best] % kinds
        missing = pl.Series(code == NEVER)
        columns[f"favourite_category_{window}d"] = names.gather(pl.Series(code).set(missing, None))
        measure = value if _by_amount(spec) else count
        favourite, total = np.zeros(users, dtype=np.int64), np.zeros(users, dtype=np.int64)
        favourite[chosen] = measure[best]
        np.add.at(total, held, measure)
        columns[f"favourite_category_share_{window}d"] = ratio(favourite, total)
    return columns


FAMILY: Final = Family("items", "events", _features, _reads, _build)
