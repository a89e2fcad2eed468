"""From the configuration and the event types of the data to the feature specification of a fit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from engine.config import Config
from engine.errors import ConfigError
from engine.events.condition import condition
from engine.events.machines import machine_type
from engine.events.schema import FIELDS
from engine.features.catalogue import shared_names
from engine.features.registry import FAMILIES, NEEDS, enabled, family_columns
from engine.features.spec import EventType, FeatureSpec, slug
from engine.rollups.packed import MAX_TYPES
from engine.rules.asked import asked_columns
from engine.suggest import did_you_mean

ROLES: Final = (
    "purchase",
    "send",
    "open",
    "click",
    "reply",
    "bounce",
    "unsubscribe",
    "complaint",
    "page_view",
    "cart_add",
    "cart_remove",
    "refund",
    "coupon",
    "comment",
    "share",
)
"""Parts that an event type can play, as they stand in `[events]` and in `FeatureSpec`."""

_RENAME = 'in the source\'s mapping: event_type = { sql = "CASE WHEN … THEN … END" }'


def feature_spec(
    config: Config, types: Sequence[str], priced: frozenset[str], attributes: Collection[str] = ()
) -> FeatureSpec:
    """The features of a configuration over the event types of the data.

    Args:
        config: The configuration.
        types: Event types to use, in a stable order; those that are derived come behind them by themselves.
        priced: Those whose events have amounts.
        attributes: Names of the contact attributes: a rule that names one asks for no family.

    Raises:
        ConfigError: Too many types; derived types that cannot be made; families that do not exist or have no column;
            types that would give two columns one name. All problems of one kind are named.
    """
    kinds = (*(EventType(name, slug(name), name in priced) for name in types), *_derived(config, types, priced))
    if len(kinds) > MAX_TYPES:
        raise ConfigError(
            f"{len(kinds)} event types, at most {MAX_TYPES} can be used",
            code="event-types-too-many",
            hint="List the ones that matter in events.types.",
        )
    engagement = config.engagement
    names = {kind.name for kind in kinds}
    spec = FeatureSpec(
        types=kinds,
        **{role: getattr(config.events, role) for role in ROLES},
        windows=config.features.windows,
        weights=tuple(_weight(kind, engagement.weights, names) for kind in kinds),
        engagement_days=engagement.window_days,
        frequency_unit=config.rfm.frequency_unit,
        timezone=config.timezone,
        currency_digits=config.currency_digits,
        columns=mapped_columns(config),
        session_gap_minutes=config.features.session_gap_minutes,
        last_pages=config.features.last_pages,
        reactivated_after_days=config.features.reactivated_after_days,
        half_life_days=engagement.half_life_days,
        full_open_rate=engagement.full_open_rate,
        full_click_rate=engagement.full_click_rate,
        full_purchases=engagement.full_purchases,
        full_amount_minor=None
        if engagement.full_amount is None
        else engagement.full_amount * 10**config.currency_digits,
        account=None if config.accounts is None else config.accounts.column,
    )
    spec = replace(spec, families=_families(config, spec, attributes))
    shared = [
        f"  {column!r}: {' and '.join(map(repr, names))}" + (" and another feature" if len(names) == 1 else "")
        for names, column in shared_names(spec).items()
    ]
    if shared:
        raise ConfigError(
            "event types that would give two columns one name\n" + "\n".join(shared),
            code="event-type-names",
            hint=f"Rename one of each {_RENAME}, or a derived one in features.events.",
        )
    return spec


def mapped_columns(config: Config) -> tuple[str, ...]:
    """The canonical columns that some source maps, in the order of the schema."""
    return tuple(
        field.name
        for field in FIELDS
        if any(getattr(source.columns, field.name, None) is not None for source in config.sources)
    )


def _weight(kind: EventType, weights: dict[str, int], names: set[str]) -> int:
    if weights:
        return weights.get(kind.name, 0)
    # An event counts once: as what the log calls it, and as what a person did.
    return 0 if kind.of is not None or kind.name in {machine_type(name) for name in names} else 1


def _derived(config: Config, types: Sequence[str], priced: frozenset[str]) -> tuple[EventType, ...]:
    derived: list[EventType] = []
    problems: list[str] = []
    for entry in config.features.events:
        if entry.event not in types:
            problems.append(f"  {entry.name!r}: no event type {entry.event!r}{did_you_mean(entry.event, types)}")
        if entry.name in types or entry.name in {kind.name for kind in derived}:
            problems.append(f"  {entry.name!r}: there is an event type of this name already")
        try:
            condition(entry.where, f"features.events.{entry.name}.where")
        except ConfigError as error:
            problems.append(f"  {error.message}\n    {error.hint}")
        derived.append(EventType(entry.name, slug(entry.name), entry.event in priced, entry.event, entry.where))
    if problems:
        raise ConfigError(
            "event types in features.events that cannot be made\n" + "\n".join(problems),
            code="feature-event",
            hint="Each has a name of its own, the event type it is taken from, and a condition over its columns.",
        )
    return tuple(derived)


def _families(config: Config, spec: FeatureSpec, attributes: Collection[str]) -> tuple[str, ...]:
    """The families that are asked for, by name or by one of their columns, in the order of the registry."""
    asked = config.features.families
    known = [family.name for family in FAMILIES]
    unknown = [f"  {name!r}{did_you_mean(name, known)}" for name in asked if name not in known]
    if unknown:
        raise ConfigError(
            "features.families names families that do not exist\n" + "\n".join(unknown),
            code="feature-family-unknown",
            hint=f"Families: {', '.join(known)}. Core features are always there, those of accounts with [accounts].",
        )
    columns = family_columns(spec)
    listed = set(attributes) | set(() if config.contacts is None else config.contacts.columns)
    named = {*config.clusters.features, *asked_columns(config)}
    wanted = {*asked, *(columns[name] for name in named - listed if name in columns)}
    spec = replace(spec, families=tuple(name for name in known if name in wanted))
    empty = [f"  {family.name!r} needs {NEEDS[family.name]}" for family in enabled(spec) if not family.features(spec)]
    if empty:
        raise ConfigError(
            "features.families names families without a column in this configuration\n" + "\n".join(empty),
            code="feature-family-empty",
            hint="Name the event type in [events] or map the column in [sources.columns], or leave the family out.",
        )
    return spec.families
