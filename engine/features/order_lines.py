"""Which rows make one order: those of a user with the same order id. A row without an id is an order of its own."""

from __future__ import annotations

import numpy as np
import polars as pl

from engine.features.spec import FeatureSpec
from engine.features.tally import ints, starts


def has_order_ids(spec: FeatureSpec) -> bool:
    """Whether some source maps the identity of its events, from which the orders are known."""
    return "event_id" in spec.columns


def number_orders(rows: pl.DataFrame, spec: FeatureSpec) -> tuple[pl.DataFrame, int]:
    """The rows with the number of their order.

    Args:
        rows: `user`, `n` and, where event ids are mapped, `order`.
        spec: The feature specification.

    Returns:
        The rows, sorted by the new column `order_number` (Int64, from 0, ascending with the user), and how many orders
        there are. A further line (`n` = 0) without an order id belongs to no order and is left out.
    """
    if not has_order_ids(spec):
        alone = rows.filter(pl.col("n") > 0).sort("user")
        return alone.with_columns(order_number=pl.int_range(pl.len(), dtype=pl.Int64)), alone.height
    lines = rows.filter(pl.col("order").is_not_null() | (pl.col("n") > 0)).sort("user", "order")
    without = lines["order"].is_null().to_numpy()
    order = lines["order"].fill_null(0).to_numpy()
    first = starts(ints(lines["user"]), order, without) | without
    number = np.cumsum(first) - 1
    return lines.with_columns(order_number=pl.Series(number, dtype=pl.Int64)), int(first.sum())
