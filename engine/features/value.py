"""What purchases are worth: mean per purchase, and net of what was given back.

Refunds are recorded as positive or negative amounts; either way the absolute amount of a user's refunds of a day is
given back. Refunds count in the window of their own day, so a net amount can be negative.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from engine.features.columns import integer, real
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.features.totals import ratio, window_totals
from engine.features.windows import Ints
from engine.rollups.daily import merge_daily


def features(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The columns; none without a purchase type, net ones with a refund type only."""
    return () if spec.purchase is None else tuple(_features(spec, spec.purchase))


def _features(spec: FeatureSpec, purchase: str) -> Iterator[Feature]:
    slug, refund = spec.slug(purchase), spec.refund
    if _priced(spec, purchase):
        for window in spec.windows:
            name, meaning = f"{slug}_mean_amount_{window}d", f"Mean amount per {purchase}; null without any."
            yield real(spec, name, "money", meaning, (purchase,), window=window)
    if refund is None:
        return
    types = (purchase, refund)
    for window in spec.windows:
        name, meaning = f"{slug}_net_count_{window}d", f"Number of {purchase} less number of {refund}."
        yield integer(spec, name, "count", meaning, types, window=window, absent=0)
    for window in spec.windows:
        meaning = f"Number of {refund} per {purchase}; null without any {purchase}."
        yield real(spec, f"refund_rate_{window}d", "ratio", meaning, types, window=window, counted=(refund,))
    if _priced(spec, purchase) and _priced(spec, refund):
        for window in spec.windows:
            name, meaning = f"{slug}_net_amount_{window}d", f"Amounts of {purchase} less absolute amounts of {refund}."
            yield real(spec, name, "money", meaning, types, window=window, absent=0)
        for window in spec.windows:
            meaning = f"Absolute amounts of {refund} ÷ amounts of {purchase}; null when the latter are 0."
            yield real(spec, f"refunded_share_{window}d", "ratio", meaning, types, window=window, counted=(refund,))


def _priced(spec: FeatureSpec, name: str) -> bool:
    return spec.types[spec.type_names.index(name)].priced


def reads(spec: FeatureSpec) -> Reads:
    """Purchases and refunds."""
    return Reads(frozenset(name for name in (spec.purchase, spec.refund) if name is not None and spec.purchase))


def build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """The values of every user with a purchase or refund; `user` and the columns of `features`."""
    sold, back = spec.code(spec.purchase), spec.code(spec.refund)
    amount = pl.col("amount_minor")
    if back is not None:
        # A day may have several partials, and a refund and its correction must meet before their sign is dropped.
        rows = merge_daily(rows).with_columns(
            amount_minor=pl.when(pl.col("type") == back).then(amount.abs()).otherwise(amount)
        )
    totals = window_totals(rows, as_of_day, spec.windows, [sold, back])
    counts, spent = totals.events(sold), totals.amounts(sold)
    refunds, returned = totals.events(back), totals.amounts(back)
    minor = 10**spec.currency_digits
    slug = spec.slug(spec.purchase or "")
    columns: dict[str, Ints | pl.Series] = {"user": totals.users}
    for place, window in enumerate(spec.windows):
        columns[f"{slug}_mean_amount_{window}d"] = ratio(spent[:, place], counts[:, place] * minor)
        columns[f"{slug}_net_count_{window}d"] = counts[:, place] - refunds[:, place]
        columns[f"refund_rate_{window}d"] = ratio(refunds[:, place], counts[:, place])
        columns[f"{slug}_net_amount_{window}d"] = (spent[:, place] - returned[:, place]) / minor
        columns[f"refunded_share_{window}d"] = ratio(returned[:, place], spent[:, place])
    return pl.DataFrame(columns).select("user", *(feature.name for feature in features(spec)))


FAMILY = Family("value", "daily", features, reads, build)
