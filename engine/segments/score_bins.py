"""The table `score_distribution`: how many users have which score, for engagement and each propensity.

Counted per bucket in whole numbers that add up, so the sum over buckets does not depend on how users were cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

ENGAGEMENT_EDGES: Final = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0)

PROPENSITY_EDGES: Final = (
    *(0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
"""Of a rare target nearly all probabilities are small, of a common one they are spread: finer where they are small."""

SCORE_DISTRIBUTION_SCHEMA: Final = pl.Schema(
    {
        "score": pl.String(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "users": pl.Int64(),
        "share": pl.Float64(),
    }
)
"""Columns of `score_distribution`."""


@dataclass(frozen=True)
class ScoreBins:
    """Users of one bucket, or of several together, in the bins of one score.

    Attributes:
        score: The column.
        users: Of each bin, ascending, and of users without the score last.
    """

    score: str
    users: tuple[int, ...]


def score_bins(users: pl.DataFrame, propensities: Sequence[str]) -> tuple[ScoreBins, ...]:
    """The bins of one bucket, of `engagement_score` and of probabilities.

    Args:
        users: One row per user with these columns.
        propensities: Columns with probabilities; null or NaN outside of a target's population.
    """
    return tuple(_counted(users[name]) for name in ("engagement_score", *propensities))


def add(left: Sequence[ScoreBins], right: Sequence[ScoreBins]) -> tuple[ScoreBins, ...]:
    """The bins of the users of both, who are different ones.

    Raises:
        ValueError: They are of other scores.
    """
    names = [[bins.score for bins in some] for some in (left, right)]
    if names[0] != names[1]:
        message = f"expected bins of the same scores, got {names[0]} and {names[1]}"
        raise ValueError(message)
    return tuple(
        ScoreBins(one.score, tuple(a + b for a, b in zip(one.users, other.users, strict=True)))
        for one, other in zip(left, right, strict=True)
    )


def score_distribution(scores: Sequence[ScoreBins]) -> pl.DataFrame:
    """Users by score: every bin, also those of nobody, then the users without the score where there are any.

    Args:
        scores: Counts of the whole run.

    Returns:
        Key `score`, `low` (null: users without the score): `high`, `users` and their `share` of all users. A bin is
        [low, high), the last one of a score [low, high]. See `SCORE_DISTRIBUTION_SCHEMA`.
    """
    rows: list[tuple[object, ...]] = []
    for bins in scores:
        everyone = sum(bins.users)
        ends = [*pairwise(_edges(bins.score)), *([(None, None)] if bins.users[-1] else [])]
        rows += (
            (bins.score, *end, users, users / everyone if everyone else None)
            for end, users in zip(ends, bins.users, strict=False)
        )
    return pl.DataFrame(rows, SCORE_DISTRIBUTION_SCHEMA, orient="row")


def _counted(values: pl.Series) -> ScoreBins:
    inner = np.array(_edges(values.name)[1:-1], dtype=np.float64)
    numbers = values.cast(pl.Float64).to_numpy()
    places = np.searchsorted(inner, numbers, side="right")
    places[np.isnan(numbers)] = len(inner) + 1
    return ScoreBins(values.name, tuple(np.bincount(places, minlength=len(inner) + 2).tolist()))


def _edges(score: str) -> tuple[float, ...]:
    return ENGAGEMENT_EDGES if score == "engagement_score" else PROPENSITY_EDGES
