"""What a configuration alone says of the event types, before any data is read."""

from __future__ import annotations

from dataclasses import dataclass

from engine.config import Config, Value
from engine.events.machines import machine_type
from engine.features.choice import ROLES, mapped_columns


@dataclass(frozen=True)
class ConfiguredTypes:
    """Event types that a configuration names.

    Attributes:
        names: In the order of `events.types`; else constants of sources, roles, weights and targets.
        priced: Those that are taken to have amounts.
        complete: Whether these are all; if not, the data may have more.
    """

    names: tuple[str, ...]
    priced: frozenset[str]
    complete: bool


def configured_types(config: Config) -> ConfiguredTypes:
    """The event types a configuration names, those that machine opens and clicks would get included.

    Types of a source with a constant event type have amounts when it maps `amount`; in other sources with amounts,
    purchases and refunds are taken to have them.
    """
    events = config.events
    constants = {
        str(source.columns.event_type.value): source.columns.amount is not None
        for source in config.sources
        if isinstance(source.columns.event_type, Value)
    }
    mixed = [source for source in config.sources if not isinstance(source.columns.event_type, Value)]
    derived = {entry.name for entry in config.features.events}
    roles = [name for role in ROLES if (name := getattr(events, role)) is not None]
    targets = [target.event for target in config.targets]
    parents = [entry.event for entry in config.features.events]
    named = events.types or (*constants, *roles, *config.engagement.weights, *targets, *parents)
    names = [name for name in dict.fromkeys(named) if name not in derived]
    by_column = "machine" in mapped_columns(config)
    if by_column or config.machines.open_within_seconds or config.machines.burst_links:
        names += [machine_type(name) for name in (events.open, events.click) if name in names and name is not None]
    priced = {name for name, has_amount in constants.items() if has_amount}
    if any(source.columns.amount is not None for source in mixed):
        priced |= {name for name in (events.purchase, events.refund) if name is not None}
    names = list(dict.fromkeys(names))
    return ConfiguredTypes(tuple(names), frozenset(priced), complete=bool(events.types) or not mixed)
