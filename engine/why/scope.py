"""The words that the rules of a published date may use: its columns, its segments, its events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from engine.bundle import load_bundle
from engine.config import Config
from engine.features.catalogue import catalogue
from engine.features.choice import feature_spec
from engine.features.configured import configured_types
from engine.features.spec import FeatureSpec
from engine.ledger.previous import features_of, has_ledger
from engine.rules.scope import Scope
from engine.tables.layout import bundles_folder
from engine.why.published import Published

if TYPE_CHECKING:
    import polars as pl

_MEASURE: Final = re.compile(r"_[0-9a-f]{8}")


def spec_of(published: Published, config: Config) -> FeatureSpec:
    """The features of a published date: as its manifest has them, else those of its bundle or of the configuration.

    Raises:
        ConfigError: None of them has any, and the configuration has no features that can be made.
        IntegrityError: The manifest or the bundle is damaged.
    """
    known = features_of(published.manifest) if has_ledger(published.manifest) else None
    if known is not None:
        return known
    bundle = published.manifest.bundle
    folder = None if bundle is None else bundles_folder(published.out) / bundle
    if folder is not None and folder.is_dir():
        return load_bundle(folder).spec
    return configured_spec(config)


def configured_spec(config: Config) -> FeatureSpec:
    """The features that a configuration leads to as far as it names event types itself.

    Raises:
        ConfigError: As `engine.features.choice.feature_spec`.
    """
    types = configured_types(config)
    return feature_spec(config, types.names, types.priced)


def columns_of(published: Published, spec: FeatureSpec) -> dict[str, pl.DataType]:
    """The columns of `features` and `scores` that rules can name: neither those of event functions nor of groups."""
    groups = {segment.definition.group for segment in published.segments}
    known = {feature.name for feature in catalogue(spec)}
    features = {
        name: dtype
        for name, dtype in published.schema("features").items()
        if name in known or not _MEASURE.fullmatch(name[-9:])
    }
    scores = {name: dtype for name, dtype in published.schema("scores").items() if name not in groups}
    return {name: dtype for name, dtype in {**features, **scores}.items() if name != "user_id"}


def scope_of(published: Published, spec: FeatureSpec) -> Scope:
    """What a rule over a published date may say.

    Args:
        published: The date.
        spec: Its features.
    """
    return Scope(
        columns=columns_of(published, spec),
        units={feature.name: feature.unit for feature in catalogue(spec)},
        spec=spec,
        segments=frozenset(segment.name for segment in published.segments),
        as_of=published.as_of,
    )
