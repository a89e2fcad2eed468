"""The form in which a preparation is stored, and the faults that a stored one can have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from engine.errors import IntegrityError

_Pair = tuple[FiniteFloat, FiniteFloat]
_Table = tuple[tuple[FiniteFloat, ...], ...]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReductionDocument(_Stored):
    """The keys of `engine.clusters.reduce.Reduction`."""

    kind: Literal["pca", "factor"]
    centre: tuple[FiniteFloat, ...]
    weights: _Table
    loadings: _Table
    explained: tuple[FiniteFloat, ...] = Field(min_length=1)
    kept: FiniteFloat

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _same_length(len(self.centre), "feature", {"weights": self.weights, "loadings": self.loadings})
        rows = {f"weights.{index}": row for index, row in enumerate(self.weights)}
        rows |= {f"loadings.{index}": row for index, row in enumerate(self.loadings)}
        _same_length(len(self.explained), "component", rows)
        return self


class PreparationDocument(_Stored):
    """The keys of `engine.clusters.prepare.Preparation`."""

    features: tuple[str, ...] = Field(min_length=1)
    transform: Literal["log1p", "none"]
    scaling: Literal["z_score", "min_max", "robust", "none"]
    outliers: Literal["keep", "clip", "apart"]
    fill: tuple[FiniteFloat, ...]
    edges: tuple[_Pair | None, ...]
    limits: tuple[_Pair | None, ...]
    centre: tuple[FiniteFloat, ...]
    scale: tuple[Annotated[FiniteFloat, Field(gt=0)], ...]
    reduction: ReductionDocument | None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        vectors: dict[str, Sequence[object]] = {
            name: getattr(self, name) for name in ("fill", "edges", "limits", "centre", "scale")
        }
        if self.reduction is not None:
            vectors["reduction.centre"] = self.reduction.centre
        _same_length(len(self.features), "feature", vectors)
        for name in ("edges", "limits"):
            for index, pair in enumerate(getattr(self, name)):
                if pair is not None and pair[0] > pair[1]:
                    message = f"{name}.{index}: expected the lower value first, got {list(pair)}"
                    raise ValueError(message)
        return self


def read_document(document: object) -> PreparationDocument:
    """A stored preparation whose values fit together.

    Raises:
        IntegrityError: Keys are missing, unknown or of the wrong kind, or do not fit together; all of them are named.
    """
    try:
        return PreparationDocument.model_validate(document)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc'])) or 'lists'}: {item['msg']}" for item in error.errors()]
        raise IntegrityError(
            f"the stored preparation of the clusters has {len(problems)} faults: " + "; ".join(problems),
            code="bundle-clusters",
            hint="Run `tamis fit` again to write a new bundle.",
        ) from error


def _same_length(expected: int, what: str, vectors: Mapping[str, Sequence[object]]) -> None:
    wrong = [f"{name} has {len(values)} entries" for name, values in vectors.items() if len(values) != expected]
    if wrong:
        message = f"expected one entry per {what} ({expected}); " + ", ".join(wrong)
        raise ValueError(message)
