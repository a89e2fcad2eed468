"""The log of a run: events as JSON, one object per line, on stderr or in a file; in a file also as text.

A line has `time` (UTC, RFC 3339), `level`, `event`, `message`, what is known of the run (`attempt`, `command`, `as_of`,
`run_id`), and the fields of the event.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from engine.errors import ConfigError
from engine.history.events import LOGGER

Format = Literal["text", "json"]


@dataclass
class Context:
    """What every line says of the run; `run_id` is known once the input was looked at."""

    fields: dict[str, Any] = field(default_factory=dict)


def json_line(
    moment: datetime, level: str, event: str, message: str, context: Mapping[str, Any], fields: Mapping[str, Any]
) -> str:
    """One line of the log; ASCII, so that no name can disturb a terminal or a collector."""
    known = {
        "time": moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "event": event,
        "message": message,
        **{name: value for name, value in context.items() if value is not None},
    }
    # What a line is cannot be changed by a field of its event; only a run that is named has another id from there on.
    own = {name: value for name, value in fields.items() if name not in known or name == "run_id"}
    return json.dumps({**known, **own}, default=str)


def text_line(moment: datetime, level: str, message: str, attempt: object) -> str:
    """One line of a log for people."""
    shown = f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} {level.upper():7} {attempt} "
    return shown + message.replace("\n", " | ")


class _Lines(logging.Handler):
    """Writes each record as one line; a log that cannot be written never ends a run."""

    def __init__(self, stream: Callable[[], TextIO], form: Format, context: Context, level: int) -> None:
        super().__init__(level)
        self._stream, self._form, self._context = stream, form, context

    def emit(self, record: logging.LogRecord) -> None:
        moment = datetime.fromtimestamp(record.created, UTC)
        level, message = record.levelname.lower(), record.getMessage()
        if self._form == "json":
            event, fields = getattr(record, "event", "message"), getattr(record, "fields", {})
            line = json_line(moment, level, event, message, self._context.fields, fields)
        else:
            line = text_line(moment, level, message, self._context.fields.get("attempt", "-"))
        try:
            stream = self._stream()
            stream.write(f"{line}\n")
            stream.flush()
        except (OSError, ValueError):
            # A full disk or a closed pipe: what is being done counts for more than what is told of it.
            return


@contextmanager
def listening(handler: logging.Handler) -> Iterator[None]:
    """Let a handler hear the events while the block runs."""
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)


@contextmanager
def stderr_log(stream: Callable[[], TextIO], context: Context, *, quiet: bool) -> Iterator[None]:
    """JSON lines on a stream.

    Args:
        stream: Gives the stream, each time that something is written.
        context: What every line says.
        quiet: Warnings and errors only.
    """
    with listening(_Lines(stream, "json", context, logging.WARNING if quiet else logging.INFO)):
        yield


@contextmanager
def file_log(path: Path | None, form: Format, context: Context) -> Iterator[None]:
    """Lines at the end of a file; nothing without one.

    Raises:
        ConfigError: The file cannot be opened.
    """
    if path is None:
        yield
        return
    try:
        # Lines are appended whole: another run may write to the same file.
        handle = path.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(
            f"the log file {path} cannot be written: {error.strerror}",
            code="log-file",
            hint="Name a file in a folder that is there and can be written, with --log-file or watch.log_file.",
        ) from error
    with handle, listening(_Lines(lambda: handle, form, context, logging.INFO)):
        yield
