"""What an event function of a rule asks of the events of each user: one column, named after what it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

import polars as pl

from engine.features.spec import slug

MeasureFunction = Literal[
    "event_count",
    "event_amount",
    "event_days",
    "event_decayed",
    "days_since_event",
    "days_since_first_event",
    "first_time",
    "stopped",
    "restarted",
    "regularly",
    "followed_by",
    "not_followed_by",
    "held_for",
]

NEEDS_TIMES: Final = frozenset({"followed_by", "not_followed_by", "held_for"})
"""Functions whose answer depends on the order of events within a day: they read single events, the others days."""


@dataclass(frozen=True)
class EventRef:
    """Events of one type.

    Attributes:
        type: Name of an event type of the log or of a derived one.
        where: SQL condition over the filterable columns of the event, as `engine.events.condition` reads it; None: all.
    """

    type: str
    where: str | None = None


@dataclass(frozen=True)
class Measure:
    """One column per user, from the events before `as_of`.

    Attributes:
        function: What is told:
            `event_count`: events in the window; 0 without (Int64).
            `event_amount`: sum of their amounts in major units; 0 without (Float64).
            `event_days`: different days with such an event in the window; 0 without (Int64).
            `event_decayed`: events in the window, each × 2^(−age ÷ half_life), the last day before as_of being of
            age 0; 0 without (Float64).
            `days_since_event`, `days_since_first_event`: from the day of the last (first) event to as_of; null without
            one (Int64).
            All others are Boolean, never null:
            `first_time`: the first event ever lies in the window.
            `stopped`: at least one event in `[as_of − days, as_of − recent)` and none in `[as_of − recent, as_of)`.
            `restarted`: an event in `[as_of − recent, as_of)`, none in `[as_of − days, as_of − recent)`, one before.
            `regularly`: events in at least `k` of the `periods` periods of `period_days` days that end at as_of.
            `followed_by`: an event of the first kind in the window, and one of the second kind at most `within` days
            (× 24 h) later, before as_of.
            `not_followed_by`: an event of the first kind in the window, and none of the second kind since the last one.
            `held_for`: the last event of the type satisfies the condition of the second kind, and the unbroken run of
            such events began on a day at least `days` days before as_of. (Repeated events of a run change nothing; of
            events at one instant all must satisfy the condition.)
            Events of two kinds at the same instant follow one another; an event does not follow itself, and of one kind
            the follower is strictly later. Where several events are the last ones, one that is followed is enough.
        events: The kind of event, or the first and the second kind.
        days: Length of the window `[as_of − days, as_of − until)` in days; None: the whole history.
        until: Days before as_of at which the window ends.
        recent, within, k, periods, period_days, half_life: See above; 0 where they play no part.
    """

    function: MeasureFunction
    events: tuple[EventRef, ...]
    days: int | None = None
    until: int = 0
    recent: int = 0
    within: int = 0
    k: int = 0
    periods: int = 0
    period_days: int = 0
    half_life: int = 0

    @property
    def name(self) -> str:
        """The column: readable, and different for different measures (eight digits of a hash)."""
        types = "_".join(slug(event.type) for event in self.events)
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        days = "" if self.days is None else f"_{self.days}d"
        return f"{self.function}_{types}{days}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @property
    def dtype(self) -> pl.DataType:
        if self.function in {"event_count", "event_days", "days_since_event", "days_since_first_event"}:
            return pl.Int64()
        return pl.Float64() if self.function in {"event_amount", "event_decayed"} else pl.Boolean()
