from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from engine.config import Model
from engine.errors import IntegrityError
from engine.propensity.calibration import Calibration
from engine.propensity.gates import Verdict
from engine.propensity.spec import ModelSpec, Trial, best_trial
from engine.propensity.train import TrainedModel


def test_a_spec_survives_json_to_the_last_bit(model: TrainedModel) -> None:
    text = model.spec.to_json()
    again = ModelSpec.from_json(text.encode())
    assert again == model.spec
    assert hash(again) == hash(model.spec)
    assert again.to_json() == text
    assert list(json.loads(text))[:4] == ["target", "settings", "seed", "features"]
    assert "Île-de-France" in text


def test_a_spec_with_every_field_filled_survives_json(model: TrainedModel) -> None:
    settings = Model(monotone={"open_rate_30d": "increasing"}, classes={"hot": 2.5, "cold": 0.1})
    spec = dataclasses.replace(
        model.spec,
        settings=settings,
        apart="users",
        sampled=(("training", 10, 5),),
        calibration=Calibration("isotonic", (0.0, 0.1 + 0.2, 1.0), (1 / 3, 1 / 3, 1.0), 1.0, 0.0),
        cuts=tuple(number / 99 for number in range(99)),
        verdict=Verdict(promoted=False, reasons=("no: é",), baseline=None, incumbent=None),
        alarms=("look",),
        notes=("know",),
        tuned=(Trial(Model(), 0.5), Trial(settings, 0.25)),
    )
    again = ModelSpec.from_json(spec.to_json())
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.to_json() == spec.to_json()
    assert list(again.settings.classes) == ["hot", "cold"]


def test_the_first_of_equal_trials_is_the_best() -> None:
    trials = [Trial(Model(leaves=leaves), loss) for leaves, loss in ((4, 0.5), (5, 0.25), (6, 0.25))]
    assert best_trial(trials) is trials[1]


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
        ({"settings": {"monotone": {"city": "increasing"}}}, "settings: monotone names no numeric feature"),
        ({"settings": {"monotone": {"other": "increasing"}}}, "settings: monotone names no numeric feature"),
        ({"train_anchors": []}, "anchors: missing or not ascending"),
        ({"train_anchors": ["2024-01-31", "2024-01-01"]}, "anchors: missing or not ascending"),
        ({"train_anchors": ["2024-02-01"]}, "anchors: label windows overlap"),
        ({"test_anchors": ["2024-03-30"]}, "anchors: label windows overlap"),
        ({"apart": "hope"}, "apart"),
        ({"trees": 0}, "trees: not within the settings"),
        ({"trees": 31}, "trees: not within the settings"),
        ({"sampled": [["training", 5, 6]]}, "sampled: more rows used than there were"),
        ({"intervals": [["auc", {"low": 0.6, "high": 0.5}]]}, "intervals: named twice or upside down"),
        ({"intervals": [["auc", {"low": 0, "high": 1}]] * 2}, "intervals: named twice or upside down"),
        ({"reliability": []}, "reliability: of other rows than metrics"),
        ({"base_rate": 0.0}, "base_rate: not between 0 and 1"),
        ({"base_rate": 0.5}, "base_rate: not that of learned"),
        ({"learned": []}, "learned: not training and validation"),
        ({"learned": [["validation", 2000, 1], ["training", 1000, 1]]}, "learned: not training and validation"),
        ({"learned": [["training", 7, 1], ["validation", 7, 1]]}, "learned: training is of other rows"),
        ({"learned": [["training", 2000, 1], ["validation", 7, 8]]}, "learned: more positives than rows"),
        ({"permutation": []}, "permutation: not of the features"),
        ({"cuts": [0.5]}, "cuts: not 99 ascending probabilities"),
        ({"cuts": [0.9] * 98 + [0.1]}, "cuts: not 99 ascending probabilities"),
        ({"cuts": [1.5] * 99}, "cuts: not 99 ascending probabilities"),
        ({"tuned": [{"settings": {"leaves": 4}, "loss": 0.5}]}, "tuned: the settings did not win"),
        ({"check_scores": [2.0] * 20}, "check_scores: not between 0 and 1"),
        ({"verdict": {"promoted": "yes"}}, "verdict"),
    ],
)
def test_a_spec_that_was_edited_is_refused(model: TrainedModel, changes: dict[str, object], problem: str) -> None:
    text = json.dumps({**json.loads(model.spec.to_json()), **changes})
    with pytest.raises(IntegrityError) as caught:
        ModelSpec.from_json(text)
    assert caught.value.code == "model-spec"
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("field", "changes", "problem"),
    [
        ("metrics", {"positives": 1}, "metrics: counts do not add up"),
        ("baseline", {"positives": 0, "base_rate": 0.0}, "baseline: of other rows than metrics"),
        ("train_metrics", {"rows": 0, "positives": 1}, "metrics: counts do not add up"),
        ("calibration", {"knots": [0.0, 0.5], "values": [0.0]}, "calibration: not ascending"),
        ("calibration", {"knots": [0.5, 0.5], "values": [0.0, 1.0]}, "calibration: not ascending"),
        ("calibration", {"knots": [0.0, 0.5], "values": [0.5, 0.2]}, "calibration: not ascending"),
        ("calibration", {"knots": [0.0, 0.5], "values": [0.0, 1.1]}, "calibration: not ascending"),
        ("calibration", {"slope": -1.0}, "calibration: not ascending"),
        ("calibration", {"method": "isotonic", "knots": [], "values": []}, "calibration: not of its method"),
        ("calibration", {"method": "magic"}, "calibration: not of its method"),
    ],
)
def test_a_part_of_a_spec_that_was_edited_is_refused(
    model: TrainedModel, field: str, changes: dict[str, Any], problem: str
) -> None:
    fields = json.loads(model.spec.to_json())
    fields[field] |= changes
    with pytest.raises(IntegrityError, match=problem):
        ModelSpec.from_json(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", b"\xff"])
def test_what_is_no_spec_is_refused(text: str | bytes) -> None:
    with pytest.raises(IntegrityError, match="damaged"):
        ModelSpec.from_json(text)
