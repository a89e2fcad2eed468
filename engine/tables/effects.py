"""The only lines of the engine that change a file system: one system call each, told apart by their names.

`engine.tables.disk` makes durable and well-named operations of them; everything else calls those. A test that replaces
these functions sees every effect of a run in order, and can make each of them fail.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO

from filelock import BaseFileLock, FileLock

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
_NO_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_LINK = {errno.ENOSYS, errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


def mkdir(folder: Path) -> None:
    """Makes a folder in one that is there; one that another process makes at the same time is fine."""
    folder.mkdir(exist_ok=True)


def create(path: Path) -> BinaryIO:
    """A new file, opened for writing; what is written to it is an effect too."""
    return path.open("xb")


def sync_file(handle: BinaryIO) -> None:
    """Returns when what was written to a file is on stable storage; its name may not be."""
    handle.flush()
    if sys.platform == "darwin":
        import fcntl

        # fsync hands the data to the drive and does not wait for it to be kept.
        fcntl.fcntl(handle.fileno(), fcntl.F_FULLFSYNC)
    else:
        os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Returns when the names in a folder are on stable storage."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems have no fsync of a folder: there the rename itself is durable.
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Renames a file or folder; a file at `target` is replaced in the same instant."""
    source.replace(target)


def swap(first: Path, second: Path) -> bool:
    """Two names change places in one instant; `False` when neither the system nor the file system can do that."""
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
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))


def link(source: Path, target: Path) -> bool:
    """Gives a file a second name, which nothing has yet; `False` when the file system has no such thing."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


def chmod(path: Path, mode: int) -> None:
    """Says who may read and write a file or folder."""
    path.chmod(mode)


def touch(path: Path) -> None:
    """Sets the times of a file to now."""
    os.utime(path)


def unlink(path: Path) -> None:
    """Removes the name of a file or of a link."""
    path.unlink()


def rmdir(folder: Path) -> None:
    """Removes a folder that holds nothing."""
    folder.rmdir()


def entries(folder: Path) -> list[tuple[Path, bool]]:
    """What a folder holds, in the order of the names; with each path, whether it is a folder (a link is none)."""
    with os.scandir(folder) as found:
        return sorted((Path(entry.path), entry.is_dir(follow_symlinks=False)) for entry in found)


def lock(path: Path, timeout: float) -> BaseFileLock:
    """Takes the lock on a file, which is made when it is not there; the system gives it back when the process dies.

    Args:
        path: The file.
        timeout: Seconds to wait for another holder; endless when negative.

    Raises:
        filelock.Timeout: Another holds it.
    """
    taken = FileLock(path, timeout=timeout)
    taken.acquire()
    return taken
