"""The rhythm of purchases: gaps between distinct purchase days, and what they say of the next one.

With n + 1 purchase days there are n gaps. Mean and spread come from the exact integers n, Σg and Σg²; the spread is the
sample standard deviation, as lifetimes and R have it, and needs two gaps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from engine.features.columns import integer, real
from engine.features.feature import Family, Feature, Reads
from engine.features.spec import FeatureSpec
from engine.features.totals import ratio


def features(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The columns; none without a purchase type."""
    return () if spec.purchase is None else tuple(_features(spec, spec.purchase))


def _features(spec: FeatureSpec, purchase: str) -> Iterator[Feature]:
    types = (purchase,)
    one, two = "null with fewer than two purchase days", "null with fewer than three purchase days"
    yield real(spec, "purchase_gap_mean_days", "days", f"Mean days from one purchase day to the next; {one}.", types)
    meaning = "Sample standard deviation of the days from one purchase day to the next"
    yield real(spec, "purchase_gap_std_days", "days", f"{meaning}; {two}.", types)
    meaning = "Coefficient of variation of the gaps: standard deviation ÷ mean"
    yield real(spec, "purchase_gap_variation", "ratio", f"{meaning}; {two}.", types)
    meaning = "Median of the days from one purchase day to the next"
    yield real(spec, "purchase_gap_median_days", "days", f"{meaning}; {one}.", types)
    meaning = "Days between the last two purchase days"
    yield integer(spec, "purchase_gap_last_days", "days", f"{meaning}; {one}.", types)
    meaning = "Days from as_of to the next purchase if it keeps the mean gap; negative when overdue"
    yield real(spec, "expected_next_purchase_days", "days", f"{meaning}; {one}.", types)
    meaning = "Days since the last purchase ÷ mean gap; above 1 when overdue"
    yield real(spec, "purchase_overdue_ratio", "ratio", f"{meaning}; {one}.", types)


def reads(spec: FeatureSpec) -> Reads:
    """Purchases."""
    return Reads(frozenset() if spec.purchase is None else frozenset({spec.purchase}))


def build(rows: pl.DataFrame, as_of_day: int, spec: FeatureSpec) -> pl.DataFrame:
    """The rhythm of every user with a purchase; `user` and the columns of `features`."""
    day, gap = pl.col("day"), pl.col("gap")
    days = (
        rows.filter(pl.col("type") == spec.code(spec.purchase))
        .select("user", pl.col("day").cast(pl.Int64))
        .unique()
        .sort("user", "day")
    )
    same = (pl.col("user") == pl.col("user").shift(1)).fill_null(value=False)
    days = days.with_columns(gap=pl.when(same).then(day - day.shift(1)))
    last = pl.when((pl.col("user") != pl.col("user").shift(-1)).fill_null(value=True)).then(gap)
    days = days.with_columns(last_gap=last)
    users = (
        days.group_by("user")
        .agg(
            n=gap.count().cast(pl.Int64),
            total=gap.sum(),
            squares=(gap * gap).sum(),
            median=gap.median(),
            last=pl.col("last_gap").max(),
            since=as_of_day - day.max(),
        )
        .sort("user")
    )
    n, total, squares, since = (users[name].to_numpy() for name in ("n", "total", "squares", "since"))
    # Σ(g − mean)² = (n Σg² − (Σg)²) / n, exactly.
    spread = ratio(n * squares - total * total, n * (n - 1)).to_numpy()
    deviation = np.sqrt(spread)
    with np.errstate(invalid="ignore", divide="ignore"):
        variation = deviation * n / total
    return pl.DataFrame(
        {
            "user": users["user"],
            "purchase_gap_mean_days": ratio(total, n),
            "purchase_gap_std_days": pl.Series(deviation).fill_nan(None),
            "purchase_gap_variation": pl.Series(variation).fill_nan(None),
            "purchase_gap_median_days": users["median"].cast(pl.Float64),
            "purchase_gap_last_days": users["last"],
            "expected_next_purchase_days": ratio(total - n * since, n),
            "purchase_overdue_ratio": ratio(since * n, total),
        }
    )


FAMILY = Family("cadence", "daily", features, reads, build)
