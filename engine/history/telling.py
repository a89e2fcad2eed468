"""How the end of a run reaches others: metrics, a program of one's own, the last line of the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from engine.config_watch import Watch
from engine.errors import TamisError
from engine.history import events
from engine.history.metrics import write_metrics
from engine.history.notify import LIMIT_SECONDS, notify
from engine.history.record import Attempt, Failure

# Whoever sends SIGTERM waits a few seconds only.
_INTERRUPTED_LIMIT_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Console:
    """What the command line lends: where errors get their exit codes, and where people and programs read.

    Attributes:
        diagnose: Exit code, code, message and hint of whatever was raised.
        warn: Shows a person a sentence.
        stderr: Gives the stream of the log.
    """

    diagnose: Callable[[BaseException], Failure]
    warn: Callable[[str], None]
    stderr: Callable[[], TextIO]


def tell_others(watch: Watch, attempt: Attempt, out: str, environment: Mapping[str, str], console: Console) -> None:
    """Write the metrics of an attempt that ended, and run the program that is to be told of it.

    Args:
        watch: Where the metrics go, what is run, and when.
        attempt: The attempt.
        out: The output root.
        environment: What the program gets besides the variables of the attempt.
        console: Where a failure of this is shown.
    """
    metrics = path_of(watch.metrics_file)
    if metrics is not None:
        attempt_to("the file of metrics", lambda: write_metrics(metrics, attempt), console)
    command = watch.notify_command
    if command is None or (watch.notify_on == "failure" and attempt.result in {"done", "skipped"}):
        return
    seconds = _INTERRUPTED_LIMIT_SECONDS if attempt.result == "interrupted" else LIMIT_SECONDS
    problem = notify(command, attempt, out, environment, seconds=seconds)
    if problem is None:
        events.tell("notified", "the notify command was run")
    else:
        _warn("notify-failed", f"nobody was told how the run ended: {problem}", console)


def tell_end(attempt: Attempt, event: str = "run-ended") -> None:
    """The last line of the log of an attempt."""
    error = attempt.error
    fields: dict[str, Any] = {
        "result": attempt.result,
        "exit_code": attempt.exit_code,
        "seconds": attempt.seconds,
        "users": attempt.counts.get("users"),
        "warnings": attempt.warning_count,
        "peak_memory_bytes": attempt.peak_memory_bytes,
        **({} if error is None else {"code": error.code, "error": error.message, "hint": error.hint}),
        **({} if attempt.stage is None else {"stage": attempt.stage}),
    }
    message = f"{attempt.command} {attempt.result} after {attempt.seconds or 0.0:.1f} s"
    if error is not None:
        message += f": {error.message}"
    good = attempt.result in {"done", "skipped"}
    events.tell(event, message, level=logging.INFO if good else logging.ERROR, **fields)


def attempt_to(what: str, write: Callable[[], None], console: Console) -> None:
    """Write `what`; that it cannot be written is a warning."""
    try:
        write()
    except (TamisError, OSError) as error:
        reason = error.message if isinstance(error, TamisError) else error.strerror or str(error)
        _warn("not-written", f"{what} cannot be written: {reason}", console)


def _warn(code: str, message: str, console: Console) -> None:
    events.tell("watch-failed", message, level=logging.WARNING, code=code)
    console.warn(message)


def path_of(name: str | None) -> Path | None:
    """The path of an option that may not be set."""
    return None if name is None else Path(name)
