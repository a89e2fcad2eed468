"""Tell a program of one's own how a run ended."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from engine.history.record import Attempt, attempt_to_json

LIMIT_SECONDS: Final = 30.0


def notify(
    command: str, attempt: Attempt, out: str, environment: Mapping[str, str], *, seconds: float = LIMIT_SECONDS
) -> str | None:
    """Run a program with the record of an attempt on stdin; what it prints is dropped.

    There is no shell: the command is split into words as a shell would, and nothing in them is replaced.

    Args:
        command: The program and its arguments.
        attempt: One that has ended.
        out: The output root.
        environment: Variables that the program gets besides those of the attempt, `TAMIS_*`.
        seconds: How long it may take; it is ended then, with all that it started.

    Returns:
        What went wrong; None when nothing did.
    """
    words = shlex.split(command)
    given = json.dumps({**attempt_to_json(attempt), "out": out}).encode()
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**environment, **variables(attempt, out)},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return f"{words[0]!r} cannot be started: {reason}"
    with process:
        try:
            process.communicate(given, timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process.pid)
            return f"{words[0]!r} took longer than {seconds:g} s and was ended"
        except BaseException:
            _end(process.pid)
            raise
    return None if process.returncode == 0 else f"{words[0]!r} ended with {process.returncode}"


def variables(attempt: Attempt, out: str) -> dict[str, str]:
    """The variables that say how a run ended; all are set, those without a value are empty."""
    error = attempt.error
    known: dict[str, Any] = {
        "ATTEMPT": attempt.attempt,
        "COMMAND": attempt.command,
        "RESULT": attempt.result,
        "EXIT_CODE": attempt.exit_code,
        "ERROR_CODE": None if error is None else error.code,
        "ERROR_MESSAGE": None if error is None else error.message,
        "AS_OF": attempt.as_of,
        "RUN_ID": attempt.run_ids[-1] if attempt.run_ids else None,
        "OUT": out,
        "SECONDS": attempt.seconds,
        "WARNINGS": attempt.warning_count,
    }
    return {f"TAMIS_{name}": "" if value is None else str(value).replace("\0", "") for name, value in known.items()}


def _end(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
