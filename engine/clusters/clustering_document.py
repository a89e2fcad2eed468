"""The form in which a clustering is stored, and the faults that a stored one can have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, ValidationError, model_validator

from engine.clusters.gaussians import Mixture, densities
from engine.errors import IntegrityError

_Positive = Annotated[FiniteFloat, Field(gt=0)]
_Distance = Annotated[FiniteFloat, Field(ge=0)]
_Point = tuple[FiniteFloat, ...]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MixtureDocument(_Stored):
    """The keys of `engine.clusters.gaussians.Mixture`."""

    weights: tuple[_Positive, ...]
    means: tuple[_Point, ...]
    covariances: tuple[_Point, ...]
    kind: Literal["diagonal", "full"]


class ExemplarsDocument(_Stored):
    """The keys of `engine.clusters.exemplars.Exemplars`."""

    points: tuple[Annotated[tuple[_Point, ...], Field(min_length=1)], ...]
    reach: tuple[_Distance, ...]


class ClusteringDocument(BaseModel):
    """The keys of `engine.clusters.assign.Clustering`; other keys are left to whoever wrote them."""

    model_config = ConfigDict(frozen=True)

    preparation: dict[str, object]
    algorithm: Literal["kmeans", "mixture", "ward", "dbscan", "hdbscan"]
    centroids: tuple[_Point, ...] = Field(min_length=1)
    ids: tuple[NonNegativeInt, ...]
    names: tuple[str, ...]
    apart_name: str
    far: _Distance
    next_id: NonNegativeInt
    mixture: MixtureDocument | None
    exemplars: ExemplarsDocument | None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        k, d = len(self.centroids), len(self.centroids[0])
        problems = _lengths("cluster", k, {"ids": self.ids, "names": self.names})
        problems += _lengths("coordinate", d, _numbered("centroids", self.centroids))
        if len(set(self.ids)) < len(self.ids) or any(number >= self.next_id for number in self.ids):
            problems.append(f"expected different ids below next_id ({self.next_id}), got {list(self.ids)}")
        if (self.mixture is not None) != (self.algorithm == "mixture"):
            problems.append(f"expected a mixture for the algorithm 'mixture' alone, which is {self.algorithm!r}")
        if (self.exemplars is not None) != (self.algorithm in {"dbscan", "hdbscan"}):
            problems.append(f"expected exemplars for DBSCAN and HDBSCAN alone, the algorithm is {self.algorithm!r}")
        if self.mixture is not None:
            problems += _mixture_faults(self.mixture, k, d)
        if self.exemplars is not None:
            parts: dict[str, Sequence[object]] = {"exemplars.points": self.exemplars.points}
            problems += _lengths("cluster", k, {**parts, "exemplars.reach": self.exemplars.reach})
            for index, points in enumerate(self.exemplars.points):
                problems += _lengths("coordinate", d, _numbered(f"exemplars.points.{index}", points))
        if problems:
            raise ValueError("; ".join(problems))
        return self


def read_document(document: object) -> ClusteringDocument:
    """A stored clustering whose values fit together; its preparation is still to be read.

    Raises:
        IntegrityError: Keys are missing or of the wrong kind, or do not fit together; all of them are named.
    """
    try:
        return ClusteringDocument.model_validate(document)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc'])) or 'values'}: {item['msg']}" for item in error.errors()]
        raise faulty(problems) from error


def faulty(problems: Sequence[str]) -> IntegrityError:
    """What is raised for a clustering with these faults."""
    return IntegrityError(
        f"the stored clustering has {len(problems)} faults: " + "; ".join(problems),
        code="bundle-clusters",
        hint="Run `tamis fit` again to write a new bundle.",
    )


def _mixture_faults(mixture: MixtureDocument, k: int, d: int) -> list[str]:
    size = d if mixture.kind == "diagonal" else d * (d + 1) // 2
    problems = _lengths(
        "cluster",
        k,
        {
            "mixture.weights": mixture.weights,
            "mixture.means": mixture.means,
            "mixture.covariances": mixture.covariances,
        },
    )
    problems += _lengths("coordinate", d, _numbered("mixture.means", mixture.means))
    problems += _lengths("variance", size, _numbered("mixture.covariances", mixture.covariances))
    if not problems:
        try:
            densities(Mixture(**dict(mixture)))
        except ValueError as error:
            problems.append(f"mixture: {error}")
    return problems


def _numbered(name: str, values: Sequence[Sequence[object]]) -> dict[str, Sequence[object]]:
    return {f"{name}.{index}": value for index, value in enumerate(values)}


def _lengths(what: str, expected: int, vectors: dict[str, Sequence[object]]) -> list[str]:
    wrong = [f"{name} has {len(values)} entries" for name, values in vectors.items() if len(values) != expected]
    return [f"expected one entry per {what} ({expected}); " + ", ".join(wrong)] if wrong else []
