"""One writer per output root, and what happens to one that is a writer no more.

The lock is the system's: it ends with the process. On a network file system it can be lost while the process lives,
because its lease expired when the machine slept or the network broke; the next run then gets it, completes or sweeps
what the first one left, and writes its own name into `holder.json`. Whoever publishes looks there before each step, so
that the first run stops when it wakes up.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import Timeout

from engine.errors import ConflictError
from engine.tables import disk
from engine.tables.durable import durable_json
from engine.tables.layout import work_root

_HINT = "wait for it to end (schedule.overlap does), or stop it; two outputs can be written at the same time"


@contextmanager
def writer_lock(out: Path, run_id: str) -> Iterator[None]:
    """Holds the only right to write below `out`; the system takes it back when the process dies, however it dies.

    Raises:
        ConflictError: Another run holds it; the message says which one, where and since when.
        ConfigError: The output folder cannot be written to.
    """
    folder = work_root(out)
    disk.make_folder(folder)
    with ExitStack() as held:
        try:
            held.enter_context(disk.lock(folder / "lock", timeout=0))
        except Timeout:
            message = f"another run is writing to {out}: {_describe(_holder(out))}"
            raise ConflictError(message, code="out-locked", hint=_HINT) from None
        held.callback(_sign_off, out)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        durable_json({**identity(), "run_id": run_id, "started": started}, _holder_path(out))
        yield


def identity() -> dict[str, str | int]:
    """What tells this process from others: the names of its machine and of itself."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def is_held(out: Path) -> bool:
    """Whether no other process has taken the right to write below `out` since this one got it."""
    holder = _holder(out)
    return holder is None or {name: holder.get(name) for name in identity()} == identity()


def check_held(out: Path) -> None:
    """Stop when another process has taken the right to write below `out`.

    Raises:
        ConflictError: It has; the message says which one, where and since when.
    """
    if not is_held(out):
        raise ConflictError(
            f"this run lost the lock of {out}, and another took over: {_describe(_holder(out))}",
            code="lock-lost",
            hint="nothing more was written; run again when the other has ended, on a file system that keeps its locks",
        )


def present_holder(out: Path) -> Mapping[str, object] | None:
    """What the run that holds the lock of `out` says of itself: `host`, `pid`, `run_id`, `started`.

    None when nobody does, when the run has just begun, or when it is known to have died.
    """
    holder = _holder(out)
    return None if holder is None or _has_ended(holder) else holder


def _holder_path(out: Path) -> Path:
    return work_root(out) / "holder.json"


def _holder(out: Path) -> Mapping[str, object] | None:
    try:
        record = json.loads(_holder_path(out).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _sign_off(out: Path) -> None:
    if is_held(out):
        disk.remove_file(_holder_path(out))


def _describe(holder: Mapping[str, object] | None) -> str:
    # It is written after the lock is taken, so for a moment it is missing, or the one of a run that was killed.
    if holder is None or _has_ended(holder):
        return "it has just started"
    try:
        return "run {run_id}, process {pid} on {host}, since {started}".format_map(dict(holder))
    except KeyError:
        return "it has just started"


def _has_ended(holder: Mapping[str, object]) -> bool:
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
