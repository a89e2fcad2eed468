"""Attempts of runs, made by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from engine.history.record import Attempt, Failure, Found, Noted, Tasks, attempt_name

START = datetime(2026, 3, 1, 4, 30, tzinfo=UTC)


def attempt(number: int = 0, **changes: Any) -> Attempt:
    """The attempt that was started `number` minutes after `START`, and took two seconds."""
    started = START + timedelta(minutes=number)
    known: dict[str, Any] = {
        "attempt": attempt_name(started, f"{number:06x}"),
        "command": "run",
        "result": "done",
        "started": started,
        "ended": started + timedelta(seconds=2),
        "seconds": 2.0,
        "host": "elsewhere",
        "pid": 7,
        "as_of": date(2026, 3, 1),
        "run_ids": ("fit-2026-03-01-aa", "score-2026-03-01-bb"),
        "config": "/etc/tamis.toml",
        "config_hash": "c0ffee",
        "input": Found(2, 1000, 12345, "fee1"),
        "counts": {
            "rows": {"read": 1000, "rejected": 10, "kept": 990},
            "users": 80,
            "segments": {"warm": {"users": 66, "mean_spend": 7.5}, 'a "b" \\ c\nd': {"users": 14, "mean_spend": None}},
        },
        "timings": {"read": 0.25, "score": 1.5, "total": 1.9},
        "tasks": Tasks(5, 5, 1),
        "peak_memory_bytes": 1 << 28,
        "warnings": (Noted("stale-log", "the last event is of 2026-01-01"),),
        "warning_count": 1,
        "bundle": "abc123",
        "tables": {"segments": {"rows": 80, "files": 3, "bytes": 4567}},
        "exit_code": 0,
        "versions": {"tamis": "1.2.3", "python": "3.13.1", "polars": "2.1.0"},
    }
    return Attempt(**{**known, **changes})


def failed(number: int = 0, **changes: Any) -> Attempt:
    """One that was refused for its data."""
    error = Failure(3, "reject-share", "too many rows of source 'shop' are rejected", "Look at them.")
    return attempt(
        number, **{"result": "failed", "exit_code": 3, "error": error, "counts": {}, "tables": {}, **changes}
    )
