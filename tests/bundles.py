"""A bundle with a small model, made without a log: for tests of what bundles are, and not of what is learnt."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from engine.bundle import Bundle
from engine.clusters.record import Clustered
from engine.config import Config, Model, Target
from engine.execution.local import LocalExecutor
from engine.features.choice import feature_spec
from engine.features.spec import FeatureSpec
from engine.propensity.drift import fit_reference
from engine.propensity.train import Frames, TrainedModel, train
from engine.segments.rfm_scores import BinEdges, RfmEdges
from engine.stages.cluster_fit import ClusterInput
from engine.stages.clustering import learn_clusters
from engine.value.bgnbd import BgNbd
from engine.value.gamma_gamma import GammaGamma
from engine.value.model import ValueFit, ValueModel

DAY = date(2026, 3, 1)
HORIZON = 14
FEATURES = ("tenure_days", "view_count_30d", "view_count_total", "region", "age")
LEARNT_FROM = (("model", "2"), ("seed", "1"))
_SOURCE = {"name": "shop", "path": "a", "columns": {"user_id": "u", "event_type": "k", "event_time": "t"}}


@lru_cache
def spec(**sections: object) -> FeatureSpec:
    """The features of a log with views and purchases."""
    given = {"sources": [_SOURCE], "features": {"windows": [30]}, "events": {"purchase": "buy"}, **sections}
    return feature_spec(Config.model_validate(given), ("buy", "view"), frozenset({"buy"}))


def target(name: str = "buys", **changes: object) -> Target:
    """What the models of this module predict."""
    return Target.model_validate({"name": name, "event": "view", "horizon_days": HORIZON, **changes})


def rows(seed: int, anchor: date, users: range) -> pl.DataFrame:
    """Labelled rows with the features of `model`."""
    random = np.random.default_rng(seed)
    views = random.poisson(3, len(users))
    region = random.integers(0, 3, len(users))
    log_odds = -2.5 + 0.5 * views + np.where(region == 0, 1.0, 0.0)
    return pl.DataFrame(
        {
            "user_id": users,
            "anchor": [anchor] * len(users),
            "label": random.random(len(users)) < 1 / (1 + np.exp(-log_odds)),
            "tenure_days": random.integers(0, 90, len(users)),
            "view_count_30d": views,
            "view_count_total": views + random.poisson(5, len(users)),
            "region": pl.Series([("nord-été", "sud", None)[place] for place in region], dtype=pl.String),
            "age": pl.Series(random.integers(18, 80, len(users))),
        }
    )


@lru_cache
def model(name: str = "buys", seed: int = 7) -> TrainedModel:
    """A model of a few trees; another seed is another log."""
    anchors = [DAY - timedelta(days=HORIZON * step) for step in (3, 2, 1)]
    users = (range(400), range(400), range(400, 800))
    frames = (rows(seed + step, anchor, those) for step, (anchor, those) in enumerate(zip(anchors, users, strict=True)))
    settings = Model(trees=6, leaves=4, min_rows_per_leaf=10)
    return train(Frames(*frames), FEATURES, ["region"], target(name), settings, seed, threads=1)


def bundle(number: int = 1, **changes: object) -> Bundle:
    """A small bundle without a model; another number is what another log would give."""
    made = Bundle(
        as_of=DAY,
        learnt_from=LEARNT_FROM,
        spec=spec(),
        user_dtype="Int64",
        rfm_edges=None,
        segment_map="rf_10",
        engagement_full_at=number,
        contacts=(("region", "String"), ("age", "Int64")),
        clusters=None,
        models=(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@lru_cache
def full_bundle(*targets: str) -> Bundle:
    """A bundle with everything that there can be in one."""
    frame = rows(1, DAY, range(300))
    return bundle(
        models=tuple(model(name, seed) for seed, name in enumerate(targets or ("buys",))),
        drift=fit_reference(frame, ["tenure_days", "age"], ["region"], 10),
        rfm_edges=RfmEdges(*(BinEdges("quantile", (step, 2 * step, 3 * step, 4 * step)) for step in (1, 5, 100))),
        clusters=clusters(),
        value=_value(),
    )


@lru_cache
def clusters(users: int = 300, **settings: object) -> Clustered:
    """Clusters of a few users, as a first fit finds them."""
    features = ("tenure_days", "view_count_30d")
    frame = rows(1, DAY, range(users)).with_columns(user_key=pl.col("user_id").cast(pl.UInt64), rfm_monetary_minor=0)
    config = Config.model_validate(
        {"sources": [_SOURCE], "clusters": {"k_min": 2, "k_max": 3, "resamples": 3, "features": features, **settings}}
    )
    frame = frame.with_columns(
        rfm_recency_days=1, rfm_frequency=1, rfm_monetary=0.0, rfm_mean_order=0.0, engagement_points=1
    )
    with TemporaryDirectory() as folder:
        file = Path(folder) / "current-00000.parquet"
        frame.write_parquet(file)
        given = ClusterInput((str(file),), users, features, "view_count_30d", ("region",))
        learnt = learn_clusters(
            given, config, spec(), None, work=Path(folder), executor=LocalExecutor(threads=1), progress=None
        )
    return learnt.clustered


def _value() -> ValueModel:
    """Parameters of the CDNOW customers (Fader, Hardie and Lee 2005; Fader and Hardie 2013), as of some fit."""
    fit = ValueFit(
        customers=2357,
        repeat_customers=946,
        without_spend=0,
        histories=1200,
        purchases_log_likelihood=-9582.4,
        spend_log_likelihood=-4055.0,
        correlation=0.06,
        actual=(1411, 439, 214, 100, 62, 38, 29, 64),
        expected=(1429.4, 391.4, 187.2, 108.3, 68.6, 46.0, 32.2, 93.9),
        warnings=(),
    )
    purchases = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)
    return ValueModel(purchases, GammaGamma(p=6.25, q=3.74, v=15.44), 365, 0.1, 2, fit)
