from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.clusters import assign as module
from engine.clusters.assign import Clustering, assign, from_json, to_json
from engine.clusters.prepare import fit_preparation, to_matrix
from engine.errors import DataError, IntegrityError

FEATURES = ["orders", "spend_minor", "days_since_last_purchase"]


def users(n: int = 300, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user_id": np.arange(n),
            "days_since_last_purchase": random.integers(0, 365, n),
            "orders": random.integers(0, 40, n),
            "spend_minor": random.normal(5000, 20_000, n),
        }
    ).with_columns(pl.when(pl.col("user_id") % 7 == 0).then(None).otherwise("spend_minor").alias("spend_minor"))


@pytest.fixture
def clustering() -> Clustering:
    rows = to_matrix(users(), FEATURES)
    preparation = fit_preparation(rows, FEATURES)
    centroids = np.random.default_rng(1).normal(size=(4, 3))
    return Clustering(preparation, tuple(map(tuple, centroids.tolist())))


def test_each_user_gets_the_nearest_centroid(clustering: Clustering) -> None:
    frame = users(seed=2)
    result = assign(frame, clustering)
    assert result.schema == {"cluster": pl.Int32, "cluster_distance": pl.Float64}
    assert result.null_count().sum_horizontal().item() == 0
    prepared = clustering.preparation.apply(to_matrix(frame, FEATURES))
    distances = np.sqrt(((prepared[:, None, :] - np.array(clustering.centroids)[None]) ** 2).sum(axis=2))
    assert result["cluster"].to_list() == distances.argmin(axis=1).tolist()
    np.testing.assert_allclose(result["cluster_distance"].to_numpy(), distances.min(axis=1), rtol=1e-12)


@pytest.mark.parametrize("rows_at_once", [1, 64, 299, 300, 10_000])
def test_slices_and_buckets_change_no_bit(
    clustering: Clustering, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    frame = users(seed=3)
    whole = assign(frame, clustering)
    assert pl.concat([assign(part, clustering) for part in frame.iter_slices(17)]).equals(whole)
    monkeypatch.setattr(module, "_SLICE_ROWS", rows_at_once)
    assert assign(frame, clustering).equals(whole)


def test_columns_are_found_by_name(clustering: Clustering) -> None:
    frame = users()
    assert assign(frame.select(reversed(frame.columns)), clustering).equals(assign(frame, clustering))


def test_null_and_nan_take_the_stored_fill_value(clustering: Clustering) -> None:
    fill = clustering.preparation.fill[1]
    frames = [users(3).with_columns(pl.lit(value, pl.Float64).alias("spend_minor")) for value in (None, math.nan, fill)]
    first, *others = [assign(frame, clustering) for frame in frames]
    assert all(other.equals(first) for other in others)


def test_an_empty_frame_has_an_empty_result_of_the_same_types(clustering: Clustering) -> None:
    result = assign(users().clear(), clustering)
    assert result.height == 0
    assert result.schema == {"cluster": pl.Int32, "cluster_distance": pl.Float64}


def test_missing_and_wrong_columns_are_refused_even_without_rows(clustering: Clustering) -> None:
    frame = users().clear().drop("orders").with_columns(pl.lit("x").alias("spend_minor"))
    with pytest.raises(DataError, match=r"2 of 3 .*'orders' is not there; 'spend_minor' must be numeric, got String"):
        assign(frame, clustering)


def test_json_keeps_every_bit(clustering: Clustering) -> None:
    document = json.loads(json.dumps(to_json(clustering)))
    assert list(document) == ["features", "transform", "fill", "mean", "scale", "centroids"]
    assert from_json(document) == clustering
    assert from_json({**document, "curve": []}) == clustering


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"features": []}, "features"),
        ({"features": None}, "features"),
        ({"transform": "sqrt"}, "transform"),
        ({"fill": [1.0]}, "fill has 1 entries"),
        ({"mean": [0.0, 0.0, math.inf]}, "mean.2"),
        ({"scale": [1.0, 0.0, 1.0]}, "scale.1"),
        ({"centroids": []}, "centroids"),
        ({"centroids": [[1.0, 2.0, 3.0], [1.0]]}, "centroids.1 has 1 entries"),
    ],
)
def test_a_document_that_does_not_fit_together_is_refused(
    clustering: Clustering, change: dict[str, Any], word: str
) -> None:
    with pytest.raises(IntegrityError) as raised:
        from_json({**to_json(clustering), **change})
    assert word in raised.value.message
    assert raised.value.code == "bundle-clusters"


def test_all_faults_are_named_at_once(clustering: Clustering) -> None:
    document = to_json(clustering)
    del document["fill"]
    with pytest.raises(IntegrityError, match=r"3 faults: .*transform.*fill.*centroids"):
        from_json({**document, "transform": "none", "centroids": "?"})
