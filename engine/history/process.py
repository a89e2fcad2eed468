"""Which process a run is, whether it still lives, and how much memory it took."""

from __future__ import annotations

import os
import resource
import socket
import sys
from pathlib import Path
from typing import Final

_START_FIELD: Final = 19  # starttime, counted from the field behind the name (proc_pid_stat(5))
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


def process_start(pid: int) -> str:
    """What tells a process from a later one of its number: boot of the machine and ticks since; "" where unknown."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return f"{_BOOT.read_text(encoding='ascii').strip()}-{ticks[_START_FIELD]}"
    except (OSError, IndexError):
        return ""


def has_ended(host: str, pid: int, start: str) -> bool | None:
    """Whether a process is gone; None when it is of another machine, of which this one cannot tell.

    Args:
        host, pid: Of the process.
        start: What `process_start` gave for it when it lived.
    """
    if host != socket.gethostname() or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return bool(start) and process_start(pid) != start


def peak_memory() -> int:
    """The largest resident set of this process or of one of its children that ended, in bytes (getrusage(2))."""
    unit = 1 if sys.platform == "darwin" else 1024
    sets = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * max(sets)
