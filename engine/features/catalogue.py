"""Every feature column: name, type, unit, window and meaning. The order is the order of the published columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from engine.features.spec import EventType, FeatureSpec


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Attributes:
        name: Column name; says the unit and the window.
        dtype: Int64, Float64.
        unit: `count`, `days`, `money` (major units), `ratio`, `points`.
        meaning: What it is, in one sentence.
        window_days: Length of the half-open window that ends at `as_of`; None for the whole history.
    """

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str
    window_days: int | None = None


def _int(name: str, unit: str, meaning: str, window: int | None = None) -> Feature:
    return Feature(name, pl.Int64(), unit, meaning, window)


def _float(name: str, unit: str, meaning: str, window: int | None = None) -> Feature:
    return Feature(name, pl.Float64(), unit, meaning, window)


def catalogue(spec: FeatureSpec) -> tuple[Feature, ...]:
    """All features of a specification."""
    return tuple(feature for family in families(spec).values() for feature in family)


def families(spec: FeatureSpec) -> dict[str, tuple[Feature, ...]]:
    """The features by family, in the order of the catalogue."""
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
    others = {
        feature.name for family, features in families(spec).items() if family != "event types" for feature in features
    }
    shared: dict[tuple[str, ...], str] = {}
    for column, names in owners.items():
        if len(names) > 1 or column in others:
            shared.setdefault(tuple(names), column)
    return shared


def _activity(spec: FeatureSpec) -> Iterator[Feature]:
    yield _int("tenure_days", "days", "Days from the first event's day to as_of.")
    yield _int("days_since_last_event", "days", "Days from the last event's day to as_of.")
    for window in spec.windows:
        yield _int(f"active_days_{window}d", "count", "Days with at least one event.", window)


def _type(event_type: EventType, spec: FeatureSpec) -> Iterator[Feature]:
    slug, name = event_type.slug, event_type.name
    for window in spec.windows:
        yield _int(f"{slug}_count_{window}d", "count", f"Events of type {name}.", window)
    yield _int(f"{slug}_count_total", "count", f"Events of type {name} in the whole history.")
    if event_type.priced:
        for window in spec.windows:
            yield _float(f"{slug}_amount_{window}d", "money", f"Sum of the amounts of {name}.", window)
        yield _float(f"{slug}_amount_total", "money", f"Sum of the amounts of {name} in the whole history.")
    yield _int(f"days_since_{slug}", "days", f"Days from the last {name}'s day to as_of; null when there is none.")


RATES = (
    ("open_rate", "open", "send", "Opens per message sent"),
    ("click_rate", "click", "send", "Clicks per message sent"),
    ("click_to_open_rate", "click", "open", "Clicks per open"),
    ("purchase_rate", "purchase", "send", "Purchases per message sent"),
)
"""Name, role of the numerator, role of the denominator, meaning."""


def _rates(spec: FeatureSpec) -> Iterator[Feature]:
    for name, above, below, meaning in RATES:
        if getattr(spec, above) is not None and getattr(spec, below) is not None:
            for window in spec.windows:
                yield _float(f"{name}_{window}d", "ratio", f"{meaning}; null without any {below}.", window)


def _rfm(spec: FeatureSpec) -> Iterator[Feature]:
    if spec.purchase is None:
        return
    yield _int("rfm_recency_days", "days", "Segmentation RFM: days from the last purchase's day to as_of.")
    counted = "days with a purchase" if spec.frequency_unit == "days" else "purchases"
    yield _int("rfm_frequency", "count", f"Segmentation RFM: {counted}, the first included.")
    yield _float("rfm_monetary", "money", "Segmentation RFM: sum spent.")
    yield _float("rfm_mean_order", "money", "Mean amount per purchase.")
    yield _int("btyd_frequency", "count", "BTYD: days with a purchase after the first such day.")
    yield _int("btyd_recency_days", "days", "BTYD: days from the first purchase day to the last.")
    yield _int("btyd_t_days", "days", "BTYD: days from the first purchase day to the last day before as_of.")
    yield _float("btyd_mean_repeat_spend", "money", "BTYD: mean spend per repeat purchase day; 0 without repeats.")


def _engagement(spec: FeatureSpec) -> Iterator[Feature]:
    yield _int(
        "engagement_points",
        "points",
        f"Weighted count of events in the last {spec.engagement_days} days.",
        spec.engagement_days,
    )
