from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from engine.clusters.assign import assign, from_json, to_json
from engine.clusters.fit import fit_clusters
from engine.errors import ConfigError, DataError

FEATURES = ["orders", "spend_minor", "recency_days"]


def customers(n: int = 900, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    kind = random.integers(3, size=n)
    return pl.DataFrame(
        {
            "user_id": np.arange(n),
            "orders": random.poisson(np.array([1, 8, 60])[kind]) + 1,
            "spend_minor": np.rint(np.array([2e3, 3e4, 6e5])[kind] * random.lognormal(0, 0.2, n)).astype(np.int64),
            "recency_days": random.poisson(np.array([300, 60, 5])[kind]),
            "kind": kind,
        }
    )


def test_planted_customers_are_told_apart_and_ordered_by_spend() -> None:
    frame = customers()
    fitted = fit_clusters(frame, FEATURES, k_min=3, k_max=6, seed=1, order_by="spend_minor")
    assert fitted.choice.k == 3
    means = (
        frame.with_columns(assign(frame, fitted.clustering))
        .group_by("cluster")
        .agg(pl.col("kind").mean())
        .sort("cluster")
    )
    np.testing.assert_allclose(means["kind"].to_numpy(), [2, 1, 0], atol=0.02)


def test_row_order_changes_no_bit_of_what_is_learnt() -> None:
    frame = customers().with_columns(pl.when(pl.col("user_id") % 9 > 0).then("recency_days").alias("recency_days"))
    documents = {
        json.dumps(to_json(fit_clusters(f, FEATURES, k_min=2, k_max=5, seed=3).clustering))
        for f in (frame, frame.reverse(), frame.sample(fraction=1, shuffle=True, seed=1))
    }
    assert len(documents) == 1


def test_sizes_of_the_fit_are_those_of_the_assignment() -> None:
    frame = customers(seed=4)
    fitted = fit_clusters(frame, FEATURES, k_min=2, k_max=5, seed=3, order_by="orders")
    restored = from_json(json.loads(json.dumps(to_json(fitted.clustering))))
    labels = assign(frame, restored)["cluster"].to_numpy()
    assert np.bincount(labels).tolist() == fitted.choice.fit.sizes.tolist()


def test_order_by_another_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 'kind'"):
        fit_clusters(customers(), FEATURES, k_min=2, k_max=5, seed=1, order_by="kind")


def test_bad_features_are_refused_by_name() -> None:
    frame = customers().with_columns(pl.lit(math.inf).alias("spend_minor"))
    with pytest.raises(DataError, match="'spend_minor' has 900 infinite"):
        fit_clusters(frame, FEATURES, k_min=2, k_max=5, seed=1)


def test_equal_users_are_refused() -> None:
    frame = pl.DataFrame({"orders": [3] * 50})
    with pytest.raises(DataError, match="all 50 users are equal"):
        fit_clusters(frame, ["orders"], k_min=2, k_max=5, seed=1)
