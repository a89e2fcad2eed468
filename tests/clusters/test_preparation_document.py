from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.clusters.prepare import Preparation, fit_preparation
from engine.config_learning import Clusters
from engine.errors import IntegrityError


@pytest.fixture(scope="module")
def preparation() -> Preparation:
    rows = np.random.default_rng(0).lognormal(size=(50, 3))
    rows[:, 2] = 1
    chosen = Clusters(winsorise=0.02, outliers="clip", reduce="pca", variance=0.99)
    return fit_preparation(rows, ["a", "b", "c"], chosen)[0]


def test_the_document_has_these_keys(preparation: Preparation) -> None:
    document = preparation.to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert list(document) == [
        *("features", "transform", "scaling", "outliers", "fill", "edges", "limits", "centre", "scale", "reduction")
    ]
    assert list(document["reduction"]) == ["kind", "centre", "weights", "loadings", "explained", "kept"]
    assert document["limits"][2] is None


@given(
    st.lists(st.lists(st.floats(-1e12, 1e12) | st.just(math.nan), min_size=2, max_size=2), min_size=2, max_size=30),
    st.fixed_dictionaries(
        {
            "transform": st.sampled_from(["log1p", "none"]),
            "scale": st.sampled_from(["z_score", "min_max", "robust", "none"]),
            "winsorise": st.sampled_from([0, 0.1]),
            "outliers": st.sampled_from(["keep", "clip"]),
            "reduce": st.sampled_from(["none", "pca", "factor"]),
        }
    ),
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_json_keeps_every_bit(values: list[list[float]], chosen: dict[str, Any]) -> None:
    rows = np.array(values)
    fitted, _ = fit_preparation(rows, ["a", "b"], Clusters(**chosen))
    stored = Preparation.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)))
    assert stored == fitted
    assert stored.apply(rows).tobytes() == fitted.apply(rows).tobytes()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"features": []}, "features"),
        ({"features": None}, "features"),
        ({"transform": "sqrt"}, "transform"),
        ({"scaling": "max"}, "scaling"),
        ({"outliers": "drop"}, "outliers"),
        ({"fill": [1.0]}, "fill has 1 entries"),
        ({"edges": []}, "edges has 0 entries"),
        ({"edges": [[2, 1], None, None]}, "edges.0: expected the lower value first"),
        ({"limits": [[0, 1, 2], None, None]}, "limits.0"),
        ({"centre": [0.0, 0.0, math.inf]}, "centre.2"),
        ({"scale": [1.0, 0.0, 1.0]}, "scale.1"),
        ({"mean": [1.0]}, "mean"),
        ({"reduction": {"kind": "pca"}}, "reduction.weights"),
    ],
)
def test_a_document_that_does_not_fit_together_is_refused(
    preparation: Preparation, change: dict[str, Any], word: str
) -> None:
    with pytest.raises(IntegrityError) as raised:
        Preparation.from_json({**preparation.to_json(), **change})
    assert word in raised.value.message
    assert raised.value.code == "bundle-clusters"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kind": "ica"}, "reduction.kind"),
        ({"explained": []}, "reduction.explained"),
        ({"explained": [1.0]}, "weights.0 has 2 entries"),
        ({"weights": [[1.0, 0.0]]}, "weights has 1 entries"),
        ({"loadings": [[1.0, 0.0], [1.0], [0.0, 0.0]]}, "loadings.1 has 1 entries"),
        ({"centre": [0.0]}, "expected one entry per feature (1)"),
    ],
)
def test_components_that_do_not_fit_together_are_refused(
    preparation: Preparation, change: dict[str, Any], word: str
) -> None:
    document = preparation.to_json()
    with pytest.raises(IntegrityError) as raised:
        Preparation.from_json({**document, "reduction": {**document["reduction"], **change}})
    assert word in raised.value.message


def test_all_faults_are_named_at_once(preparation: Preparation) -> None:
    document = preparation.to_json()
    del document["fill"]
    with pytest.raises(IntegrityError, match=r"3 faults: transform.*fill.*centre"):
        Preparation.from_json({**document, "transform": "sqrt", "centre": "?"})


@pytest.mark.parametrize("document", [None, [], "x"])
def test_what_is_no_document_is_refused(document: object) -> None:
    with pytest.raises(IntegrityError):
        Preparation.from_json(document)
