"""Which models go into a bundle: the new ones, or those of the bundle before where the gate is shut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import Config
from engine.consent.inputs import Inputs
from engine.features.spec import FeatureSpec
from engine.incumbent import incumbent_model
from engine.propensity.train import TrainedModel
from engine.stages.learning_plan import model_schema
from engine.stages.notices import alarms

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Taken:
    """The models of a bundle.

    Attributes:
        models: One per new model, in their order.
        kept: Why the model of the bundle before stays, by target: what the gate said, and the alarms of the new one.
        held: Why a model must not be promoted and has none to stay in its place, by target.
    """

    models: tuple[TrainedModel, ...] = ()
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    held: Mapping[str, Sequence[str]] = field(default_factory=dict)


def taken(
    models: Sequence[TrainedModel],
    config: Config,
    spec: FeatureSpec,
    contacts: Mapping[str, pl.DataType],
    before: Path | None,
    without: Inputs | None = None,
) -> Taken:
    """The new models that passed their gate, and for the others what stays in their place.

    Args:
        models: The new models.
        config: The configuration.
        spec: The features.
        contacts: Name and type of the contact attributes.
        before: Folder of the bundle in use; None when there is none.
        without: Of reduced models, the inputs that they do not read; they are told apart by their names.
    """
    chosen: list[TrainedModel] = []
    kept: dict[str, Sequence[str]] = {}
    held: dict[str, Sequence[str]] = {}
    for model in models:
        target, verdict = model.spec.target, model.spec.verdict
        name = target.name if without is None else f"{target.name} (reduced)"
        if verdict.promoted or config.model.gate == "warn":
            chosen.append(model)
            continue
        available = model_schema(config, spec, contacts)
        old = None if before is None else incumbent_model(before, target, available, spec, without=without)
        chosen.append(model if old is None else old)
        reasons = [line for line in verdict.reasons if line.startswith("no")]
        if old is None:
            held[name] = reasons
        else:
            # The new model and its card are gone: what may be wrong with it is told here or nowhere.
            kept[name] = [*reasons, *alarms([model.spec])]
    return Taken(tuple(chosen), kept, held)
