"""The history under an output root: `<out>/_runs/<attempt>.json`, one small file per attempt of a run.

A file is written when the run starts and replaced when it ends; nothing else changes it. While the run lives it touches
the file now and then, so that other machines can tell it from one that was killed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

from engine.errors import ConfigError, TamisError
from engine.history.process import has_ended
from engine.history.record import Attempt, attempt_from_json, attempt_to_json, is_attempt_name
from engine.suggest import did_you_mean
from engine.tables import disk
from engine.tables.durable import canonical_json, durable_json

TOUCHED_EVERY_SECONDS: Final = 60.0
_SILENT_SECONDS: Final = 600.0
_LEFT_BEHIND_SECONDS: Final = 3600.0
_SUFFIX: Final = ".json"
_BAD: Final = ("held", "failed", "interrupted", "died")


def runs_folder(out: Path) -> Path:
    """Where the records lie."""
    return out / "_runs"


def attempt_path(out: Path, name: str) -> Path:
    """The file of one attempt."""
    return runs_folder(out) / f"{name}{_SUFFIX}"


def write_attempt(out: Path, attempt: Attempt) -> None:
    """Write the record of an attempt, in place of what is there; that of one which ended is on stable storage then.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing.
    """
    path = attempt_path(out, attempt.attempt)
    if attempt.result != "running":
        durable_json(attempt_to_json(attempt), path)
        return
    # A run that begins waits for no disk: when the power fails, its record is the least that is lost.
    disk.make_folder(path.parent)
    with disk.replacing(path) as handle:
        handle.write(canonical_json(attempt_to_json(attempt)).encode())


def touch_attempt(out: Path, name: str) -> None:
    """Say that the run still lives; a record that is gone stays gone."""
    with suppress(TamisError, OSError):
        disk.touch(attempt_path(out, name))


def keep_last(out: Path, keep: int) -> None:
    """Remove all but the last `keep` records, and what killed writes left.

    Raises:
        ResourceError: The disk is failing.
    """
    files = disk.list_folder(runs_folder(out))
    for path in [path for path in files if _is_record(path)][:-keep]:
        disk.remove_file(path)
    for path in files:
        if disk.is_temporary(path.name) and _age_seconds(path) > _LEFT_BEHIND_SECONDS:
            disk.remove_file(path)


def read_attempts(
    out: Path, *, as_of: date | None = None, bad: bool = False, limit: int | None = None
) -> tuple[Attempt, ...]:
    """The attempts of the history, the last one first; files that are no records are passed over.

    Args:
        out: The output root.
        as_of: Only those of one day.
        bad: Only those that ended without a result: held, failed, interrupted or died.
        limit: At most so many.
    """
    found: list[Attempt] = []
    for path in reversed(disk.list_folder(runs_folder(out))):
        if limit is not None and len(found) >= limit:
            break
        attempt = _read(path) if _is_record(path) else None
        if attempt is None or (as_of is not None and attempt.as_of != as_of) or (bad and attempt.result not in _BAD):
            continue
        found.append(attempt)
    return tuple(found)


def find_attempt(out: Path, name: str) -> Attempt:
    """The attempt of a name, or of the start of one; of the id of a run its last one; `latest` is the last of all.

    Raises:
        ConfigError: There is none, or the name is the start of several.
    """
    if name != "latest" and is_attempt_name(name):
        exact = _read(attempt_path(out, name))
        if exact is not None:
            return exact
    attempts = read_attempts(out)
    if name == "latest" and attempts:
        return attempts[0]
    ran = next((attempt for attempt in attempts if name in attempt.run_ids), None)
    if ran is not None:
        return ran
    fitting = [attempt for attempt in attempts if name and attempt.attempt.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    raise _unknown(out, name, attempts, fitting)


def _unknown(out: Path, name: str, attempts: Sequence[Attempt], fitting: Sequence[Attempt]) -> ConfigError:
    if not attempts:
        text, hint = f"no run is recorded under {out}", "Every run leaves a record there; see docs/operations.md."
    elif fitting:
        text = f"{len(fitting)} runs begin with {name!r}: {', '.join(one.attempt for one in fitting[:5])}"
        hint = "Give more of the name."
    else:
        known = did_you_mean(name, [one.attempt for one in attempts])
        text, hint = f"no run {name!r} is recorded under {out}{known}", "See: tamis runs list"
    return ConfigError(text, code="run-unknown", hint=hint)


def _is_record(path: Path) -> bool:
    return path.suffix == _SUFFIX and is_attempt_name(path.stem)


def _read(path: Path) -> Attempt | None:
    try:
        attempt = attempt_from_json(path.read_bytes())
    except OSError:
        return None
    if attempt is None or attempt.result != "running":
        return attempt
    ended = has_ended(attempt.host, attempt.pid, attempt.process)
    if ended is None:
        ended = _age_seconds(path) > _SILENT_SECONDS
    return replace(attempt, result="died") if ended else attempt


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
