"""What is remembered of a propensity model beside its text: enough to check it, apply it and judge it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from engine.config import Model, Target
from engine.errors import IntegrityError
from engine.propensity.codes import CodeTable
from engine.propensity.metrics import Metrics


@dataclass(frozen=True)
class ModelSpec:
    """A trained model without its trees. Every value is plain and hashable, so a spec can be a key of a cache."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    target: Target
    settings: Model
    seed: int
    features: tuple[str, ...]
    """In the order of the model's columns."""
    dtypes: tuple[str, ...]
    """Type of each feature before encoding, as `engine.propensity.matrix.dtype_name` names it."""
    codes: tuple[CodeTable, ...]
    """One table per categorical feature."""
    train_anchors: tuple[date, ...]
    valid_anchors: tuple[date, ...]
    train_metrics: Metrics
    metrics: Metrics
    """Out of time: of the rows of `valid_anchors`, which the model has not learned from."""
    importance: tuple[tuple[str, float], ...]
    """Gain of every feature, summed over its splits; the greatest first."""
    lightgbm_version: str
    sha256: str
    """Of the model's text."""
    check_rows: tuple[tuple[float | None, ...], ...]
    """Made-up rows of encoded features (null is missing) and what the model predicts for them."""
    check_scores: tuple[float, ...]

    @property
    def categorical(self) -> tuple[bool, ...]:
        """Whether each feature is categorical."""
        coded = {table.column for table in self.codes}
        return tuple(feature in coded for feature in self.features)

    def to_json(self) -> str:
        """The spec as JSON with one field per line; the same spec gives the same bytes."""
        fields = _adapter().dump_python(self, mode="json")
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
    rules = {
        "features: empty or repeated": 0 < len(spec.features) == len(set(spec.features)),
        "dtypes: not one per feature": len(spec.dtypes) == len(spec.features),
        "codes: not one table for some of the features": coded == [name for name in spec.features if name in coded],
        "codes: values not ascending": all(list(values) == sorted(set(values)) for values in levels),
        "importance: not of the features": sorted(name for name, _ in spec.importance) == sorted(spec.features),
        "check_rows: not one value per feature": all(len(row) == len(spec.features) for row in spec.check_rows),
        "check_scores: not one per check row": 0 < len(spec.check_rows) == len(spec.check_scores),
    }
    return [problem for problem, holds in rules.items() if not holds]


def _damaged(problems: list[str]) -> IntegrityError:
    message = "the description of a propensity model is damaged:\n" + "\n".join(f"  - {line}" for line in problems)
    return IntegrityError(
        message, code="model-spec", hint="restore the bundle from a copy, or make a new one with `tamis fit`"
    )
