"""Every feature column: name, type, unit, window and meaning. The order is the order of the published columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from engine.features.accounts import ACCOUNT_FAMILY, account_features
from engine.features.columns import integer, real
from engine.features.feature import Feature
from engine.features.registry import enabled

if TYPE_CHECKING:
    from engine.features.spec import EventType, FeatureSpec


def catalogue(spec: FeatureSpec) -> tuple[Feature, ...]:
    """All features of a specification: the core ones, those of its families, then those of accounts."""
    return tuple(feature for family in families(spec).values() for feature in family)


def user_catalogue(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The features that are made of the events of one user: all but those of accounts."""
    return tuple(feature for name, family in families(spec).items() if name != ACCOUNT_FAMILY for feature in family)


def core_catalogue(spec: FeatureSpec) -> tuple[Feature, ...]:
    """The features that every specification has: what `build_features` computes."""
    return tuple(feature for family in _core(spec).values() for feature in family)


def families(spec: FeatureSpec) -> dict[str, tuple[Feature, ...]]:
    """The features by family, in the order of the catalogue."""
    accounts = {} if spec.account is None else {ACCOUNT_FAMILY: account_features(spec)}
    return {**_core(spec), **{family.name: family.features(spec) for family in enabled(spec)}, **accounts}


def _core(spec: FeatureSpec) -> dict[str, tuple[Feature, ...]]:
    return {
        "activity": tuple(_activity(spec)),
        "event types": tuple(feature for event_type in spec.types for feature in _type(event_type, spec)),
        "rates": tuple(_rates(spec)),
        "recency, frequency, monetary value": tuple(_rfm(spec)),
        "engagement": tuple(_engagement(spec)),
    }


def shared_names(spec: FeatureSpec) -> dict[tuple[str, ...], str]:
    """Event types that have a column in common with each other, or one type with what is not of one type.

    Returns:
        Names of event types (one when the other column is of all types), and the first column they share.
    """
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for event_type in spec.types:
        for feature in _type(event_type, spec):
            owners[feature.name].append(event_type.name)
    others = {name for family, found in families(spec).items() if family != "event types" for name in _names(found)}
    shared: dict[tuple[str, ...], str] = {}
    for column, names in owners.items():
        if len(names) > 1 or column in others:
            shared.setdefault(tuple(names), column)
    return shared


def _names(features: Iterable[Feature]) -> Iterator[str]:
    return (feature.name for feature in features)


def _activity(spec: FeatureSpec) -> Iterator[Feature]:
    yield integer(spec, "tenure_days", "days", "Days from the first event's day to as_of.", ())
    yield integer(spec, "days_since_last_event", "days", "Days from the last event's day to as_of.", ())
    for window in spec.windows:
        name, meaning = f"active_days_{window}d", "Days with at least one event."
        yield integer(spec, name, "count", meaning, (), window=window, absent=0)


def _type(event_type: EventType, spec: FeatureSpec) -> Iterator[Feature]:
    slug, name, types = event_type.slug, event_type.name, (event_type.name,)
    of = (
        f"Events of type {name}" if event_type.of is None else f"Events of type {event_type.of} with {event_type.where}"
    )
    for window in spec.windows:
        yield integer(spec, f"{slug}_count_{window}d", "count", f"{of}.", types, window=window, absent=0)
    yield integer(spec, f"{slug}_count_total", "count", f"{of} in the whole history.", types, absent=0)
    if event_type.priced:
        meaning = f"Sum of the amounts of {name}"
        for window in spec.windows:
            yield real(spec, f"{slug}_amount_{window}d", "money", f"{meaning}.", types, window=window, absent=0)
        yield real(spec, f"{slug}_amount_total", "money", f"{meaning} in the whole history.", types, absent=0)
    meaning = f"Days from the last {name}'s day to as_of; null when there is none."
    yield integer(spec, f"days_since_{slug}", "days", meaning, types)


RATES = (
    ("open_rate", "open", "send", "Opens per message sent"),
    ("click_rate", "click", "send", "Clicks per message sent"),
    ("click_to_open_rate", "click", "open", "Clicks per open"),
    ("purchase_rate", "purchase", "send", "Purchases per message sent"),
)
"""Name, role of the numerator, role of the denominator, meaning."""


def _rates(spec: FeatureSpec) -> Iterator[Feature]:
    for name, above, below, meaning in RATES:
        types = (getattr(spec, above), getattr(spec, below))
        for window in spec.windows if None not in types else ():
            text = f"{meaning}; null without any {below}."
            yield real(spec, f"{name}_{window}d", "ratio", text, types, window=window, counted=types[:1])


def _rfm(spec: FeatureSpec) -> Iterator[Feature]:
    if spec.purchase is None:
        return
    counted = "days with a purchase" if spec.frequency_unit == "days" else "purchases"
    for name, unit, meaning in (
        ("rfm_recency_days", "days", "Segmentation RFM: days from the last purchase's day to as_of."),
        ("rfm_frequency", "count", f"Segmentation RFM: {counted}, the first included."),
        ("rfm_monetary", "money", "Segmentation RFM: sum spent."),
        ("rfm_mean_order", "money", "Mean amount per purchase."),
        ("btyd_frequency", "count", "BTYD: days with a purchase after the first such day."),
        ("btyd_recency_days", "days", "BTYD: days from the first purchase day to the last."),
        ("btyd_t_days", "days", "BTYD: days from the first purchase day to the last day before as_of."),
        ("btyd_mean_repeat_spend", "money", "BTYD: mean spend per repeat purchase day; 0 without repeats."),
    ):
        yield (real if unit == "money" else integer)(spec, name, unit, meaning, (spec.purchase,))


def _engagement(spec: FeatureSpec) -> Iterator[Feature]:
    days = spec.engagement_days
    meaning = f"Weighted count of events in the last {days} days."
    types = tuple(name for name, weight in zip(spec.type_names, spec.weights, strict=True) if weight)
    yield integer(spec, "engagement_points", "points", meaning, types, window=days, absent=0)
