from __future__ import annotations

import polars as pl
import pytest

from engine.features.catalogue import catalogue
from engine.stages.schemas import rule_schema, score_schema
from tests.features.logs import spec_of

CLUSTERS = {
    None: [],
    "kmeans": ["cluster", "cluster_distance", "cluster_margin", "cluster_name"],
    "hdbscan": ["cluster", "cluster_distance", "cluster_margin", "cluster_name"],
    "mixture": ["cluster", "cluster_distance", "cluster_probability", "cluster_name"],
}


@pytest.mark.parametrize("clusters", CLUSTERS)
@pytest.mark.parametrize("purchase", ["purchase", None])
def test_the_schema_of_scores_follows_what_was_learnt(purchase: str | None, clusters: str | None) -> None:
    names = list(score_schema(spec_of(purchase=purchase), ["a", "b"], clusters=clusters))
    assert names == [
        "engagement_score",
        *(["r_score", "f_score", "m_score", "rfm_segment"] if purchase else []),
        *CLUSTERS[clusters],
        *(f"propensity_{target}{rank}" for target in "ab" for rank in ("", "_percentile", "_decile", "_class")),
    ]


def test_customer_value_adds_its_columns() -> None:
    with_value, without = (score_schema(spec_of(), ["buys"], clusters=None, valued=valued) for valued in (True, False))
    added = ["value_expected_purchases", "value_p_alive", "value_expected_order", "value_clv"]
    assert [name for name in with_value if name not in without] == added
    assert {with_value[name] for name in added} == {pl.Float64()}


def test_rules_may_use_features_scores_and_attributes() -> None:
    spec = spec_of()
    scores = score_schema(spec, ["buys"], clusters="kmeans")
    schema = rule_schema(spec, scores, {"region": pl.String()})
    assert schema == {feature.name: feature.dtype for feature in catalogue(spec)} | scores | {"region": pl.String()}
    assert {"purchase_amount_30d", "engagement_score", "region", "propensity_buys"} <= set(schema)
    assert schema["propensity_buys_decile"] == pl.Int8()
    assert schema["propensity_buys_class"] == pl.String()
    assert not {"user_id", "user_key", "rfm_monetary_minor", "segment"} & set(schema)
