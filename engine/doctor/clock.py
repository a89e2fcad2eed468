"""Time zones, the clock and the encoding of texts."""

from __future__ import annotations

import locale
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final
from zoneinfo import TZPATH, ZoneInfo, ZoneInfoNotFoundError

from engine.doctor.finding import Finding, Subject, failed, ok, warning
from engine.errors import ExitCode

_SKEW_SECONDS: Final = 2.0
_WRONG_SECONDS: Final = 300.0
_DAY: Final = 86_400
_YEARS: Final = (2020, 2030)


def check_time_zones(subject: Subject) -> Iterator[Finding]:
    """Whether the zone of the configuration is known, and cuts days where the engine cuts them."""
    zone = "UTC" if subject.config is None else subject.config.timezone
    try:
        known = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield failed("time_zones", f"time zone {zone!r} is not known here", "pip install tzdata, or correct `timezone`")
        return
    try:
        database = f"tzdata {version('tzdata')}"
    except PackageNotFoundError:
        database = "the system's"
    source = next((path for path in TZPATH if (Path(path) / zone).is_file()), database)
    differing = _first_difference(known, zone)
    if differing:
        yield warning(
            "time_zones",
            f"{zone} in {source} and in Polars differ from {differing} on: one of them lacks a change of law",
            "Update the system's tzdata and Polars",
            zone=zone,
            source=source,
        )
    else:
        yield ok("time_zones", f"{zone} is known ({source})", zone=zone, source=source)


def check_clock(skew_seconds: float) -> Finding:
    """The clock against that of the file system, and against the age of the package itself.

    Args:
        skew_seconds: Time of change of a file that was written just now, less the time of the process.
    """
    measured = {"skew_seconds": round(skew_seconds, 3)}
    fix = "Set the clock, and keep it right with NTP"
    installed = Path(__file__).stat().st_mtime
    now = datetime.fromtimestamp(time.time(), UTC)
    if time.time() < installed - _DAY:
        said = f"the clock says {now:%Y-%m-%d %H:%M} UTC, which is before the package was installed"
        return failed("clock", said, fix, ExitCode.RESOURCES, **measured)
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC, {abs(skew_seconds):.3f} s from that of the output's file system"
    if abs(skew_seconds) > _WRONG_SECONDS:
        return failed("clock", said, fix, ExitCode.RESOURCES, **measured)
    if abs(skew_seconds) > _SKEW_SECONDS:
        return warning("clock", said, fix, **measured)
    return ok("clock", said, **measured)


def check_encoding(subject: Subject) -> Iterator[Finding]:
    """Whether names of files and texts on the terminal are UTF-8."""
    del subject
    files, texts = sys.getfilesystemencoding(), locale.getpreferredencoding(do_setlocale=False)
    shown = sys.stdout.encoding or ""
    said = f"names of files {files}, texts {texts}, terminal {shown or 'none'}"
    measured: dict[str, Any] = {"files": files, "texts": texts, "terminal": shown}
    fix = "LC_ALL=C.UTF-8, or PYTHONUTF8=1"
    plain = {"utf-8", "utf8", ""}
    if files.lower() not in plain:
        yield failed("encoding", f"{said}: files with other letters in their names cannot be found", fix, **measured)
    elif texts.lower() not in plain or shown.lower() not in plain:
        yield warning("encoding", f"{said}: letters outside of it are shown as escapes", fix, **measured)
    else:
        yield ok("encoding", said, **measured)


def _first_difference(zone: ZoneInfo, name: str) -> str:
    """The first hour of some years that is another one in Polars, which brings its own database; empty when none is."""
    import polars as pl

    first, last = datetime(_YEARS[0], 1, 1, tzinfo=UTC), datetime(_YEARS[1], 1, 1, tzinfo=UTC)
    days = [first + timedelta(days=number) for number in range((last - first).days)]
    here = [(day.astimezone(zone).utcoffset() or timedelta()) for day in days]
    instants = pl.Series("instant", days, pl.Datetime("us", "UTC"))
    local = instants.dt.convert_time_zone(name).dt.replace_time_zone(None)
    there = (local - instants.dt.replace_time_zone(None)).to_list()
    return next((f"{day:%Y-%m-%d}" for day, ours, theirs in zip(days, here, there, strict=True) if ours != theirs), "")
