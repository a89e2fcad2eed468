"""What happens in a run, said once where it happens, to whoever listens: lines of the log, and the record of the run.

Every function is one record of the logger `tamis` of the standard library, with its event and fields in `extra`.
Without a listener nothing is made of it. No event names a user or holds a value of one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import date
from typing import Any, Final

LOGGER: Final = logging.getLogger("tamis")
# A library that is not listened to is silent; without this, warnings would go to stderr.
LOGGER.addHandler(logging.NullHandler())


def tell(event: str, message: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """One event.

    Args:
        event: Its stable name.
        message: The same for people.
        level: Of the `logging` module.
        fields: JSON-ready values.
    """
    say = LOGGER.error if level >= logging.ERROR else LOGGER.warning if level >= logging.WARNING else LOGGER.info
    say("%s", message, extra={"event": event, "fields": fields})


def is_heard() -> bool:
    """Whether anybody listens; for events whose fields cost something."""
    return LOGGER.isEnabledFor(logging.INFO)


def run_named(run_id: str) -> None:
    """The input was looked at, and the run has its id."""
    tell("run-named", f"run {run_id}", run_id=run_id)


def input_found(*, files: int, rows: int, size: int, fingerprint: str) -> None:
    """The input was found.

    Args:
        files: Files of the sources.
        rows: Rows of them.
        size: Bytes of all input files.
        fingerprint: sha256 of what identifies the input.
    """
    message = f"input: {files:,} files, {rows:,} rows, {size:,} bytes"
    tell("input-found", message, files=files, rows=rows, bytes=size, fingerprint=fingerprint)


def stage_begun(stage: str) -> None:
    """A stage begins."""
    tell("stage-begun", f"stage {stage} begins", stage=stage)


def stage_ended(stage: str, seconds: float) -> None:
    """A stage is done."""
    tell("stage-ended", f"stage {stage} took {seconds:.1f} s", stage=stage, seconds=round(seconds, 3))


def task_retried(stage: str, reason: str) -> None:
    """A task is run again.

    Args:
        stage: What the task is of.
        reason: Why; without values of the data.
    """
    tell("task-retried", f"a task of {stage} is run again: {reason}", level=logging.WARNING, stage=stage, reason=reason)


def guard_held(guard: str, text: str) -> None:
    """A guard holds the publish back."""
    tell("guard-held", f"guard {guard}: {text}", level=logging.WARNING, guard=guard, finding=text)


def warned(message: str) -> None:
    """A warning that the record of the run will have."""
    from engine.history.warning_codes import warning_code

    tell("warning", message, level=logging.WARNING, code=warning_code(message))


def published(run_id: str, as_of: date, tables: Iterable[tuple[str, int, int]]) -> None:
    """The tables of a date were published: name, rows and bytes of each."""
    listed = {name: {"rows": rows, "bytes": size} for name, rows, size in tables}
    tell("published", f"published {len(listed)} tables of {as_of}", run=run_id, day=as_of.isoformat(), tables=listed)
