"""Which columns the published tables have, and which of them a segment's rule may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from engine.bundle import Bundle
from engine.config import Config
from engine.consent.inputs import inputs_of
from engine.features.catalogue import catalogue
from engine.features.spec import FeatureSpec
from engine.stages.propensities import propensity_schema
from engine.value.model import VALUE_SCHEMA


def cluster_schema(algorithm: str | None) -> dict[str, pl.DataType]:
    """Name and type of the columns about clusters; none without clusters.

    Args:
        algorithm: As in `engine.config.Clusters`: a mixture tells how likely a user is of the cluster, all others how
            much nearer it is than the next.
    """
    if algorithm is None:
        return {}
    certainty = "cluster_probability" if algorithm == "mixture" else "cluster_margin"
    return {
        "cluster": pl.Int32(),
        "cluster_distance": pl.Float64(),
        certainty: pl.Float64(),
        "cluster_name": pl.String(),
    }


def score_schema(
    spec: FeatureSpec, targets: Iterable[str], *, clusters: str | None, valued: bool = False, told: bool = False
) -> dict[str, pl.DataType]:
    """Name and type of every score column.

    Args:
        spec: The features.
        targets: Names of the targets that there is a model for.
        clusters: Algorithm of the clusters; None without.
        valued: Whether there is customer value.
        told: Whether there are columns that tell which model scored a user.
    """
    schema: dict[str, pl.DataType] = {"engagement_score": pl.Float64()}
    if spec.purchase is not None:
        schema |= {"r_score": pl.Int8(), "f_score": pl.Int8(), "m_score": pl.Int8(), "rfm_segment": pl.String()}
    schema |= cluster_schema(clusters)
    if valued:
        schema |= VALUE_SCHEMA
    for target in targets:
        schema |= propensity_schema(target, told=told)
    return schema


def bundle_schema(bundle: Bundle) -> dict[str, pl.DataType]:
    """Name and type of every score column of a bundle: the `scores` table beside `user_id`."""
    names = (model.spec.target.name for model in bundle.models)
    algorithm = None if bundle.clustering is None else bundle.clustering.algorithm
    told = bundle.inputs is not None
    return score_schema(bundle.spec, names, clusters=algorithm, valued=bundle.value is not None, told=told)


def configured_schema(config: Config, spec: FeatureSpec) -> dict[str, pl.DataType]:
    """Name and type of every score column that a fit of a configuration leads to."""
    names = (target.name for target in config.targets)
    algorithm = config.clusters.algorithm if config.clusters.enabled else None
    told = inputs_of(config.consent) is not None
    return score_schema(spec, names, clusters=algorithm, valued=config.value is not None, told=told)


def segment_columns(bundle: Bundle) -> tuple[str, ...]:
    """Columns of the `segments` table beside `user_id` and the partition key: what people read.

    Of a propensity these are the probability, the decile and the class, of a cluster its id and its name; the rest
    stands in `scores`.
    """
    rfm = ("rfm_recency_days", "rfm_frequency", "rfm_monetary") if bundle.rfm_edges is not None else ()
    left_out = {"cluster_distance", "cluster_margin", "cluster_probability"}
    left_out |= {
        f"propensity_{model.spec.target.name}_{what}" for model in bundle.models for what in ("percentile", "model")
    }
    return (*rfm, *(name for name in bundle_schema(bundle) if name not in left_out))


def rule_schema(
    spec: FeatureSpec, scores: Mapping[str, pl.DataType], contacts: Mapping[str, pl.DataType]
) -> dict[str, pl.DataType]:
    """What a segment's rule may use: features, scores and contact attributes."""
    return {**{feature.name: feature.dtype for feature in catalogue(spec)}, **scores, **contacts}
