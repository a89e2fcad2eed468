"""What the sections about models and clusters have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.reporting.message import Argument, Message, Name, Quantity, say

if TYPE_CHECKING:
    from engine.clusters.record import Clustered
    from engine.propensity.spec import ModelSpec
    from engine.reporting.facts import Facts

MOST_MODELS: Final = 6
"""Models that have figures of their own: a page of more would be read by nobody."""

MOST_ROWS: Final = 15
"""Features of a figure: the first so many."""


def specs(facts: Facts) -> tuple[ModelSpec, ...]:
    """The models of the bundle that scored, in the order of the configuration."""
    return () if facts.bundle is None else tuple(model.spec for model in facts.bundle.models)


def clusters(facts: Facts) -> Clustered | None:
    """The clusters of the bundle that scored; None when there are none."""
    return None if facts.bundle is None else facts.bundle.clusters


def missing(facts: Facts, otherwise: Message) -> Message:
    """Why nothing is known of what a fit learnt; `otherwise` when the bundle is there and has no such part."""
    if facts.bundle is not None:
        return otherwise
    if facts.bundle_id is None:
        return say("learnt.no_bundle")
    return say("learnt.bundle_gone", bundle=Name(Path(facts.bundle_id).name))


def number(value: float | None) -> Quantity:
    """A figure without a unit."""
    return Quantity(value, "number")


def share(value: float | None) -> Quantity:
    """A share, as percent."""
    return Quantity(value, "share")


def people(count: int, min_cell: int) -> Argument:
    """A number of people; of a few no more than that they are few."""
    return say("learnt.few", few=min_cell) if 0 < count < min_cell else Quantity(count)


def listed(names: list[str], vocabulary: str = "") -> tuple[Message, ...]:
    """Names as an enumeration, between quotation marks when they are of several words."""
    key = "learnt.quoted" if vocabulary else "learnt.name"
    return tuple(say(key, name=Name(name, vocabulary)) for name in names)
