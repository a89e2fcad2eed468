"""What a column that a rule's event function gave means, in a sentence."""

from __future__ import annotations

from typing import Final

from engine.features.measure import EventRef, Measure, MeasureFunction
from engine.warehouse.texts import Text

_SAYS: Final[dict[MeasureFunction, tuple[str, str]]] = {
    "event_count": ("Events of {first}{window}; 0 without.", "count"),
    "event_amount": ("Sum of the amounts of events of {first}{window}; 0 without.", "money"),
    "event_days": ("Different days with an event of {first}{window}; 0 without.", "days"),
    "event_decayed": (
        "Events of {first}{window}, each halved for every {half_life} days of its age; 0 without.",
        "count",
    ),
    "days_since_event": ("Days from the last event of {first} to as_of; null without one.", "days"),
    "days_since_first_event": ("Days from the first event of {first} to as_of; null without one.", "days"),
    "first_time": ("Whether the first event ever of {first} lies {inside}.", "flag"),
    "stopped": ("Whether events of {first} stopped: some{window}, none in the last {recent} days.", "flag"),
    "restarted": (
        "Whether events of {first} began again: one in the last {recent} days, none in the rest of {days}, one before.",
        "flag",
    ),
    "regularly": (
        "Whether events of {first} are in {k} or more of the last {periods} periods of {period_days} days.",
        "flag",
    ),
    "followed_by": (
        "Whether an event of {first}{window} was followed within {within} days by one of {second}.",
        "flag",
    ),
    "not_followed_by": (
        "Whether there is an event of {first}{window} and none of {second} since the last one.",
        "flag",
    ),
    "held_for": (
        "Whether {second} is what the last event of {first} says, unbroken for at least {days} days.",
        "flag",
    ),
}


def measure_text(measure: Measure) -> Text:
    """Meaning and unit of a measure; see `engine.features.measure.Measure` for what each function tells exactly."""
    says, unit = _SAYS[measure.function]
    second = measure.events[1] if len(measure.events) > 1 else measure.events[0]
    window = _window(measure)
    return Text(
        says.format(
            first=_events(measure.events[0]),
            second=_events(second),
            window=window,
            inside=window.strip() or "in the whole history",
            days=measure.days,
            half_life=measure.half_life,
            recent=measure.recent,
            within=measure.within,
            k=measure.k,
            periods=measure.periods,
            period_days=measure.period_days,
        ),
        unit,
    )


def _events(event: EventRef) -> str:
    return f"type {event.type}" if event.where is None else f"type {event.type} with {event.where}"


def _window(measure: Measure) -> str:
    until = f" up to {measure.until} days before" if measure.until else " before"
    return "" if measure.days is None else f" in the {measure.days} days{until} as_of"
