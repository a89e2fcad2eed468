"""What a fit may keep of the bundle in use: the model of the same target, customer value of the same settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bundle import load_bundle
from engine.config import Target
from engine.consent.inputs import Inputs
from engine.errors import ConfigError, IntegrityError
from engine.features.catalogue import catalogue
from engine.features.spec import FeatureSpec
from engine.propensity.matrix import dtype_name
from engine.propensity.predict import load_scorer
from engine.propensity.train import TrainedModel
from engine.value.counts import BTYD_COLUMNS
from engine.value.model import ValueModel

if TYPE_CHECKING:
    import polars as pl

# The catalogue shows these feature by feature; any other setting of a specification may change what a feature is.
_BY_FEATURE = {"types", "windows", "weights", "families", "columns"}


def incumbent_model(
    bundle_folder: Path,
    target: Target,
    available: Mapping[str, pl.DataType],
    spec: FeatureSpec,
    *,
    without: Inputs | None = None,
) -> TrainedModel | None:
    """The model of a target in a bundle, when it can score rows of the new features as it scored those of its own.

    Args:
        bundle_folder: Folder of the bundle in use.
        target: The target as it is now, with what its preset gives.
        available: Name and type of the columns that the new model may learn from.
        spec: The new features.
        without: The inputs that the rows have not, of the model of the users who lack a purpose of one.

    Returns:
        None when the bundle has no model of the same target, when one of the model's features is missing now, has
        another type or another definition, and when the bundle is damaged or of another version: a new fit is what
        mends it.
    """
    try:
        bundle = load_bundle(bundle_folder)
        models = bundle.models if without is None else bundle.reduced if bundle.inputs == without else ()
        model = next((model for model in models if model.spec.target == target), None)
        if model is None or not _same_features(model, bundle.spec, spec, available):
            return None
        load_scorer(model.text, model.spec)
    except (ConfigError, IntegrityError):
        return None
    return model


def incumbent_value(bundle_folder: Path, settings_hash: str, spec: FeatureSpec) -> ValueModel | None:
    """Customer value of a bundle, when it means what a new one would.

    Args:
        bundle_folder: Folder of the bundle in use.
        settings_hash: Of the part `value` of the configuration as it is now; see `engine.identity.learning_hashes`.
        spec: The new features.

    Returns:
        None when the bundle has none, when the settings, the currency or what counts as a purchase have changed, and
        when the bundle is damaged or of another version.
    """
    try:
        bundle = load_bundle(bundle_folder)
    except (ConfigError, IntegrityError):
        return None
    same_settings = dict(bundle.learnt_from).get("value") == settings_hash
    return bundle.value if same_settings and same_definitions(BTYD_COLUMNS, bundle.spec, spec) else None


def _same_features(
    model: TrainedModel, then: FeatureSpec, now: FeatureSpec, available: Mapping[str, pl.DataType]
) -> bool:
    wanted = zip(model.spec.features, model.spec.dtypes, strict=True)
    if any(name not in available or dtype_name(available[name]) != dtype for name, dtype in wanted):
        return False
    return same_definitions(model.spec.features, then, now)


def same_definitions(features: Collection[str], then: FeatureSpec, now: FeatureSpec) -> bool:
    """Whether columns are made as they were; attributes of the contacts, which no specification knows, are.

    Args:
        features: Names of the columns.
        then: One specification.
        now: Another one.
    """
    old, new = ({feature.name: feature for feature in catalogue(spec)} for spec in (then, now))
    if any(old.get(name) != new.get(name) for name in features):
        return False
    same_points = "engagement_points" not in features or _weights(then) == _weights(now)
    return same_points and _settings(then) == _settings(now)


def _settings(spec: FeatureSpec) -> dict[str, Any]:
    return {name: value for name, value in asdict(spec).items() if name not in _BY_FEATURE}


def _weights(spec: FeatureSpec) -> dict[str, int]:
    return {name: weight for name, weight in zip(spec.type_names, spec.weights, strict=True) if weight}
