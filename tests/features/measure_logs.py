from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from engine.features.measure import EventRef, Measure
from engine.features.spec import EventType, FeatureSpec
from engine.features.windows import day_number
from tests.features.specs import spec_of

AMOUNT, CATEGORY = "amount >= 50", "category = 'x'"
DERIVED = EventType("dear", "dear", True, "buy", AMOUNT)
DAY_US = 86_400_000_000


class Happened(NamedTuple):
    """One event; amounts in minor units, times in µs since 1970 UTC."""

    user: int
    type: str
    time: int
    amount: int | None = None
    category: str | None = None


CONDITIONS: dict[str | None, Callable[[Happened], bool]] = {
    None: lambda _: True,
    AMOUNT: lambda event: event.amount is not None and event.amount >= 5_000,
    CATEGORY: lambda event: event.category == "x",
    "category <> 'x' AND amount < 0.57": lambda event: (
        event.category is not None and event.category != "x" and event.amount is not None and event.amount < 57
    ),
}


def spec_with(timezone: str = "UTC") -> FeatureSpec:
    """Types `buy` (with amounts) and `view`, and `dear` for what is bought for at least 50."""
    spec = spec_of(("buy", "view"), ("buy",), purchase="buy", timezone=timezone, columns=("amount", "category"))
    return replace(spec, types=(*spec.types, DERIVED), weights=(1, 1, 0))


def us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def day_of(event: Happened, timezone: str = "UTC") -> int:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=event.time)
    return day_number(moment.astimezone(ZoneInfo(timezone)).date())


def is_of(event: Happened, ref: EventRef) -> bool:
    if ref.type == "dear":
        return event.type == "buy" and CONDITIONS[AMOUNT](event) and CONDITIONS[ref.where](event)
    return event.type == ref.type and CONDITIONS[ref.where](event)


def expected(
    measures: Sequence[Measure], log: Sequence[Happened], as_of: date, timezone: str = "UTC"
) -> dict[int, dict[str, object]]:
    """Every measure of every user with an event before as_of, every event looked at one after the other."""
    today = day_number(as_of)
    past = [event for event in log if day_of(event, timezone) < today]
    users = sorted({event.user for event in past})
    return {
        user: {
            measure.name: told(measure, [event for event in past if event.user == user], today, timezone)
            for measure in measures
        }
        for user in users
    }


def told(  # noqa: C901, PLR0911 - one case per function
    measure: Measure, past: Sequence[Happened], today: int, timezone: str
) -> object:
    refs = measure.events
    mine = [(day_of(event, timezone), event) for event in past if is_of(event, refs[0])]
    start = -(10**9) if measure.days is None else today - measure.days
    inside = [(day, event) for day, event in mine if start <= day < today - measure.until]
    days = [day for day, _ in inside]

    def between(first: int, end: int) -> bool:
        return any(first <= day < end for day, _ in mine)

    match measure.function:
        case "event_count":
            return len(inside)
        case "event_amount":
            return sum(event.amount or 0 for _, event in inside) / 100
        case "event_days":
            return len(set(days))
        case "event_decayed":
            return sum(round(10**6 * 2 ** (-(today - 1 - day) / measure.half_life)) for day in days) / 10**6
        case "days_since_event":
            return today - max(days) if days else None
        case "days_since_first_event":
            return today - min(days) if days else None
        case "first_time":
            return bool(mine) and start <= min(day for day, _ in mine) < today - measure.until
        case "stopped":
            return between(start, today - measure.recent) and not between(today - measure.recent, today)
        case "restarted":
            paused = between(today - measure.recent, today) and not between(start, today - measure.recent)
            return paused and between(-(10**9) - 1, start)
        case "regularly":
            length = measure.period_days
            periods = [between(today - (n + 1) * length, today - n * length) for n in range(measure.periods)]
            return sum(periods) >= measure.k
    others = [event for event in past if is_of(event, refs[1])]
    if measure.function == "held_for":
        return held(measure, [event for _, event in mine], others, today, timezone)
    firsts = [event for _, event in inside]
    if measure.function == "followed_by":
        return any(follows(one, other, refs, measure.within * DAY_US) for one in firsts for other in others)
    last = max((event.time for event in firsts), default=0)
    return bool(firsts) and not any(follows(one, other, refs) for one in firsts if one.time == last for other in others)


def follows(one: Happened, other: Happened, refs: Sequence[EventRef], within: int = 10**18) -> bool:
    gap = other.time - one.time
    same_kind = plain(refs[0]) == plain(refs[1])
    return one is not other and (gap > 0 if same_kind else gap >= 0) and gap <= within


def plain(ref: EventRef) -> EventRef:
    return EventRef("buy", AMOUNT) if ref == EventRef("dear") else ref


def held(measure: Measure, mine: Sequence[Happened], good: Sequence[Happened], today: int, timezone: str) -> bool:
    times = sorted({event.time for event in mine})
    began = None
    for time in times:
        if all(any(event is other for other in good) for event in mine if event.time == time):
            event = next(event for event in mine if event.time == time)
            began = day_of(event, timezone) if began is None else began
        else:
            began = None
    return began is not None and began <= today - (measure.days or 0)


def frame_of(log: Sequence[Happened]) -> pl.DataFrame:
    """The log as a source of its own would have it: amounts in major units, users as text."""
    columns = {
        "user": [f"u{event.user}" for event in log],
        "type": [event.type for event in log],
        "time": [event.time for event in log],
        "amount": [None if event.amount is None else event.amount / 100 for event in log],
        "category": [event.category for event in log],
    }
    dtypes = {"user": pl.String, "type": pl.String, "time": pl.Int64, "amount": pl.Float64, "category": pl.String}
    return pl.DataFrame(columns, schema=dtypes).with_columns(pl.from_epoch("time", "us").dt.replace_time_zone("UTC"))
