"""The few effects on a file system that durable writes and publishing are made of.

Every change that `engine.tables` makes goes through one of these functions (and `engine.tables.exchange`), so that a
failure of the file system has one place to be named in, and one place to be tried at.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from engine.errors import ConfigError, ResourceError, TamisError, TransientError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_LIMITS = {errno.EMFILE, errno.ENFILE, errno.EFBIG, errno.ENOMEM}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL}
_UNREACHABLE = {errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN}
_TEMPORARY = ".tmp"
_REMOVE_ATTEMPTS = 5


def storage_error(error: OSError, folder: Path) -> TamisError | None:
    """What a failed write in `folder` means to a user, or `None` when it is not a failure of storage."""
    reason = error.strerror or str(error)
    message = f"cannot write in {folder}: {reason}"
    number = error.errno
    if number in _FULL:
        return ResourceError(message, code="disk-full", hint="free some space there or choose another output folder")
    if number in _LIMITS:
        return ResourceError(message, code="system-limit", hint="raise the limit (see `ulimit -a`) and run again")
    if number == errno.EIO:
        return ResourceError(message, code="disk-failed", hint="check the disk, then run again")
    if number in _DENIED:
        hint = "choose another output folder, or let this user write there"
        return ConfigError(message, code="out-not-writable", hint=hint)
    if number in _NO_FOLDER:
        return ConfigError(
            message, code="out-not-a-folder", hint="the output must be a folder with room for file names"
        )
    if number in _UNREACHABLE:
        return TransientError(message, code="storage-unreachable", hint="run again when the storage can be reached")
    return None


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turns what the file system refuses in `folder` into an error with a code and a hint.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing, or a limit of the system is reached.
        TransientError: The storage does not answer.
    """
    try:
        yield
    except OSError as error:
        known = storage_error(error, folder)
        if known is None:
            raise
        raise known from error


def make_folder(folder: Path) -> None:
    """Makes `folder` and its parents, each on stable storage; one that is there already is fine."""
    with storage_errors(folder):
        missing = list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:
            # The parents were just made, so this is a file system that takes no folders, such as /proc.
            raise ConfigError(
                f"cannot make the folder {folder}: {error.strerror}",
                code="out-not-a-folder",
                hint="choose an output folder on a disk",
            ) from error
    for made in reversed(missing):
        sync_folder(made.parent)


def create_temporary(target: Path) -> tuple[Path, BinaryIO]:
    """A new empty file beside `target`, hidden, under a name that no other attempt has."""
    path = target.with_name(f".{target.name[:200]}.{secrets.token_hex(6)}{_TEMPORARY}")
    with storage_errors(target.parent):
        return path, path.open("xb")


def is_temporary(name: str) -> bool:
    """Whether `create_temporary` gave this name to a file: a killed attempt leaves one behind."""
    return name.startswith(".") and name.endswith(_TEMPORARY)


def sync_file(handle: BinaryIO, path: Path) -> None:
    """Returns when what was written to `handle` is on stable storage."""
    with storage_errors(path.parent):
        handle.flush()
        if sys.platform == "darwin":
            import fcntl

            # fsync hands the data to the drive and does not wait for it to be kept.
            fcntl.fcntl(handle.fileno(), fcntl.F_FULLFSYNC)
        else:
            os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Returns when the names in `folder` (not in folders below it) are on stable storage."""
    with storage_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network and FUSE file systems have no fsync of a folder: there the rename itself is durable.
            if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}:
                raise
        finally:
            os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Renames a file or folder; a file at `target` is replaced in the same instant."""
    with storage_errors(target.parent):
        source.replace(target)


def remove_file(path: Path) -> None:
    """Removes a file; one that is not there is fine."""
    with storage_errors(path.parent):
        path.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Removes a folder with all it holds; one that is not there is fine."""
    with storage_errors(folder.parent):
        for left in reversed(range(_REMOVE_ATTEMPTS)):
            try:
                return shutil.rmtree(folder)
            except FileNotFoundError:
                if not folder.exists():
                    return None
            except OSError as error:
                # A task given up for lost may still write a file there; its folder is then not empty.
                if error.errno != errno.ENOTEMPTY or not left:
                    raise
    return None


def list_files(folder: Path) -> dict[str, int]:
    """Bytes of every file below `folder`, hidden ones too, by relative path; empty when there is no such folder."""
    sizes = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            with suppress(FileNotFoundError):
                sizes[path.relative_to(folder).as_posix()] = path.lstat().st_size
    return dict(sorted(sizes.items()))
