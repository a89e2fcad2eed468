"""The columns that the rules of a configuration could ask for: they decide which features are computed."""

from __future__ import annotations

from collections.abc import Iterator

from engine.config import Config
from engine.rules.read import identifiers


def asked_columns(config: Config) -> frozenset[str]:
    """Names (NFC) in all rules and numbers of a configuration, without any check.

    Those of segments, experiments, point cards, lifecycle groups and of the populations of targets. A name that stands
    there is not always a column: what is none is told when the rules are read.
    """
    return frozenset().union(*(identifiers(text) for text in _texts(config) if text is not None))


def _texts(config: Config) -> Iterator[str | None]:
    # They make segments and cards from the configuration, and their modules use what chooses features.
    from engine.points.cards import resolved_cards
    from engine.segments.lifecycle import lifecycle_definitions

    for segment in config.segments:
        yield segment.where
    for experiment in config.experiments:
        yield experiment.where
    for target in config.targets:
        yield target.population
    for entry in config.lifecycle:
        for definition in lifecycle_definitions(entry, config):
            yield definition.where
    for card in resolved_cards(config):
        for rule in card.rules:
            if rule.event is None:
                yield rule.where
                yield rule.value
