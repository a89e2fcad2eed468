from __future__ import annotations

import numpy as np
import polars as pl

from engine.clusters.nearest import Labels
from engine.clusters.profile_sums import ProfilePlan, ProfileSums, count_profiles

PLAN = ProfilePlan(
    clustered=("orders", "spend"),
    further=("rate", "constant"),
    money=frozenset({"spend"}),
    categories=("country",),
    value="spend_minor",
)


def users(n: int = 400, seed: int = 0) -> tuple[pl.DataFrame, Labels]:
    random = np.random.default_rng(seed)
    minor = random.integers(-500, 2_000_000, n)
    frame = pl.DataFrame(
        {
            "user_key": random.permutation(n).astype(np.uint64),
            "orders": random.integers(0, 40, n),
            "spend": minor / 100,
            "spend_minor": minor,
            "rate": random.random(n),
            "constant": np.full(n, 1e9 + 0.1),
            "country": random.choice(["FR", "DE", "ES"], n),
        }
    ).with_columns(
        pl.when(pl.col("orders") % 5 == 0).then(None).otherwise("rate").alias("rate"),
        pl.when(pl.col("orders") == 3).then(None).otherwise("country").alias("country"),
    )
    return frame, random.integers(-1, 3, n)


def sums_of(frame: pl.DataFrame, labels: Labels) -> ProfileSums:
    return count_profiles(frame, labels, frame["user_key"], PLAN)
