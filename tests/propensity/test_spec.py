from __future__ import annotations

import json

import pytest

from engine.errors import IntegrityError
from engine.propensity.spec import ModelSpec
from engine.propensity.train import TrainedModel


def test_a_spec_survives_json_to_the_last_bit(model: TrainedModel) -> None:
    text = model.spec.to_json()
    again = ModelSpec.from_json(text.encode())
    assert again == model.spec
    assert hash(again) == hash(model.spec)
    assert again.to_json() == text
    assert list(json.loads(text))[:4] == ["target", "settings", "seed", "features"]
    assert "Île-de-France" in text


def test_categorical_features_are_those_with_codes(model: TrainedModel) -> None:
    assert model.spec.categorical == (False, False, False, False, False, False, True)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"seed": "1"}, "seed"),
        ({"more": 1}, "more"),
        ({"features": []}, "features: empty or repeated"),
        ({"dtypes": ["Int64"]}, "dtypes: not one per feature"),
        ({"codes": [{"column": "other", "values": []}]}, "codes: not one table"),
        ({"codes": [{"column": "city", "values": ["b", "a"]}]}, "codes: values not ascending"),
        ({"importance": [["city", 1.0]]}, "importance: not of the features"),
        ({"check_rows": [[1.0]]}, "check_rows: not one value per feature"),
        ({"check_scores": []}, "check_scores: not one per check row"),
        ({"check_rows": [], "check_scores": []}, "check_scores: not one per check row"),
        ({"target": {"name": "Not a name", "event": "purchase"}}, "target.name"),
        ({"metrics": None}, "metrics"),
    ],
)
def test_a_spec_that_was_edited_is_refused(model: TrainedModel, changes: dict[str, object], problem: str) -> None:
    text = json.dumps({**json.loads(model.spec.to_json()), **changes})
    with pytest.raises(IntegrityError) as caught:
        ModelSpec.from_json(text)
    assert caught.value.code == "model-spec"
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", b"\xff"])
def test_what_is_no_spec_is_refused(text: str | bytes) -> None:
    with pytest.raises(IntegrityError, match="damaged"):
        ModelSpec.from_json(text)
