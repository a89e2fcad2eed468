"""The table `rfm_grid`: how many users have which scores for recency and frequency, and what they spent.

Counted per bucket in whole numbers that add up, so the sum over buckets does not depend on how users were cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import polars as pl

from engine.features.build import MONETARY_MINOR

RFM_GRID_SCHEMA: Final = pl.Schema(
    {
        "r_score": pl.Int32(),
        "f_score": pl.Int32(),
        "users": pl.Int64(),
        "user_share": pl.Float64(),
        "total_value": pl.Float64(),
        "mean_value": pl.Float64(),
        "mean_recency_days": pl.Float64(),
    }
)
"""Columns of `rfm_grid`."""


@dataclass(frozen=True)
class RfmGrid:
    """Users of one bucket, or of several together, by two scores.

    Attributes:
        bins: Scores are 1 to so many.
        users, spent_minor, recency_days: Of each cell the users, what they spent in their whole history (minor units),
            and their days since the last purchase added up: by `r_score`, then by `f_score`, ascending, and of the
            users without a purchase last.
    """

    bins: int
    users: tuple[int, ...]
    spent_minor: tuple[int, ...]
    recency_days: tuple[int, ...]


def rfm_counts(users: pl.DataFrame, bins: int) -> RfmGrid:
    """The cells of one bucket.

    Args:
        users: One row per user with `r_score`, `f_score` (both null without a purchase), `rfm_recency_days` and
            `rfm_monetary_minor`.
        bins: Scores are 1 to so many.
    """
    last = bins * bins
    place = (pl.col("r_score").cast(pl.Int32) - 1) * bins + pl.col("f_score").cast(pl.Int32) - 1
    figures = (
        pl.len().cast(pl.Int64).alias("users"),
        pl.col(MONETARY_MINOR).cast(pl.Int64).sum().alias("spent"),
        pl.col("rfm_recency_days").cast(pl.Int64).sum().alias("days"),
    )
    found = users.group_by(place=place.fill_null(last)).agg(figures)
    cells = pl.DataFrame({"place": pl.int_range(last + 1, dtype=pl.Int32, eager=True)})
    rows = cells.join(found, on="place", how="left", maintain_order="left").fill_null(0)
    return RfmGrid(bins, *(tuple(rows[name].to_list()) for name in ("users", "spent", "days")))


def add(left: RfmGrid, right: RfmGrid) -> RfmGrid:
    """The cells of the users of both, who are different ones.

    Raises:
        ValueError: They have other numbers of scores.
    """
    if left.bins != right.bins:
        message = f"expected equally many scores, got {left.bins} and {right.bins}"
        raise ValueError(message)
    pairs = (
        (left.users, right.users),
        (left.spent_minor, right.spent_minor),
        (left.recency_days, right.recency_days),
    )
    return RfmGrid(left.bins, *(tuple(a + b for a, b in zip(one, other, strict=True)) for one, other in pairs))


def rfm_grid(grid: RfmGrid, currency_digits: int) -> pl.DataFrame:
    """Every cell, also those of nobody, then the users without a purchase, who have no scores.

    Args:
        grid: Counts of the whole run.
        currency_digits: Decimals of the minor unit.

    Returns:
        Key `r_score`, `f_score` (both null in the last row): `users`, their `user_share` of all users, `total_value`
        (spend of the whole history, major units), `mean_value` per user and `mean_recency_days` since the last
        purchase; shares and means are null where there is nobody, the latter two without a purchase. See
        `RFM_GRID_SCHEMA`.
    """
    unit: int = 10**currency_digits
    everyone = sum(grid.users)
    scores = range(1, grid.bins + 1)
    codes: list[tuple[int | None, int | None]] = [*product(scores, scores), (None, None)]
    rows = [
        (
            *code,
            users,
            users / everyone if everyone else None,
            spent / unit,
            # Integers are divided once, so that the mean is the nearest float.
            spent / (users * unit) if users and code != (None, None) else None,
            days / users if users and code != (None, None) else None,
        )
        for code, users, spent, days in zip(codes, grid.users, grid.spent_minor, grid.recency_days, strict=True)
    ]
    return pl.DataFrame(rows, RFM_GRID_SCHEMA, orient="row")
