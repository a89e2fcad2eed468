"""Which dates a back-fill is about: from a first day up to one that is left out, every day, week or month."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Literal

from engine.errors import ConfigError
from engine.features.windows import EPOCH

Step = Literal["day", "week", "month"]
_SHOWN = 5


def dates_between(start: date, end: date, every: Step = "day") -> tuple[date, ...]:
    """The dates from `start` on, as long as they are before `end`: `[start, end)`.

    Months keep the day of the month of `start`; where a month has no such day, its last one stands for it.

    Raises:
        ConfigError: There are none.
    """
    if start >= end:
        raise ConfigError(
            f"expected a first day before the end, got {start} to {end}",
            code="backfill-range",
            hint="--from is the first date, --to the first that is left out: 2026-01-01 to 2027-01-01 is a year.",
        )
    step = {"day": timedelta(days=1), "week": timedelta(weeks=1)}.get(every)
    stepped = _months(start, end) if step is None else _steps(start, end, step)
    return tuple(stepped)


def _steps(start: date, end: date, step: timedelta) -> Iterator[date]:
    day = start
    while day < end:
        yield day
        if date.max - day < step:
            return
        day += step


def _months(start: date, end: date) -> Iterator[date]:
    year, month = start.year, start.month
    while year <= date.max.year:
        day = date(year, month, min(start.day, monthrange(year, month)[1]))
        if day >= end:
            return
        yield day
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def last_days(count: int, end: date, every: Step = "day") -> tuple[date, ...]:
    """The dates of the last `count` days before `end`, of which each `every` is taken.

    Raises:
        ConfigError: There are none.
    """
    return dates_between(end - timedelta(days=min(count, (end - date.min).days)), end, every)


def without_early(dates: Sequence[date], span: tuple[int, int] | None) -> tuple[date, ...]:
    """The dates that have an event before them; all of them when none has, or the log has no events at all.

    Args:
        dates: First days that are not used, one per run.
        span: First and last day with an event (days since 1970-01-01); None without any.
    """
    if span is None:
        return tuple(dates)
    first = EPOCH + timedelta(days=span[0])
    return tuple(day for day in dates if day > first) or tuple(dates)


def check_dates(dates: Sequence[date], span: tuple[int, int] | None, tolerance: int) -> None:
    """Stop when the log has nothing to tell about some of the dates.

    Args:
        dates: First days that are not used, one per run.
        span: First and last day with an event (days since 1970-01-01); None without any.
        tolerance: How many days without an event may lie at the end of the log before a date.

    Raises:
        ConfigError: Dates before the first event or after the log ends, all at once.
    """
    if span is None:
        raise ConfigError(
            "the log has no events: there is no date that could be filled",
            code="backfill-outside-log",
            hint="`tamis check` counts what becomes of its rows.",
        )
    first, last = (EPOCH + timedelta(days=day) for day in span)
    early = [day for day in dates if day <= first]
    late = [day for day in dates if (day - last).days > max(tolerance, 1)]
    problems = [
        *([f"  {_some(early)}: the first event is of {first}, so the first date is {_next(first)}"] if early else []),
        *([f"  {_some(late)}: the last event is of {last}, so the last date is {_next(last)}"] if late else []),
    ]
    if problems:
        raise ConfigError(
            "\n".join([f"the log has no events for {len(early) + len(late)} of {len(dates)} dates", *problems]),
            code="backfill-outside-log",
            hint="Nothing was run. Leave these dates out, or wait for their events.",
        )


def _next(day: date) -> date:
    return day + timedelta(days=1) if day < date.max else day


def _some(days: Sequence[date]) -> str:
    more = f" and {len(days) - _SHOWN} more" if len(days) > _SHOWN else ""
    return ", ".join(map(str, days[:_SHOWN])) + more
