"""What is remembered of a propensity model beside its text: enough to check it, apply it and judge it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar, Final, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from engine.config import Model, Target
from engine.errors import IntegrityError
from engine.propensity.calibration import Bin, Calibration
from engine.propensity.codes import CodeTable
from engine.propensity.gates import Verdict
from engine.propensity.intervals import Interval
from engine.propensity.metrics import Metrics

PERCENTILES: Final = 100
"""Equal shares of the users that a score is ranked in; one cut fewer stands between them."""

LEARNED_PARTS: Final = ("training", "validation")


@dataclass(frozen=True)
class Trial:
    """Settings that were tried before the training, and the log loss (nats) that they gave on the validation rows."""

    settings: Model
    loss: float


@dataclass(frozen=True)
class ModelSpec:
    """A trained model without its trees. Equal specs have equal hashes, so a spec can be a key of a cache."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    target: Target
    settings: Model
    """As used: with what was tuned."""
    seed: int
    features: tuple[str, ...]
    """In the order of the model's columns."""
    dtypes: tuple[str, ...]
    """Type of each feature before encoding, as `engine.propensity.matrix.dtype_name` names it."""
    codes: tuple[CodeTable, ...]
    """One table per categorical feature."""
    train_anchors: tuple[date, ...]
    valid_anchors: tuple[date, ...]
    test_anchors: tuple[date, ...]
    apart: Literal["dates", "users"]
    """What keeps validation rows from training rows: later dates, or, in a short log, other users at the same dates."""
    trees: int
    """Boosting rounds kept."""
    sampled: tuple[tuple[str, int, int], ...]
    """Parts of the rows that were too many: the part, its rows before and its rows used."""
    train_metrics: Metrics
    """Of the rows learned from: beside `metrics` it shows how far the model has learned them by heart."""
    metrics: Metrics
    """Out of time: of the test rows, which neither the trees nor the calibration have seen."""
    intervals: tuple[tuple[str, Interval], ...]
    """Bootstrap intervals of figures of `metrics`, by name."""
    baseline: Metrics
    """Of the logistic regression, on the test rows."""
    reliability: tuple[Bin, ...]
    """Mean probability and rate of positives in groups of the test rows."""
    learned: tuple[tuple[str, int, int], ...]
    """Rows that the model has learned from: the part ("training", then "validation"), its rows, its positives."""
    base_rate: float
    """Share of positives of training and validation rows together."""
    calibration: Calibration
    """From the model's raw scores to probabilities."""
    importance: tuple[tuple[str, float], ...]
    """Gain of every feature, summed over its splits; the greatest first."""
    permutation: tuple[tuple[str, float], ...]
    """Loss of AUC on test rows when the values of a feature are shuffled, for every feature; the greatest first."""
    cuts: tuple[float, ...]
    """The 99 scores between the hundredths of the users at the date of the fit; empty until they are known."""
    verdict: Verdict
    """Whether the model may be used, and why not."""
    alarms: tuple[str, ...]
    """What somebody should look at before trusting the model, one sentence each."""
    notes: tuple[str, ...]
    """What is as it should be and yet good to know, one sentence each."""
    tuned: tuple[Trial, ...]
    """The trials that `settings` won; empty without tuning."""
    lightgbm_version: str
    sha256: str
    """Of the model's text."""
    check_rows: tuple[tuple[float | None, ...], ...]
    """Made-up rows of encoded features (null is missing) and what the model predicts for them."""
    check_scores: tuple[float, ...]
    """Before calibration."""

    def __hash__(self) -> int:
        # The settings hold tables, which have no hash.
        return hash((self.sha256, self.target.name, self.seed))

    @property
    def categorical(self) -> tuple[bool, ...]:
        """Whether each feature is categorical."""
        coded = {table.column for table in self.codes}
        return tuple(feature in coded for feature in self.features)

    def to_json(self) -> str:
        """The spec as JSON with one field per line; the same spec gives the same bytes."""
        fields = _adapter().dump_python(self, mode="json")
        if not self.target.purposes:
            # Models of before there were any stay what they were.
            del fields["target"]["purposes"]
        lines = (f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @staticmethod
    def from_json(text: str | bytes) -> ModelSpec:
        """The spec that `to_json` wrote.

        Raises:
            IntegrityError: It is not JSON, has other fields or types, or its parts contradict each other.
        """
        try:
            spec = _adapter().validate_json(text, strict=True)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, entry['loc'])) or 'text'}: {entry['msg']}" for entry in error.errors()]
            raise _damaged(problems) from None
        problems = _contradictions(spec)
        if problems:
            raise _damaged(problems)
        return spec


def text_sha256(model_text: str) -> str:
    """Checksum of a model's text, in hexadecimal."""
    return hashlib.sha256(model_text.encode()).hexdigest()


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[ModelSpec]:
    return TypeAdapter(ModelSpec)


def _contradictions(spec: ModelSpec) -> list[str]:
    coded = [table.column for table in spec.codes]
    levels = [table.values for table in spec.codes]
    measured = (spec.train_metrics, spec.metrics, spec.baseline)
    anchors = (spec.train_anchors, spec.valid_anchors, spec.test_anchors)
    later = [*zip(spec.valid_anchors[-1:], spec.test_anchors[:1], strict=False)]
    if spec.apart == "dates":
        later += zip(spec.train_anchors[-1:], spec.valid_anchors[:1], strict=False)
    horizon = timedelta(days=spec.target.horizon_days)
    monotone = set(spec.settings.monotone)
    rules = {
        "features: empty or repeated": 0 < len(spec.features) == len(set(spec.features)),
        "dtypes: not one per feature": len(spec.dtypes) == len(spec.features),
        "codes: not one table for some of the features": coded == [name for name in spec.features if name in coded],
        "codes: values not ascending": all(list(values) == sorted(set(values)) for values in levels),
        "settings: monotone names no numeric feature": monotone <= set(spec.features) - set(coded),
        "anchors: missing or not ascending": all(days and list(days) == sorted(set(days)) for days in anchors),
        "anchors: label windows overlap": all(first + horizon <= second for first, second in later),
        "trees: not within the settings": 1 <= spec.trees <= spec.settings.trees,
        "sampled: more rows used than there were": all(0 <= used <= rows for _, rows, used in spec.sampled),
        "metrics: counts do not add up": all(_adds_up(metrics) for metrics in measured),
        "baseline: of other rows than metrics": _counts(spec.baseline) == _counts(spec.metrics),
        "intervals: named twice or upside down": _ordered(spec.intervals),
        "reliability: of other rows than metrics": sum(part.rows for part in spec.reliability) == spec.metrics.rows,
        "learned: not training and validation": tuple(part for part, _, _ in spec.learned) == LEARNED_PARTS,
        "learned: training is of other rows than train_metrics": spec.learned[:1]
        == (("training", *_counts(spec.train_metrics)),),
        "learned: more positives than rows": all(0 <= positives <= rows for _, rows, positives in spec.learned),
        "base_rate: not between 0 and 1": 0 < spec.base_rate < 1,
        "base_rate: not that of learned": spec.base_rate == _rate(spec.learned),
        "calibration: not ascending": _ascends(spec.calibration),
        "calibration: not of its method": _of_its_method(spec.calibration),
        "importance: not of the features": sorted(name for name, _ in spec.importance) == sorted(spec.features),
        "permutation: not of the features": sorted(name for name, _ in spec.permutation) == sorted(spec.features),
        "cuts: not 99 ascending probabilities": _cuts(spec.cuts),
        "tuned: the settings did not win": not spec.tuned or spec.settings == best_trial(spec.tuned).settings,
        "check_rows: not one value per feature": all(len(row) == len(spec.features) for row in spec.check_rows),
        "check_scores: not one per check row": 0 < len(spec.check_rows) == len(spec.check_scores),
        "check_scores: not between 0 and 1": all(0 <= score <= 1 for score in spec.check_scores),
    }
    return [problem for problem, holds in rules.items() if not holds]


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The trial of the least loss, the first of equals."""
    return min(trials, key=lambda trial: trial.loss)


def _counts(metrics: Metrics) -> tuple[int, int]:
    return metrics.rows, metrics.positives


def _rate(learned: tuple[tuple[str, int, int], ...]) -> float:
    return sum(positives for _, _, positives in learned) / max(sum(rows for _, rows, _ in learned), 1)


def _adds_up(metrics: Metrics) -> bool:
    return 0 <= metrics.positives <= metrics.rows and metrics.base_rate == metrics.positives / max(metrics.rows, 1)


def _ordered(intervals: tuple[tuple[str, Interval], ...]) -> bool:
    names = [name for name, _ in intervals]
    return len(names) == len(set(names)) and all(interval.low <= interval.high for _, interval in intervals)


def _ascends(calibration: Calibration) -> bool:
    knots, values = calibration.knots, calibration.values
    steps = all(one < next_ for one, next_ in pairwise(knots)) and all(one <= next_ for one, next_ in pairwise(values))
    return len(knots) == len(values) and steps and all(0 <= value <= 1 for value in values) and calibration.slope >= 0


def _of_its_method(calibration: Calibration) -> bool:
    knots = len(calibration.knots)
    return knots >= 2 if calibration.method == "isotonic" else knots == 0 and calibration.method in {"platt", "none"}


def _cuts(cuts: tuple[float, ...]) -> bool:
    return len(cuts) in (0, PERCENTILES - 1) and list(cuts) == sorted(cuts) and all(0 <= cut <= 1 for cut in cuts)


def _damaged(problems: list[str]) -> IntegrityError:
    message = "the description of a propensity model is damaged:\n" + "\n".join(f"  - {line}" for line in problems)
    return IntegrityError(
        message, code="model-spec", hint="restore the bundle from a copy, or make a new one with `tamis fit`"
    )
