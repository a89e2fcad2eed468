"""Whether a day of the log is complete: its marker files, which whoever writes the log puts there last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from engine.config_schedule import PLACEHOLDER, Schedule
from engine.errors import TransientError
from engine.events.files import text_kind
from engine.remote.address import is_remote
from engine.remote.listing import list_matches
from engine.schedule.pause import Pause

LOOK_SECONDS: Final = 15.0
"""Between two looks at a marker."""
_TELL_SECONDS: Final = 600.0


def marker_paths(schedule: Schedule, as_of: date) -> tuple[str, ...]:
    """The files that tell that everything before `as_of` is there; none when no marker is configured."""
    marker = schedule.marker
    texts = () if marker is None else (marker,) if isinstance(marker, str) else marker
    days = {"as_of": as_of, "day": as_of - timedelta(days=1) if as_of > date.min else as_of}
    return tuple(
        PLACEHOLDER.sub(lambda found: days[found[1]].strftime(found[2]) if found[2] else str(days[found[1]]), text)
        for text in texts
    )


def missing_markers(schedule: Schedule, as_of: date) -> tuple[str, ...]:
    """Those of `marker_paths` that are not there.

    Raises:
        ConfigError: No such bucket, or credentials that may not list it.
        TransientError: An object store does not answer.
    """
    return tuple(path for path in marker_paths(schedule, as_of) if not _is_there(path))


def await_markers(
    schedule: Schedule, as_of: date, *, tell: Callable[[str], None], pause: Pause | None = None
) -> tuple[str, ...]:
    """Wait for the day before `as_of` to be complete, as long as the configuration says.

    Args:
        schedule: Says which files, how long, and what then.
        as_of: The day of the run.
        tell: Given a line to read when the waiting begins, and every ten minutes.
        pause: How time passes; the system's when None.

    Returns:
        Warnings: what was missing when the run was to go on all the same; none when the day is complete.

    Raises:
        TransientError: Markers are missing, and the run is to stop.
        ConfigError: No such bucket, or credentials that may not list it.
    """
    how = pause or Pause()
    limit = schedule.marker_wait_minutes * 60
    started, told = how.clock(), -_TELL_SECONDS
    while missing := missing_markers(schedule, as_of):
        spent = how.clock() - started
        if spent >= limit:
            return _give_up(schedule, as_of, missing)
        if spent - told >= _TELL_SECONDS:
            tell(f"waiting up to {(limit - spent) / 60:.0f} minutes for {_listed(missing)}")
            told = spent
        how.sleep(min(LOOK_SECONDS, limit - spent))
    return ()


def _give_up(schedule: Schedule, as_of: date, missing: Sequence[str]) -> tuple[str, ...]:
    minutes = schedule.marker_wait_minutes
    waited = f" after {minutes:g} minutes" if minutes else ""
    text = f"the log may not be complete as of {as_of}: not there{waited}: {_listed(missing)}"
    if schedule.if_missing == "go_on":
        return (f"{text}; run the date again when it is (`tamis backfill --last N`)",)
    raise TransientError(
        text,
        code="marker-missing",
        hint='Run the same command again later; schedule.if_missing = "go_on" runs with what there is.',
    )


def _is_there(path: str) -> bool:
    if is_remote(path):
        return bool(list_matches(path, text_kind, text=True))
    return Path(path).exists()


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(paths)
