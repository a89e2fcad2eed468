"""One writer per output root."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from engine.errors import ConflictError
from engine.tables import disk
from engine.tables.durable import durable_json
from engine.tables.layout import work_root


@contextmanager
def writer_lock(out: Path, run_id: str) -> Iterator[None]:
    """Holds the only right to write below `out`; the system takes it back when the process dies, however it dies.

    Raises:
        ConflictError: Another run holds it; the message says which one, where and since when.
        ConfigError: The output folder cannot be written to.
    """
    folder = work_root(out)
    disk.make_folder(folder)
    holder = folder / "holder.json"
    lock = FileLock(folder / "lock", timeout=0)
    try:
        with disk.storage_errors(folder):
            lock.acquire()
    except Timeout:
        message = f"another run is writing to {out}: {_describe(holder)}"
        hint = "wait for it to end, or stop it; two outputs can be written at the same time"
        raise ConflictError(message, code="out-locked", hint=hint) from None
    with ExitStack() as held:
        held.callback(lock.release)
        held.callback(disk.remove_file, holder)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        record = {"host": socket.gethostname(), "pid": os.getpid(), "run_id": run_id, "started": started}
        durable_json(record, holder)
        yield


def _describe(holder: Path) -> str:
    # It is written after the lock is taken, so for a moment it is missing or the one of a run that was killed.
    try:
        record = json.loads(holder.read_bytes())
        return "run {run_id}, process {pid} on {host}, since {started}".format_map(record)
    except (OSError, ValueError, KeyError, TypeError):
        return "it has just started"
