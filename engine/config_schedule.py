"""Section `schedule` of the configuration: when runs may begin, and what they do about each other."""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import Field, field_validator

from engine.config_values import Paths, Section

PLACEHOLDER: Final = re.compile(r"\{(day|as_of)(?::([^{}]*))?\}")
"""`{day}`, `{as_of}`, or one with a form as `strftime` has them: `{day:%Y/%m/%d}`."""

_OF_A_DAY: Final = frozenset("aAbBdDeFgGhjmuUVwWxyY")
"""What `strftime` knows of a day; not of its time."""


class Schedule(Section):
    """When a run may begin: what is done already, other runs, days that are not complete; no published byte changes."""

    if_done: Literal["again", "skip"] = "again"
    """`run` of a date that is published already from the same input: `again` publishes the same once more, `skip` says
    so and ends."""
    overlap: Literal["stop", "wait"] = "stop"
    """When another run is writing to `out`: `stop` with exit code 5, or `wait` for it to end."""
    overlap_wait_minutes: float = Field(60, ge=0, le=10_080)
    """How long `wait` waits before it stops with exit code 5."""
    marker: Paths | None = None
    """Files that are there when a day of the log is complete, such as `events/{day}/_SUCCESS` or
    `s3://lake/events/{day:%Y/%m/%d}/_SUCCESS`: `{day}` is the last day that counts, `{as_of}` the day after it."""
    marker_wait_minutes: float = Field(0, ge=0, le=10_080)
    """How long is waited for them before `if_missing` decides."""
    if_missing: Literal["stop", "go_on"] = "stop"
    """Without a marker: `stop` with exit code 75, to be tried again, or `go_on` with a warning."""

    @field_validator("marker")
    @classmethod
    def _names_the_day(cls, marker: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for text in () if marker is None else (marker,) if isinstance(marker, str) else marker:
            rest = PLACEHOLDER.sub("", text)
            if rest == text or re.search(r"[{}*?\[]", rest):
                message = f"expected one file with {{day}} or {{as_of}} in its path, and no wildcard, got {text!r}"
                raise ValueError(message)
            for form in (found[2] for found in PLACEHOLDER.finditer(text) if found[2]):
                # Others stay as they are, or are the same every day: such a file would be waited for in vain.
                parts = re.findall(r"%-?(.?)", form)
                if not _OF_A_DAY.intersection(parts) or not _OF_A_DAY.issuperset(parts):
                    message = f"expected a form of a day such as {{day:%Y/%m/%d}} in {text!r}, got {form!r}"
                    raise ValueError(message)
        return marker
