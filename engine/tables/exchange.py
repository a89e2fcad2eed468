"""Two folders change places in one instant.

Linux has `renameat2(2)` with RENAME_EXCHANGE and macOS `renamex_np(2)` with RENAME_SWAP. File systems without either
(some network and FUSE mounts) get three renames: for the time between the first two a reader finds no folder at all.
It never finds a mixture, and `engine.tables.publish.recover` completes the exchange when a run dies in between.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

from engine.tables import disk

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


def exchange(first: Path, second: Path) -> None:
    """What was at `first` is at `second` and the other way round, durably; both must exist on one file system.

    Raises:
        ConfigError: A parent folder cannot be written to.
        OSError: One of the two is missing, or they are on different file systems.
    """
    with disk.storage_errors(second.parent):
        if not _swap(first, second):
            _rename_in_turn(first, second)
    for folder in sorted({first.parent, second.parent}):
        disk.sync_folder(folder)


def _swap(first: Path, second: Path) -> bool:
    """Exchanges atomically; `False` when neither the system nor the file system can."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            status = libc.renamex_np(os.fsencode(first), os.fsencode(second), ctypes.c_uint(_RENAME_SWAP))
        else:
            status = libc.renameat2(
                _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), ctypes.c_uint(_RENAME_EXCHANGE)
            )
    except AttributeError:
        return False
    if status == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))


def _rename_in_turn(first: Path, second: Path) -> None:
    # The folder in between stands beside the staged one: beside the published one, a reader could scan it.
    aside = first.with_name(f"{first.name}.aside")
    disk.rename(second, aside)
    disk.rename(first, second)
    disk.rename(aside, first)
