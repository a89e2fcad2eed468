from __future__ import annotations

from collections.abc import Collection, Sequence

from engine.features.spec import EventType, FeatureSpec


def spec_of(
    names: Sequence[str] = ("purchase",), priced: Collection[str] = ("purchase",), **changes: object
) -> FeatureSpec:
    """A specification without roles but `purchase`."""
    values: dict[str, object] = {
        "types": tuple(EventType(name, name, name in priced) for name in names),
        "purchase": "purchase" if "purchase" in names else None,
        "send": None,
        "open": None,
        "click": None,
        "windows": (7, 30),
        "weights": (1,) * len(names),
        "engagement_days": 30,
        "frequency_unit": "orders",
        "timezone": "UTC",
        "currency_digits": 2,
    }
    return FeatureSpec(**{**values, **changes})  # type: ignore[arg-type]
