"""What day it is: only to refuse days that have not come, never to compute anything."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from engine.errors import ConfigError


def today(timezone: str) -> date:
    """The day that it is now in a zone."""
    return now().astimezone(ZoneInfo(timezone)).date()


def now() -> datetime:
    """This instant."""
    return datetime.now(UTC)


def refuse_future(days: Sequence[date], timezone: str, *, allowed: bool) -> None:
    """Stop before a run of a day that has not begun: its log cannot be complete, and would be published as if it were.

    Args:
        days: Days of runs. Today itself is fine: it counts what was until midnight.
        timezone: The zone whose midnight cuts the days.
        allowed: Whether it is wanted all the same.

    Raises:
        ConfigError: Days after today.
    """
    current = today(timezone)
    late = sorted(day for day in days if day > current)
    if late and not allowed:
        which = str(late[0]) if len(late) == 1 else f"{len(late)} dates, {late[0]} to {late[-1]},"
        raise ConfigError(
            f"{which} {'is' if len(late) == 1 else 'are'} in the future: it is {current} in {timezone}",
            code="as-of-future",
            hint="Events before the day count, so the latest complete one is today's date; --allow-future runs it.",
        )
