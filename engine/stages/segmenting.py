"""What the configuration applies to the scores of every user, without a fit: event functions, score cards, segments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from engine.config import Config
from engine.config_segments import PRIMARY
from engine.contacts.personal import personal_columns
from engine.features.catalogue import catalogue
from engine.features.choice import feature_spec
from engine.features.measure import Measure
from engine.features.registry import FAMILIES
from engine.features.spec import FeatureSpec
from engine.points.cards import Card, CompiledCards, card_columns, compile_cards, resolved_cards
from engine.rules.scope import Scope
from engine.segments.definition import Definition
from engine.segments.definitions import definitions
from engine.segments.figures import kpi_window
from engine.segments.plan import SegmentPlan, plan_segments
from engine.stages.schemas import rule_schema


@dataclass(frozen=True)
class Applied:
    """Score cards and segments of a configuration, for the tasks of a run.

    Attributes:
        spec: The features that are computed: those of the bundle, and families that rules and cards name.
        attributes: Contact attributes with their types.
        cards: The score cards.
        definitions: The segments.
        window: Window of the key figures in days.
        told: Contact attributes whose values may stand in tables of figures.
    """

    spec: FeatureSpec
    attributes: tuple[tuple[str, pl.DataType], ...]
    cards: tuple[Card, ...]
    definitions: tuple[Definition, ...]
    window: int
    told: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Compiled:
    """`Applied`, its rules read and checked.

    Attributes:
        cards: The score cards.
        plan: The segments.
        measures: Event functions of both that are no column of the catalogue.
    """

    cards: CompiledCards
    plan: SegmentPlan
    measures: tuple[Measure, ...]


def applied_of(config: Config, spec: FeatureSpec, contacts: Mapping[str, pl.DataType]) -> Applied:
    """What a configuration applies to scores.

    Args:
        config: The configuration.
        spec: The features of the bundle, or of the fit to come.
        contacts: Contact attributes with their types.

    Raises:
        ConfigError: Cards or segments that cannot be made.
    """
    full, personal = spec_with_rules(config, spec, contacts), personal_columns(config)
    return Applied(
        spec=full,
        attributes=tuple(contacts.items()),
        cards=resolved_cards(config),
        definitions=definitions(config),
        window=kpi_window(config),
        told=tuple(name for name in contacts if name not in personal),
    )


def spec_with_rules(config: Config, spec: FeatureSpec, contacts: Mapping[str, pl.DataType]) -> FeatureSpec:
    """The features with the families that rules and cards name: a new rule needs no new fit."""
    priced = frozenset(kind.name for kind in spec.types if kind.priced)
    plain = tuple(kind.name for kind in spec.types if kind.of is None)
    asked = feature_spec(config, plain, priced, contacts).families
    both = {*spec.families, *asked}
    return replace(spec, families=tuple(family.name for family in FAMILIES if family.name in both))


def compile_applied(applied: Applied, scores: Mapping[str, pl.DataType], as_of: date | None = None) -> Compiled:
    """Read and check all rules.

    Args:
        applied: Cards and segments.
        scores: Score columns of the bundle with their types.
        as_of: Day of the run; None when rules are only checked.

    Raises:
        ConfigError: All problems of the cards, or of the segments.
    """
    columns = rule_schema(applied.spec, scores, dict(applied.attributes))
    units = {feature.name: feature.unit for feature in catalogue(applied.spec)}
    scope = Scope(columns=columns, units=units, spec=applied.spec, as_of=as_of)
    cards = compile_cards(applied.cards, scope)
    plan = plan_segments(applied.definitions, replace(scope, columns={**columns, **card_columns(applied.cards)}))
    return Compiled(cards, plan, tuple(dict.fromkeys((*cards.measures, *plan.measures))))


def published_scores(applied: Applied, plan: SegmentPlan, scores: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Columns of the table `scores` beside `user_id`: of the bundle, of the cards, and one per group of segments."""
    groups = {group: pl.String() for group in plan.groups if group != PRIMARY}
    return {**scores, **card_columns(applied.cards), **groups}


def segments_hash(listed: Sequence[Definition]) -> str:
    """What the segments are, for the identity of a run: a list's file may change where the configuration does not."""
    text = json.dumps([(one.name, one.version) for one in listed])
    return hashlib.sha256(text.encode()).hexdigest()[:10]
