"""The record of one attempt of a run: what was asked, what was found, what came out, how long it took."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from engine.record import RunRecord

Result = Literal["running", "done", "skipped", "held", "failed", "interrupted", "died"]

SCHEMA_VERSION: Final = 1
MOST_LISTED: Final = 200
"""Warnings, segments and event types that a record names at most: it stays small."""
_NAME: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_PACKAGES: Final = ("tamis", "polars", "lightgbm", "ray")
_COUNTED: Final = ("rows", "events", "users", "segments", "memberships", "ledger", "rejected", "sources", "contacts")


@dataclass(frozen=True)
class Found:
    """The input of a run: files and rows of its sources, bytes of all files, and sha256 of what identifies them."""

    files: int
    rows: int
    bytes: int
    fingerprint: str


@dataclass(frozen=True)
class Failure:
    """How a run failed: the exit code, the code of docs/errors.md, and the headline without values of the data."""

    exit_code: int
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Noted:
    """A warning, or what a guard found."""

    code: str
    message: str
    held: bool = False


@dataclass(frozen=True)
class Tasks:
    """Tasks of all stages: how many there were, ended, and were run again; bytes spilled to disk for want of memory."""

    total: int = 0
    done: int = 0
    retried: int = 0
    spilled: int = 0


@dataclass(frozen=True)
class Attempt:
    """One attempt; grain of the history, key `attempt`.

    Attributes:
        attempt: `<UTC start>-<6 hex digits>`: names sort as the starts do.
        command: `run`, `score`, `fit`, `check`, `backfill` or `features`.
        result: `running` while it does; `died` is told of one whose process is gone and is never written. `held`: a
            guard or gate; `skipped`: there was nothing to do.
        started, ended: UTC.
        seconds: From start to end.
        as_of: First day that is not used; None when every event counts.
        run_ids: The ids of its runs: of the fit and of the scoring.
        host, pid, process: Where it runs; `process` tells it from a later one of the same number.
        executor: `local` or `ray`.
        config: Path of the file; `config_hash` is of its effective values.
        overrides: What replaced values of the file; secrets and users are masked.
        counts: Rows by outcome, events, users, segments and the like, as in the record of the run.
        timings: Seconds per stage.
        stage: The stage in which it failed.
        peak_memory_bytes: Largest resident set of the driver or one of its children (no workers of a cluster).
        bundle: Name of the bundle that was made or used.
        tables: Rows, files and bytes of what was published, by table.
    """

    attempt: str
    command: str
    result: Result
    started: datetime
    host: str
    pid: int
    process: str = ""
    ended: datetime | None = None
    seconds: float | None = None
    as_of: date | None = None
    run_ids: tuple[str, ...] = ()
    executor: str = "local"
    config: str = ""
    config_hash: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    input: Found | None = None
    counts: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    stage: str | None = None
    tasks: Tasks = Tasks()
    peak_memory_bytes: int | None = None
    guards: tuple[Noted, ...] = ()
    warnings: tuple[Noted, ...] = ()
    warning_count: int = 0
    bundle: str | None = None
    tables: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    exit_code: int | None = None
    error: Failure | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


_ATTEMPT = TypeAdapter(Attempt)


def attempt_name(started: datetime, digits: str) -> str:
    """The name of an attempt; `digits` are six hexadecimal ones."""
    return f"{started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digits}"


def is_attempt_name(name: str) -> bool:
    """Whether `attempt_name` may have given the name."""
    return _NAME.fullmatch(name) is not None


def attempt_to_json(attempt: Attempt) -> dict[str, Any]:
    """The record as values that JSON has."""
    values: dict[str, Any] = _ATTEMPT.dump_python(attempt, mode="json")
    return values


def attempt_from_json(text: bytes) -> Attempt | None:
    """The record in `text`; None when it is none, or one of a later version."""
    try:
        known = json.loads(text)
        if not isinstance(known, dict) or known.get("schema_version") != SCHEMA_VERSION:
            return None
        return _ATTEMPT.validate_json(text)
    except (ValidationError, ValueError):
        return None


def with_outcome(attempt: Attempt, record: RunRecord) -> Attempt:
    """The attempt with what its run gave."""
    return replace(
        attempt,
        run_ids=tuple(dict.fromkeys((*attempt.run_ids, record.run_id))),
        counts=_small(record.counts),
        timings={stage: round(seconds, 3) for stage, seconds in record.timings.items()},
        bundle=None if record.bundle is None else record.bundle.rstrip("/").rpartition("/")[2],
        tables={
            name: {"rows": table.rows, "files": table.files, "bytes": table.bytes}
            for name, table in record.tables.items()
        },
    )


def versions() -> dict[str, str]:
    """Versions of the packages that a run's numbers and its fate depend on, and of Python."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    # Each is a search of the whole path of modules, and none changes while a process runs.
    import platform

    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def first_of(noted: Iterable[Noted]) -> tuple[Noted, ...]:
    """As many as a record names."""
    return tuple(noted)[:MOST_LISTED]


def _small(counts: Mapping[str, Any]) -> dict[str, Any]:
    """The counts that are kept; of long lists the first entries, which are the largest."""
    return {name: _first(counts[name]) for name in _COUNTED if name in counts}


def _first(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {str(name): _first(inner) for name, inner in list(value.items())[:MOST_LISTED]}
