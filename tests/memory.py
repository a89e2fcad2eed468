"""Folders in memory: what tests write by the thousand, and what they sync, costs little there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108
ENOUGH_BYTES = 256 << 20


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder that is gone afterwards; on a disk where the system has no place in memory, or a small one."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH_BYTES
    with tempfile.TemporaryDirectory(dir=MEMORY if roomy else None) as made:
        yield Path(made)
