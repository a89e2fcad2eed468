"""The families of features beside the core ones, in the order of their columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.features import (
    cadence,
    cart,
    funnel,
    hours,
    items,
    lifecycle,
    orders,
    points,
    seasonality,
    sessions,
    social,
    trend,
    type_days,
    value,
)
from engine.features.feature import Family
from engine.features.spec import FeatureSpec

FAMILIES: Final[tuple[Family, ...]] = (
    funnel.FAMILY,
    lifecycle.FAMILY,
    cadence.FAMILY,
    type_days.FAMILY,
    trend.FAMILY,
    seasonality.FAMILY,
    value.FAMILY,
    orders.FAMILY,
    items.FAMILY,
    cart.FAMILY,
    sessions.FAMILY,
    hours.FAMILY,
    social.FAMILY,
    points.FAMILY,
)

NEEDS: Final = {
    "funnel": "an event type for one of the e-mail roles of [events], such as events.send",
    "lifecycle": "nothing",
    "cadence": "an event type for events.purchase",
    "type_days": "nothing",
    "trend": "nothing",
    "seasonality": "nothing; events.purchase for what is of purchases",
    "value": "an event type with amounts for events.purchase; events.refund for what is net",
    "orders": "an event type with amounts for events.purchase, and event_id in [sources.columns]",
    "items": "an event type for events.purchase, and item_id, category, quantity or promotion in [sources.columns]",
    "cart": "an event type for events.cart_add",
    "sessions": "an event type for events.page_view",
    "hours": "nothing",
    "social": "an event type for events.comment or events.share",
    "engagement_forms": "events.purchase, events.send with events.open, or engagement.half_life_days",
}
"""What a configuration must have for a family to have columns."""


def family_named(name: str) -> Family:
    """The family of a name in `FeatureSpec.families`.

    Raises:
        KeyError: There is none.
    """
    return {family.name: family for family in FAMILIES}[name]


def enabled(spec: FeatureSpec) -> Iterator[Family]:
    """The families of a specification, in the order of their columns."""
    return (family for family in FAMILIES if family.name in spec.families)


def family_columns(spec: FeatureSpec) -> dict[str, str]:
    """Every column that the roles and columns of `spec` allow, with its family, whether it is enabled or not."""
    return {feature.name: family.name for family in FAMILIES for feature in family.features(spec)}
