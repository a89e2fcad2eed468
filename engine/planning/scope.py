"""What decides the tasks of a run beside its data: the columns, targets, segments and models of a configuration."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Final

from engine.bundle import Bundle
from engine.config import Config
from engine.config_segments import PRIMARY
from engine.errors import ConfigError
from engine.features.catalogue import catalogue
from engine.features.choice import ROLES, feature_spec
from engine.features.measures import needs_rows
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from engine.planning.census import Census
from engine.propensity.labels import all_anchors, anchors, split_anchors
from engine.stages.features import wanted_of
from engine.stages.learning_plan import cluster_features, model_features
from engine.stages.schemas import bundle_schema, configured_schema
from engine.stages.segmenting import applied_of, compile_applied

_RFM_SEGMENTS: Final = 8
"""Of the eleven, those that are seldom empty."""
_TAG_SHARE: Final = 0.3


@dataclass(frozen=True)
class Learning:
    """The rows that the model of one target learns from, by the anchor days they are of (days since 1970-01-01)."""

    target: str
    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class Scope:
    """What a configuration asks for.

    Attributes:
        spec: The features.
        columns: Columns of the table `features`.
        score_columns: Columns of the table `scores`.
        model_columns: Columns that models learn from.
        dimensions: Features that clusters are made of.
        anchors: Anchor days that the log has.
        learning: Per target.
        trees: Trees of each model: those of the bundle in use, else as many as the configuration allows.
        segments: Folders of the table `segments` at the most.
        memberships: Segments that a user is in, about.
        single_events: Whether single events are kept in the store, too.
        reads_all: Whether a score needs all rows: totals cannot be brought forward.
        seen_trees: Whether the number of trees is that of a bundle.
    """

    spec: FeatureSpec
    columns: int
    score_columns: int
    model_columns: int
    dimensions: int
    anchors: tuple[int, ...]
    learning: tuple[Learning, ...]
    trees: tuple[int, ...]
    segments: int
    memberships: float
    single_events: bool
    reads_all: bool
    seen_trees: bool


def scope_of(config: Config, census: Census, as_of: date, bundle: Bundle | None) -> Scope:
    """What a configuration asks for, on a log of which not every event type may be known.

    Args:
        config: The configuration.
        census: The log.
        as_of: Day of the run.
        bundle: The bundle in use; None without one.
    """
    spec = bundle.spec if bundle is not None else _spec(config, census)
    measures: tuple[object, ...] = ()
    full = spec
    # A name that cannot be resolved yet is told by the run, which knows every event type.
    with suppress(ConfigError):
        schema = configured_schema(config, spec) if bundle is None else bundle_schema(bundle)
        applied = applied_of(config, spec, census.attributes)
        compiled = compile_applied(applied, schema, as_of)
        full, measures = applied.spec, compiled.measures
    groups = {segment.group for segment in config.segments if not segment.tag}
    tags = sum(segment.tag for segment in config.segments)
    listed = len([segment for segment in config.segments if not segment.tag and segment.group == PRIMARY])
    learning = _learning(config, census, as_of)
    trees = {} if bundle is None else {model.spec.target.name: model.text.count("\nTree=") for model in bundle.models}
    columns = len(catalogue(full)) + len(measures) + len(census.attributes)
    return Scope(
        spec=full,
        columns=columns,
        score_columns=len(configured_schema(config, spec)),
        model_columns=len(model_features(config, spec)),
        dimensions=len(cluster_features(config, spec)),
        anchors=tuple(sorted({day for one in learning for day in (*one.train, *one.valid, *one.test)})),
        learning=learning,
        trees=tuple(trees.get(target.name, config.model.trees) for target in config.targets),
        segments=listed + (_RFM_SEGMENTS if config.segment_fallback == "rfm" else 1),
        memberships=max(1, len(groups)) + tags * _TAG_SHARE + len(config.experiments) + len(config.lifecycle),
        single_events=bool(wanted_of(full, ()).event_types),
        reads_all=bool(full.families) or needs_rows(measures),  # type: ignore[arg-type]
        seen_trees=bool(trees),
    )


def _spec(config: Config, census: Census) -> FeatureSpec:
    types = census.types or ("event",)
    known = {*types, *(entry.name for entry in config.features.events)}
    roles = {role: None for role in ROLES if getattr(config.events, role) not in known}
    likely = config.model_copy(update={"events": config.events.model_copy(update=roles)})
    try:
        return feature_spec(likely, types, census.priced & set(types), census.attributes)
    except ConfigError:
        # Derived types of events that no row has shown yet, or columns made of them.
        plain = likely.features.model_copy(update={"events": (), "families": ()})
        simple = likely.model_copy(
            update={
                "features": plain,
                "segments": (),
                "points": (),
                "clusters": config.clusters.model_copy(update={"features": ()}),
            }
        )
        return feature_spec(simple, types, census.priced & set(types), census.attributes)


def _learning(config: Config, census: Census, as_of: date) -> tuple[Learning, ...]:
    day = day_number(as_of)
    known = {anchor for anchor in all_anchors(config.targets, day, config.model) if anchor > census.first_day}
    learning = []
    for target in config.targets:
        days = [anchor for anchor in anchors(target, day, config.model) if anchor in known]
        if len(days) < 2:
            # The fit will stop and say so; what it would cost with the shortest log that works is told here.
            days = list(anchors(target, day, config.model)[:2])
        split = split_anchors(days, config.model)
        learning.append(Learning(target.name, split.train, split.valid, split.test))
    return tuple(learning)
