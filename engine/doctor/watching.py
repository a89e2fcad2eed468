"""Whether a run can tell of itself: its log, its metrics, and the program that is run when it fails."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.doctor.finding import Finding, Subject, failed, ok, warning

_COLLECTED: Final = ".prom"


def check_watch(subject: Subject) -> Iterator[Finding]:
    """What `[watch]` names is there; nothing without any of it.

    A run that fails is a bad moment to learn that nobody is told of it.
    """
    watch = None if subject.config is None else subject.config.watch
    if watch is None:
        return
    if watch.log_file is not None:
        yield _log(Path(watch.log_file))
    if watch.metrics_file is not None:
        yield _metrics(Path(watch.metrics_file))
    if watch.notify_command is not None:
        yield _command(watch.notify_command, subject.surroundings.environment.get("PATH"))


def _log(file: Path) -> Finding:
    problem = _unwritable(file)
    if problem:
        return failed("log_file", f"{problem}: no run begins", "Make it, or change watch.log_file", path=str(file))
    return ok("log_file", f"{file} can be written", path=str(file))


def _metrics(file: Path) -> Finding:
    # It is replaced by a file that is written beside it.
    problem = _unwritable(file.parent / "tamis-doctor")
    if problem:
        fix = "Make it, or change watch.metrics_file"
        return warning("metrics_file", f"{problem}: runs leave no metrics", fix, path=str(file))
    if file.suffix != _COLLECTED:
        said = f"{file} can be written, and node exporter reads files that end in {_COLLECTED}"
        return warning("metrics_file", said, f"Name it {file.with_suffix(_COLLECTED)}", path=str(file))
    return ok("metrics_file", f"{file} can be written", path=str(file))


def _command(command: str, path: str | None) -> Finding:
    # Of the command nothing but the program is told: arguments may hold addresses and tokens.
    program = shlex.split(command)[0]
    found = _program(program, path or os.defpath)
    if found is None:
        said = f"there is no program {program!r} that this user may run: nobody is told when a run fails"
        return warning("notify_command", said, "Install it, or correct watch.notify_command", program=program)
    return ok("notify_command", f"{found} is run when a run fails", program=str(found))


def _program(name: str, path: str) -> Path | None:
    """The file that is run by this name, as the system looks for it."""
    places = [Path(name)] if os.sep in name else [Path(folder) / name for folder in path.split(os.pathsep)]
    return next((file for file in places if file.is_file() and os.access(file, os.X_OK)), None)


def _unwritable(file: Path) -> str:
    """Why a file cannot be written; empty when it can."""
    if file.exists():
        return "" if os.access(file, os.W_OK) and not file.is_dir() else f"{file} cannot be written"
    if not file.parent.is_dir():
        return f"there is no folder {file.parent}"
    return "" if os.access(file.parent, os.W_OK | os.X_OK) else f"{file.parent} cannot be written to"
