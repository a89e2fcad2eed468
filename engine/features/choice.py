"""From the configuration and the event types of the data to the feature specification of a fit."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config import Config
from engine.errors import ConfigError
from engine.features.catalogue import shared_names
from engine.features.spec import EventType, FeatureSpec, slug
from engine.rollups.packed import MAX_TYPES

_RENAME = 'in the source\'s mapping: event_type = { sql = "CASE WHEN … THEN … END" }.'


def feature_spec(config: Config, types: Sequence[str], priced: frozenset[str]) -> FeatureSpec:
    """The features of a configuration over the event types of the data.

    Args:
        config: The configuration.
        types: Event types to use, in a stable order.
        priced: Those whose events have amounts.

    Raises:
        ConfigError: Too many types, or types that would give two columns one name; all of these are named.
    """
    if len(types) > MAX_TYPES:
        raise ConfigError(
            f"{len(types)} event types, at most {MAX_TYPES} can be used",
            code="event-types-too-many",
            hint="List the ones that matter in events.types.",
        )
    weights = config.engagement.weights
    spec = FeatureSpec(
        types=tuple(EventType(name, slug(name), name in priced) for name in types),
        purchase=config.events.purchase,
        send=config.events.send,
        open=config.events.open,
        click=config.events.click,
        windows=config.features.windows,
        weights=tuple(weights.get(name, 0) if weights else 1 for name in types),
        engagement_days=config.engagement.window_days,
        frequency_unit=config.rfm.frequency_unit,
        timezone=config.timezone,
        currency_digits=config.currency_digits,
    )
    shared = [
        f"  {column!r}: {' and '.join(map(repr, names))}" + (" and another feature" if len(names) == 1 else "")
        for names, column in shared_names(spec).items()
    ]
    if shared:
        raise ConfigError(
            "event types that would give two columns one name\n" + "\n".join(shared),
            code="event-type-names",
            hint=f"Rename one of each {_RENAME}",
        )
    return spec
