from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import multivariate_normal

from engine.clusters import assign as module
from engine.clusters.assign import Clustering, assign, far_limit, from_json, place, to_json
from engine.clusters.exemplars import Exemplars
from engine.clusters.gaussians import Mixture
from engine.clusters.prepare import Preparation, fit_preparation, to_matrix
from engine.clusters.sampled import Sampled, dbscan, hdbscan
from engine.clusters.units import rounded
from engine.config_learning import Clusters
from engine.errors import DataError, IntegrityError

FEATURES = ["orders", "spend_minor", "days_since_last_purchase"]
IDS = (7, 0, 3, 4)
NAMES = ("Regulars", "Rare", "Lapsed", "Big baskets")


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


def prepared(settings: Clusters | None = None) -> Preparation:
    return fit_preparation(to_matrix(users(), FEATURES), FEATURES, settings or Clusters())[0]


def clusterings() -> dict[str, Clustering]:
    random = np.random.default_rng(1)
    centroids = tuple(map(tuple, random.normal(size=(4, 3)).tolist()))
    kmeans = Clustering(prepared(), "kmeans", centroids, IDS, NAMES, "Unusual", 2.5, 9)
    shares = (0.4, 0.3, 0.2, 0.1)
    diagonal = Mixture(shares, centroids, tuple(map(tuple, random.uniform(0.3, 2, (4, 3)).tolist())), "diagonal")
    full = replace(diagonal, covariances=((1.0, 0.2, 0.8, -0.1, 0.1, 0.5),) * 4, kind="full")
    points = tuple(tuple(map(tuple, (random.normal(size=(5, 3)) * 0.5 + centre).tolist())) for centre in centroids)
    exemplars = Exemplars(points, (0.4, 0.5, 0.6, 0.7))
    return {
        "kmeans": kmeans,
        "ward": replace(kmeans, algorithm="ward"),
        "diagonal mixture": replace(kmeans, algorithm="mixture", mixture=diagonal),
        "full mixture": replace(kmeans, algorithm="mixture", mixture=full),
        "dbscan": replace(kmeans, algorithm="dbscan", exemplars=exemplars),
        "hdbscan": replace(kmeans, algorithm="hdbscan", exemplars=exemplars),
    }


every_clustering = pytest.mark.parametrize("clustering", clusterings().values(), ids=clusterings())


@pytest.fixture
def clustering() -> Clustering:
    return clusterings()["kmeans"]


@every_clustering
def test_columns_and_their_types(clustering: Clustering) -> None:
    result = assign(users(seed=2), clustering)
    certainty = "cluster_probability" if clustering.algorithm == "mixture" else "cluster_margin"
    schema = {"cluster": pl.Int32, "cluster_distance": pl.Float64, certainty: pl.Float64, "cluster_name": pl.String}
    assert list(result.schema.items()) == list(schema.items())
    assert result.null_count().sum_horizontal().item() == 0
    assert result.select(pl.col(pl.Float64).is_finite().all()).row(0) == (True, True)
    names = {(-1, "Unusual"), *zip(IDS, NAMES, strict=True)}
    assert set(result.select("cluster", "cluster_name").rows()) <= names
    empty = assign(users().clear(), clustering)
    assert empty.height == 0
    assert empty.schema == result.schema


def test_each_user_gets_the_nearest_centroid(clustering: Clustering) -> None:
    frame = users(seed=2)
    result = assign(frame, clustering)
    rows = clustering.preparation.apply(to_matrix(frame, FEATURES))
    distances = np.sqrt(((rows[:, None, :] - np.array(clustering.centroids)[None]) ** 2).sum(axis=2))
    ordered = np.sort(distances, axis=1)
    assert result["cluster"].to_list() == np.array(IDS)[distances.argmin(axis=1)].tolist()
    np.testing.assert_allclose(result["cluster_distance"].to_numpy(), ordered[:, 0], rtol=1e-12)
    np.testing.assert_allclose(result["cluster_margin"].to_numpy(), ordered[:, 1] - ordered[:, 0], atol=1e-12)


def test_each_user_gets_the_most_likely_component() -> None:
    clustering, frame = clusterings()["diagonal mixture"], users(seed=2)
    assert clustering.mixture is not None
    result = assign(frame, clustering)
    rows = clustering.preparation.apply(to_matrix(frame, FEATURES))
    parts = zip(clustering.mixture.weights, clustering.centroids, clustering.mixture.covariances, strict=True)
    likely = np.array([share * multivariate_normal(mean, np.diag(cov)).pdf(rows) for share, mean, cov in parts])
    labels = likely.argmax(axis=0)
    assert result["cluster"].to_list() == np.array(IDS)[labels].tolist()
    np.testing.assert_allclose(result["cluster_probability"].to_numpy(), (likely / likely.sum(axis=0)).max(axis=0))
    spreads = np.sqrt(np.array(clustering.mixture.covariances))[labels]
    mahalanobis = np.sqrt((((rows - np.array(clustering.centroids)[labels]) / spreads) ** 2).sum(axis=1))
    np.testing.assert_allclose(result["cluster_distance"].to_numpy(), mahalanobis)


def test_each_user_gets_the_nearest_exemplar_in_reach() -> None:
    clustering, frame = clusterings()["dbscan"], users(3000, seed=2)
    assert clustering.exemplars is not None
    result = assign(frame, clustering)
    rows = clustering.preparation.apply(to_matrix(frame, FEATURES))
    kinds = set()
    for row, cluster, distance, margin in zip(rows, *result.get_columns()[:3], strict=True):
        away = [min(math.dist(row, point) for point in points) for points in clustering.exemplars.points]
        near = [i for i, reach in enumerate(clustering.exemplars.reach) if away[i] <= reach]
        if not near:
            assert (cluster, margin) == (-1, 0)
            assert distance == pytest.approx(min(away))
            kinds.add("noise")
            continue
        best = min(near, key=lambda i: away[i])
        other = min(value for i, value in enumerate(away) if i != best)
        assert cluster == IDS[best]
        assert distance == pytest.approx(away[best])
        assert margin == pytest.approx(max(other - away[best], 0))
        kinds.add("nearest" if other >= away[best] else "nearest in reach")
    assert kinds == {"noise", "nearest", "nearest in reach"}


@every_clustering
@pytest.mark.parametrize("rows_at_once", [1, 59, 60, 10_000])
def test_slices_and_buckets_change_no_bit(
    clustering: Clustering, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    frame = users(60, seed=3)
    whole = assign(frame, clustering)
    assert pl.concat([assign(part, clustering) for part in frame.iter_slices(17)]).equals(whole)
    monkeypatch.setattr(module, "_SLICE_ROWS", rows_at_once)
    assert assign(frame, clustering).equals(whole)


@every_clustering
def test_columns_are_found_by_name(clustering: Clustering) -> None:
    frame = users()
    assert assign(frame.select(reversed(frame.columns)), clustering).equals(assign(frame, clustering))


def test_of_equally_near_clusters_the_first_one_counts(clustering: Clustering) -> None:
    twins = replace(clustering, centroids=(clustering.centroids[0],) * 4)
    result = assign(users(), twins)
    assert set(result["cluster"]) == {IDS[0]}
    assert set(result["cluster_margin"]) == {0.0}
    points = (((0.0, 0.0, 0.0),),) * 4
    dense = replace(twins, algorithm="dbscan", exemplars=Exemplars(points, (0.0, 9.0, 9.0, 9.0)))
    assert set(assign(users(), dense)["cluster"]) == {IDS[1]}
    components = Mixture((0.25,) * 4, twins.centroids, ((1.0, 1.0, 1.0),) * 4, "diagonal")
    likely = assign(users(), replace(twins, algorithm="mixture", mixture=components))
    assert set(likely["cluster"]) == {IDS[0]}
    assert set(likely["cluster_probability"]) == {0.25}


@pytest.mark.parametrize("name", ["kmeans", "full mixture", "dbscan"])
def test_a_single_cluster(name: str) -> None:
    of = clusterings()[name]
    mixture = of.mixture and Mixture((1.0,), of.mixture.means[:1], of.mixture.covariances[:1], "full")
    exemplars = of.exemplars and Exemplars(of.exemplars.points[:1], (2.0,))
    parts: dict[str, Any] = {"centroids": of.centroids[:1], "ids": (5,), "names": ("All",)}
    single = replace(of, **parts, mixture=mixture, exemplars=exemplars)
    result = assign(users(), single)
    assert set(result["cluster"]) == ({5, -1} if name == "dbscan" else {5})
    assert set(result.to_series(2)) == ({1.0} if mixture else {0.0})
    assert from_json(to_json(single)) == single


@every_clustering
def test_users_set_apart_are_in_no_cluster(clustering: Clustering) -> None:
    preparation = prepared(Clusters(outliers="apart", outlier_limit=1.5))
    frame = users(seed=4)
    result = assign(frame, replace(clustering, preparation=preparation))
    kept = assign(frame, replace(clustering, preparation=replace(preparation, outliers="keep")))
    apart = preparation.apart(to_matrix(frame, FEATURES))
    assert 0 < apart.sum() < len(apart)
    assert result.filter(apart).select("cluster", "cluster_name").unique().rows() == [(-1, "Unusual")]
    assert set(result.filter(apart).to_series(2)) == {0.0}
    assert result["cluster_distance"].equals(kept["cluster_distance"])
    assert result.filter(~apart).equals(kept.filter(~apart))


@pytest.mark.parametrize("found", [dbscan, hdbscan])
def test_users_of_the_sample_fall_into_the_clusters_they_were_found_in(
    clustering: Clustering, found: Callable[[np.ndarray, int], Sampled]
) -> None:
    random = np.random.default_rng(5)
    rows = np.eye(3)[random.integers(3, size=900)] * 12 + random.normal(size=(900, 3))
    sampled = found(np.asfortranarray(rounded(rows)), 10)
    centroids = tuple(map(tuple, sampled.centroids.tolist()))
    dense = replace(clustering, algorithm="dbscan", centroids=centroids, exemplars=sampled.exemplars)
    positions = place(np.asfortranarray(rounded(rows)), dense).positions
    inside = sampled.labels != -1
    assert inside.mean() > 0.9
    assert positions[inside].tolist() == sampled.labels[inside].tolist()
    assert set(place(np.full((5, 3), 100.0), dense).positions) == {-1}


def test_null_and_nan_take_the_stored_fill_value(clustering: Clustering) -> None:
    fill = clustering.preparation.fill[1]
    frames = [users(3).with_columns(pl.lit(value, pl.Float64).alias("spend_minor")) for value in (None, math.nan, fill)]
    first, *others = [assign(frame, clustering) for frame in frames]
    assert all(other.equals(first) for other in others)


@every_clustering
def test_users_beyond_all_measure_have_finite_values(clustering: Clustering) -> None:
    frame = users(2).with_columns(spend_minor=pl.Series([1e99, -1e99]), orders=pl.Series([2**62, 0]))
    result = assign(frame, clustering)
    assert result.select(pl.col(pl.Float64).is_finite().all()).row(0) == (True, True)


def test_missing_and_wrong_columns_are_refused_even_without_rows(clustering: Clustering) -> None:
    frame = users().clear().drop("orders").with_columns(pl.lit("x").alias("spend_minor"))
    with pytest.raises(DataError, match=r"2 of 3 .*'orders' is not there; 'spend_minor' must be numeric, got String"):
        assign(frame, clustering)


def test_prepared_rows_can_be_placed_before_there_are_names(clustering: Clustering) -> None:
    frame = users()
    placed = place(clustering.preparation.apply(to_matrix(frame, FEATURES)), replace(clustering, ids=(), names=()))
    result = assign(frame, clustering)
    assert np.array(IDS)[placed.positions].tolist() == result["cluster"].to_list()
    assert placed.distances.tolist() == result["cluster_distance"].to_list()


@pytest.mark.parametrize(("n", "expected"), [(1, 0), (2, 1), (99, 98), (100, 98), (101, 99), (1000, 989)])
def test_99_percent_are_not_far(n: int, expected: int) -> None:
    distances = np.random.default_rng(0).permutation(n).astype(np.float64)
    assert far_limit(distances) == expected
    assert (distances <= far_limit(distances)).mean() >= 0.99


@every_clustering
def test_json_keeps_every_bit(clustering: Clustering) -> None:
    document = json.loads(json.dumps(to_json(clustering)))
    assert from_json(document) == clustering
    assert from_json({**document, "curve": []}) == clustering


def test_json_keeps_a_reduced_preparation(clustering: Clustering) -> None:
    preparation = prepared(Clusters(reduce="pca", variance=0.5, winsorise=0.01, outliers="clip"))
    size = len(preparation.coordinates)
    centroids = tuple(centroid[:size] for centroid in clustering.centroids)
    reduced = replace(clustering, preparation=preparation, centroids=centroids)
    assert size < 3
    assert from_json(json.loads(json.dumps(to_json(reduced)))) == reduced
    assert assign(users(), reduced).height == 300


MIXED = {"weights": [0.5] * 4, "means": [[0.0] * 3] * 4, "covariances": [[1.0] * 3] * 4, "kind": "diagonal"}


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("kmeans", {"centroids": []}, "centroids"),
        ("kmeans", {"centroids": [[1.0, 2.0, 3.0], [1.0]] * 2}, "centroids.1 has 1 entries"),
        ("kmeans", {"centroids": [[1.0, 2.0]] * 4}, "the preparation has 3 coordinates, the centroids have 2"),
        ("kmeans", {"centroids": [[1.0, 2.0, math.inf]] * 4}, "centroids.0.2"),
        ("kmeans", {"ids": [1, 2, 3]}, "ids has 3 entries"),
        ("kmeans", {"ids": [1, 2, 3, 3]}, "different ids below next_id (9)"),
        ("kmeans", {"ids": [1, 2, 3, 9]}, "different ids below next_id (9)"),
        ("kmeans", {"ids": [1, 2, 3, -1]}, "ids.3"),
        ("kmeans", {"names": ["x"]}, "names has 1 entries"),
        ("kmeans", {"far": -1.0}, "far"),
        ("kmeans", {"far": math.nan}, "far"),
        ("kmeans", {"algorithm": "birch"}, "algorithm"),
        ("kmeans", {"algorithm": "mixture"}, "a mixture for the algorithm 'mixture' alone"),
        ("kmeans", {"mixture": MIXED}, "a mixture for the algorithm 'mixture' alone"),
        ("kmeans", {"algorithm": "dbscan"}, "exemplars for DBSCAN and HDBSCAN alone"),
        ("kmeans", {"preparation": {"features": ["orders"]}}, "scaling"),
        ("kmeans", {"preparation": 3}, "preparation"),
        ("diagonal mixture", {"mixture": {**MIXED, "weights": [1.0]}}, "mixture.weights has 1 entries"),
        ("diagonal mixture", {"mixture": {**MIXED, "weights": [0.0] * 4}}, "mixture.weights.0"),
        ("diagonal mixture", {"mixture": {**MIXED, "means": [[0.0] * 2] * 4}}, "mixture.means.0 has 2 entries"),
        ("diagonal mixture", {"mixture": {**MIXED, "covariances": [[0.0] * 3] * 4}}, "a variance is not positive"),
        ("diagonal mixture", {"mixture": {**MIXED, "kind": "full"}}, "mixture.covariances.0 has 3 entries"),
        ("full mixture", {"mixture": {**MIXED, "covariances": [[1.0] * 6] * 4, "kind": "full"}}, "positive definite"),
        ("dbscan", {"exemplars": {"points": [[[0.0] * 3]] * 3, "reach": [1.0] * 4}}, "exemplars.points has 3 entries"),
        ("dbscan", {"exemplars": {"points": [[[0.0] * 3]] * 4, "reach": [1.0] * 3}}, "exemplars.reach has 3 entries"),
        ("dbscan", {"exemplars": {"points": [[[0.0] * 2]] * 4, "reach": [1.0] * 4}}, "exemplars.points.0.0 has 2"),
        ("dbscan", {"exemplars": {"points": [[]] * 4, "reach": [1.0] * 4}}, "exemplars.points.0"),
        ("dbscan", {"exemplars": {"points": [[[0.0] * 3]] * 4, "reach": [-1.0] * 4}}, "exemplars.reach.0"),
    ],
)
def test_a_document_that_does_not_fit_together_is_refused(name: str, change: dict[str, Any], word: str) -> None:
    with pytest.raises(IntegrityError) as raised:
        from_json({**to_json(clusterings()[name]), **change})
    assert word in raised.value.message
    assert raised.value.code == "bundle-clusters"


def test_all_faults_are_named_at_once(clustering: Clustering) -> None:
    document = to_json(clustering)
    del document["far"]
    with pytest.raises(IntegrityError, match=r"3 faults: .*algorithm.*centroids.*far"):
        from_json({**document, "algorithm": "none", "centroids": "?"})
    with pytest.raises(IntegrityError, match=r"ids has 1 entries.*names has 0 entries"):
        from_json({**to_json(clustering), "ids": [1], "names": []})
