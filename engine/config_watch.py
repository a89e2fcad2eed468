"""Section `watch` of the configuration: what a run tells to those who are not there."""

from __future__ import annotations

import shlex
from typing import Literal

from pydantic import Field, field_validator

from engine.config_values import Section, Text


class Watch(Section):
    """Logs, metrics, history and messages of runs that nobody is looking at; none of it changes a published byte."""

    log_format: Literal["text", "json"] = "text"
    """`text`: bars and sentences on stderr; `json`: one JSON object per line in their place."""
    log_file: Text | None = None
    """File that the log is appended to, in the same format."""
    metrics_file: Text | None = None
    """File of Prometheus metrics, replaced when a run ends: `*.prom` where node exporter's textfile collector looks."""
    notify_command: Text | None = None
    """Program and arguments, run without a shell on a failure or held publish: JSON on stdin, and TAMIS_* variables."""
    notify_on: Literal["failure", "always"] = "failure"
    """`failure`: also a held publish; `always`: every end of a run."""
    keep_runs: int = Field(1000, ge=1, le=100_000)
    """So many runs stay in the history; the oldest go first."""

    @field_validator("notify_command")
    @classmethod
    def _is_a_command(cls, command: str | None) -> str | None:
        try:
            words = command is None or shlex.split(command)
        except ValueError as error:
            message = f"expected a program and its arguments, got {command!r}: {error}"
            raise ValueError(message) from error
        if not words:
            message = f"expected a program and its arguments, got {command!r}"
            raise ValueError(message)
        return command
