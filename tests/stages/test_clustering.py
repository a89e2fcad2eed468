from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from engine.bundle_store import write_bundle
from engine.clusters.assign import assign
from engine.clusters.moves import APART
from engine.clusters.record import Clustered, from_json, to_json, with_names
from engine.config import Config
from engine.errors import DataError, IntegrityError
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor
from engine.features.catalogue import catalogue
from engine.rollups.ranges import KEYS
from engine.stages.cluster_fit import ClusterInput
from engine.stages.clustering import LearntClusters, learn_clusters
from tests.bundles import _SOURCE, bundle, spec

LOCAL = LocalExecutor(threads=1)
FEATURES = ("tenure_days", "buy_count_30d", "buy_amount_30d")
SPEC = spec()


def customers(users: int = 600, seed: int = 1, shares: Sequence[float] = (0.5, 0.3, 0.2)) -> pl.DataFrame:
    """Users of three kinds: many who buy little, some who buy, few who buy much."""
    random = np.random.default_rng(seed)
    kind = random.choice(3, users, p=shares)
    count = random.poisson(np.array([1, 8, 60])[kind]) + 1
    minor = np.rint(np.array([2e3, 3e4, 6e5])[kind] * random.lognormal(0, 0.2, users)).astype(np.int64)
    columns: dict[str, Any] = {feature.name: [0] * users for feature in catalogue(SPEC) if feature.dtype.is_numeric()}
    columns |= {
        "user_key": pl.Series([KEYS // users * user for user in range(users)], dtype=pl.UInt64),
        "user_id": np.arange(users),
        "tenure_days": random.poisson(np.array([300, 60, 5])[kind]) + 1,
        "buy_count_30d": count,
        "buy_amount_30d": minor / 100,
        "rfm_monetary": minor / 100,
        "rfm_monetary_minor": minor,
        "region": [("nord", "sud", None)[user % 3] for user in range(users)],
        "kind": kind,
    }
    return pl.DataFrame(columns)


def configured(**clusters: object) -> Config:
    settings = {"k_min": 2, "k_max": 5, "resamples": 3, "features": FEATURES, **clusters}
    gate = settings.pop("gate", "hold")
    return Config.model_validate({"sources": [_SOURCE], "clusters": settings, "model": {"gate": gate}})


def learnt(
    frame: pl.DataFrame,
    folder: Path,
    config: Config | None = None,
    before: Path | None = None,
    *,
    buckets: int = 1,
    executor: Executor = LOCAL,
    first_id: int = 0,
) -> LearntClusters:
    config = configured() if config is None else config
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, rows in enumerate(cut(frame, buckets)):
        files.append(str(folder / f"current-{number:05d}.parquet"))
        rows.write_parquet(files[-1])
    features = config.clusters.features
    given = ClusterInput(tuple(files), frame.height, features, features[-1], ("region",), first_id)
    return learn_clusters(given, config, SPEC, before, work=folder, executor=executor, progress=None)


def cut(frame: pl.DataFrame, buckets: int) -> list[pl.DataFrame]:
    """The users in ranges of their keys; one more range than there are users is empty."""
    size = -(-frame.height // buckets)
    return [frame[start * size : (start + 1) * size] for start in range(buckets)]


def in_use(clustered: Clustered, out: Path, **changes: object) -> Path:
    return write_bundle(bundle(clusters=clustered, **changes), out / "_work" / "b", out)


def document(clustered: Clustered) -> str:
    return json.dumps(to_json(clustered))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Clustered:
    return learnt(customers(), tmp_path_factory.mktemp("first")).clustered


def test_planted_customers_are_told_apart_and_ids_fall_with_spend(first: Clustered) -> None:
    frame = customers()
    found = frame.with_columns(assign(frame, first.clustering).select("cluster"))
    means = found.group_by("cluster").agg(pl.col("kind").mean(), pl.len()).sort("cluster")
    np.testing.assert_allclose(means["kind"].to_numpy(), [2, 1, 0], atol=0.02)
    assert [profile.users for profile in first.profiles] == means["len"].to_list()
    assert first.identity.ids == first.clustering.ids
    assert sorted(first.clustering.ids) == [0, 1, 2]
    assert [event.kind for event in first.identity.events] == ["new"] * 3
    assert (first.moves, first.identity.next_id, first.kept) == (None, 3, None)
    assert first.quality is not None
    assert first.quality.silhouette > 0.7
    assert first.stability is not None
    assert first.stability.unstable == ()
    assert [point.k for point in first.curve] == [2, 3, 4, 5]
    assert len(set(first.names.values())) == 4


ALGORITHMS: dict[str, dict[str, object]] = {
    "kmeans": {},
    "mixture": {"algorithm": "mixture", "choose": "bic"},
    "full mixture, clipped": {"algorithm": "mixture", "covariance": "full", "k_max": 3, "outliers": "clip"},
    "ward, components": {"algorithm": "ward", "reduce": "pca"},
    "hdbscan, apart": {"algorithm": "hdbscan", "outliers": "apart", "outlier_limit": 2.0},
    "sampled": {"max_rows": 200, "winsorise": 0.02, "scale": "robust"},
}


@pytest.mark.parametrize("settings", ALGORITHMS.values(), ids=ALGORITHMS)
def test_no_cut_into_buckets_changes_a_bit(settings: dict[str, object], tmp_path: Path) -> None:
    frame, config = customers(300), configured(**settings)
    one = learnt(frame, tmp_path / "one", config).clustered
    # An empty bucket, too.
    many = learnt(frame, tmp_path / "many", config, buckets=7).clustered
    assert document(many) == document(one)
    assert document(from_json(json.loads(document(one)))) == document(one)
    assert many == one
    placed = assign(frame, one.clustering)["cluster"].value_counts().sort("cluster")
    assert dict(placed.iter_rows()) == {profile.cluster: profile.users for profile in one.profiles}


def test_clusters_that_are_found_again_keep_id_and_name(first: Clustered, tmp_path: Path) -> None:
    # Fewer buy much, more buy, and the users are others.
    frame = customers(500, seed=2, shares=(0.45, 0.4, 0.15))
    found = learnt(frame, tmp_path / "next", before=in_use(first, tmp_path / "out"), first_id=7)
    assert found.failed == ()
    clustered = found.clustered
    assert {event.kind for event in clustered.identity.events} == {"kept"}
    assert sorted(clustered.clustering.ids) == [0, 1, 2]
    assert clustered.names == first.names
    assert clustered.identity.next_id == 7
    assert clustered.moves is not None
    assert clustered.moves.users == 500
    assert clustered.moves.ari > 0.9


def test_a_cluster_that_is_new_gets_an_id_that_no_other_had(first: Clustered, tmp_path: Path) -> None:
    frame = customers(500, seed=2)
    others = customers(300, seed=3).with_columns(
        tenure_days=pl.lit(3000), buy_count_30d=60, user_id=pl.col("user_id") + 1000, user_key=pl.col("user_key") + 1
    )
    everyone = pl.concat([frame, others], how="vertical_relaxed").sort("user_key")
    before = in_use(first, tmp_path / "out")
    found = learnt(everyone, tmp_path / "next", configured(k_min=4, k_max=4), before, first_id=9).clustered
    assert set(found.clustering.ids) - {0, 1, 2} == {9}
    assert found.identity.next_id == found.clustering.next_id == 10
    # By what they spend they would be of a cluster that there was.
    assert [event.others for event in found.identity.events if event.kind == "split"] == [(9,)]


OTHERS = ("rfm_monetary", "tenure_days")


def test_clusters_that_move_too_many_users_give_way_to_those_in_use(first: Clustered, tmp_path: Path) -> None:
    before = in_use(first, tmp_path / "out")
    frame, few = customers(), configured(max_moved=0.001, k_min=5, k_max=5)
    found = learnt(frame, tmp_path / "next", few, before, first_id=3)
    assert found.held is False
    assert "clusters.max_moved allows 0%" in found.failed[0]
    stays = found.clustered
    assert stays.kept is not None
    assert (stays.kept.bundle, stays.kept.reasons) == (before.name, found.failed)
    assert replace(stays.clustering, names=()) == replace(first.clustering, names=())
    assert {event.kind for event in stays.identity.events} == {"kept"}
    assert stays.moves is not None
    assert stays.moves.moved == 0
    assert [profile.users for profile in stays.profiles] == [profile.users for profile in first.profiles]
    warned = learnt(frame, tmp_path / "warn", configured(max_moved=0.001, k_min=5, k_max=5, gate="warn"), before)
    assert (warned.held, warned.failed, warned.clustered.kept) == (False, found.failed, None)
    assert len(warned.clustered.clustering.ids) == 5


@pytest.mark.parametrize("settings", [{"features": OTHERS}, {"algorithm": "mixture"}], ids=["features", "algorithm"])
def test_clusters_that_cannot_stay_are_held(settings: dict[str, object], first: Clustered, tmp_path: Path) -> None:
    config = configured(**{"max_moved": 0.001, "k_min": 5, "k_max": 5, **settings})
    found = learnt(customers(), tmp_path / "next", config, in_use(first, tmp_path / "out"))
    assert found.held
    assert found.failed
    assert found.clustered.kept is None


def test_other_features_are_compared_by_the_users(first: Clustered, tmp_path: Path) -> None:
    config = configured(features=OTHERS, k_min=3, k_max=3)
    found = learnt(customers(), tmp_path / "next", config, in_use(first, tmp_path / "out")).clustered
    assert sorted(found.clustering.ids) == [0, 1, 2]
    assert found.moves is not None
    assert found.moves.ari > 0.9


def test_features_that_are_no_longer_there_give_new_ids(first: Clustered, tmp_path: Path) -> None:
    # The bundle before knows windows of 30 days as of another time zone.
    other = replace(SPEC, currency_digits=0)
    before = in_use(first, tmp_path / "out", spec=other)
    found = learnt(customers(), tmp_path / "next", before=before, first_id=3).clustered
    assert sorted(found.clustering.ids) == [3, 4, 5]
    assert found.moves is None
    assert found.identity.note is not None
    assert "tenure_days, buy_count_30d, buy_amount_30d" in found.identity.note


@pytest.mark.parametrize("spoil", ["damaged", "without clusters", "gone"])
def test_a_bundle_that_cannot_be_compared_is_as_none(spoil: str, first: Clustered, tmp_path: Path) -> None:
    before = in_use(first, tmp_path / "out") if spoil != "without clusters" else None
    if before is None:
        before = write_bundle(bundle(), tmp_path / "out" / "_work" / "b", tmp_path / "out")
    elif spoil == "damaged":
        (before / "clusters.json").write_text("{}")
    else:
        before = before.with_name("0123456789ab")
    found = learnt(customers(), tmp_path / "next", before=before, first_id=3).clustered
    assert sorted(found.clustering.ids) == [3, 4, 5]
    assert found.moves is None


# --------------------------------------------------------------------------------------------------------------- names


def test_names_of_the_configuration_come_first(tmp_path: Path) -> None:
    found = learnt(customers(), tmp_path, configured(names={"0": "Best", "7": "Nobody"}, language="fr")).clustered
    assert found.names[0] == "Best"
    assert "there is no cluster '7'" in found.notes[0]
    again = with_names(found, {"1": "Second", "-1": "Autres"})
    assert (again.names[0], again.names[1], again.names[APART]) == ("Best", "Second", "Autres")
    assert again.names[2] == found.names[2]


# ----------------------------------------------------------------------------------------------------------- bad input


BAD: dict[str, tuple[pl.Expr, str, str]] = {
    "all equal": (pl.lit(3), "clusters-all-equal", "all 40 users are equal"),
    "all null": (pl.lit(None, dtype=pl.Float64), "clusters-all-equal", "all 40 users are equal"),
    "infinite": (pl.lit(math.inf), "clusters-values", "'tenure_days' has 40"),
    "text": (pl.lit("a"), "clusters-features", "'tenure_days' must be numeric, got String"),
}


@pytest.mark.parametrize(("value", "code", "named"), BAD.values(), ids=BAD)
def test_features_that_cannot_be_used(value: pl.Expr, code: str, named: str, tmp_path: Path) -> None:
    frame = customers(40).with_columns(value.alias(name) for name in FEATURES)
    with pytest.raises(DataError) as caught:
        learnt(frame, tmp_path)
    assert caught.value.code == code
    assert named in caught.value.message


def test_fewer_users_than_clusters(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="clusters") as caught:
        learnt(customers(3), tmp_path, configured(k_min=4))
    assert caught.value.code == "clusters-too-few-rows"


def test_no_more_clusters_are_tried_than_users_differ(tmp_path: Path) -> None:
    found = learnt(customers(4, seed=5), tmp_path, configured(k_min=2, k_max=9)).clustered
    assert [point.k for point in found.curve] == [2, 3, 4]


@pytest.mark.parametrize("value", [7, None])
def test_a_feature_that_tells_nobody_apart_is_left_and_told(value: int | None, tmp_path: Path) -> None:
    frame = customers(200).with_columns(tenure_days=pl.lit(value, dtype=pl.Int64))
    found = learnt(frame, tmp_path).clustered
    [told] = [feature for feature in found.report.features if feature.constant]
    assert (told.name, told.missing) == ("tenure_days", 0 if value else 200)


def test_everybody_set_apart(tmp_path: Path) -> None:
    frame = customers(200)
    with pytest.raises(DataError) as caught:
        learnt(frame, tmp_path, configured(outliers="apart", outlier_limit=1e-6))
    assert caught.value.code == "clusters-too-few-rows"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"curve": [{"k": 2}]}, "curve.0.silhouette"),
        ({"quality": 5}, "quality"),
        ({"more": 1}, "more: unknown"),
        ({"called": {}}, "called"),
        ({"moves": {"counts": [[1, 2]]}}, "moves.counts.0"),
    ],
)
def test_a_stored_record_that_is_none_is_refused(change: dict[str, object], named: str, first: Clustered) -> None:
    with pytest.raises(IntegrityError) as caught:
        from_json({**json.loads(document(first)), **change})
    assert caught.value.code == "bundle-clusters"
    assert named in caught.value.message
