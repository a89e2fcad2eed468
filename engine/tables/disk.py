"""What the engine does to a file system: effects that say what failed, and that clean up after themselves.

Every change that a run makes goes through one of these functions (and `engine.tables.exchange`), so that a failure of
the file system has one place to be named in; `engine.tables.effects` is the one to try failures at.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from engine.errors import ConfigError, ConflictError, ResourceError, TamisError, TransientError
from engine.tables import effects

_FULL = {errno.ENOSPC, errno.EDQUOT}
_LIMITS = {errno.EMFILE, errno.ENFILE, errno.EFBIG, errno.ENOMEM}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL}
_UNREACHABLE = {errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN}
_TEMPORARY = ".tmp"
_REMOVE_ATTEMPTS = 5
_COPIED_BYTES = 16 << 20
_PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600
_NAMED: ContextVar[list[Path] | None] = ContextVar("named", default=None)


def storage_error(error: OSError, folder: Path, doing: str = "write in") -> TamisError | None:
    """What a failed effect in `folder` means to a user, or `None` when it is not a failure of storage."""
    reason = error.strerror or str(error)
    message = f"cannot {doing} {folder}: {reason}"
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
def storage_errors(folder: Path, doing: str = "write in") -> Iterator[None]:
    """Turns what the file system refuses in `folder` into an error with a code and a hint.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing, or a limit of the system is reached.
        TransientError: The storage does not answer.
    """
    try:
        yield
    except OSError as error:
        known = storage_error(error, folder, doing)
        if known is None:
            raise
        raise known from error


def make_folder(folder: Path) -> None:
    """Makes `folder` and its parents, each on stable storage; one that is there already is fine."""
    with storage_errors(folder):
        missing = list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
        for path in reversed(missing):
            try:
                effects.mkdir(path)
            except FileNotFoundError as error:
                if not path.parent.exists():
                    raise removed_meanwhile(path.parent) from error
                # Its parent is there, so this is a file system that takes no folders, such as /proc.
                raise ConfigError(
                    f"cannot make the folder {folder}: {error.strerror}",
                    code="out-not-a-folder",
                    hint="choose an output folder on a disk",
                ) from error
            sync_folder(path.parent)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def create_temporary(target: Path) -> tuple[Path, BinaryIO]:
    """A new empty file beside `target`, hidden, under a name that no other attempt has.

    Raises:
        ConflictError: The folder is gone: somebody else removed it.
    """
    path = target.with_name(f".{target.name[:200]}.{secrets.token_hex(6)}{_TEMPORARY}")
    with storage_errors(target.parent):
        try:
            return path, effects.create(path)
        except FileNotFoundError as error:
            raise removed_meanwhile(target.parent) from error


def removed_meanwhile(path: Path) -> ConflictError:
    """The error for what was there a moment ago, and which the run itself did not remove."""
    return ConflictError(
        f"{path} is gone: something else removed it during the run",
        code="out-disturbed",
        hint="run again when nothing else changes the output folder",
    )


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the name `target` in one instant, or none when writing fails; nothing is synced.

    Raises:
        TamisError: The folder cannot be written to. What was at `target` is untouched, and nothing is left behind.
    """
    temporary, handle = create_temporary(target)
    try:
        with storage_errors(target.parent), handle:
            yield handle
        rename(temporary, target)
    except BaseException:
        # The first failure is the one to tell; a file that stays behind is swept by the next run.
        with suppress(TamisError, OSError):
            remove_file(temporary)
        raise


def create_empty(path: Path) -> None:
    """Makes an empty file; one that is there already stays as it is. The name is not synced."""
    with storage_errors(path.parent), suppress(FileExistsError):
        effects.create(path).close()


def is_temporary(name: str) -> bool:
    """Whether `create_temporary` gave this name to a file: a killed attempt leaves one behind."""
    return name.startswith(".") and name.endswith(_TEMPORARY)


def sync_file(handle: BinaryIO, path: Path) -> None:
    """Returns when what was written to `handle` is on stable storage."""
    with storage_errors(path.parent):
        effects.sync_file(handle)


def sync_folder(folder: Path) -> None:
    """Returns when the names in `folder` (not in folders below it) are on stable storage."""
    with storage_errors(folder):
        effects.sync_folder(folder)


def sync_tree(folder: Path) -> None:
    """`sync_folder` for `folder` and every folder below it, the inner ones first."""
    with storage_errors(folder, "list"):
        inner = [path for path, is_folder in effects.entries(folder) if is_folder]
    for path in inner:
        sync_tree(path)
    sync_folder(folder)


def rename(source: Path, target: Path) -> None:
    """Renames a file or folder; a file at `target` is replaced in the same instant."""
    with storage_errors(target.parent):
        effects.rename(source, target)
    named = _NAMED.get()
    if named is not None:
        named.append(target)


def make_private(path: Path) -> None:
    """Lets nobody but the owner read or write a file or folder, for what names people.

    Raises:
        ConfigError: It belongs to somebody else.
    """
    set_mode(path, _PRIVATE_FOLDER if path.is_dir() else _PRIVATE_FILE)


def set_mode(path: Path, mode: int) -> None:
    """Says who may read and write a file or folder.

    Raises:
        ConfigError: It belongs to somebody else.
    """
    with storage_errors(path.parent):
        effects.chmod(path, mode)


def share(source: Path, target: Path) -> None:
    """Gives a file a second name in a folder that is there, or copies it where a file can have but one.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing.
    """
    with storage_errors(target.parent):
        if effects.link(source, target):
            return
    with replacing(target) as copy, source.open("rb") as original:
        while block := original.read(_COPIED_BYTES):
            copy.write(block)
        sync_file(copy, target)


@contextmanager
def noting_names() -> Iterator[list[Path]]:
    """The paths that `rename` gives to files meanwhile, in this thread and in those that run in a copy of its context.

    Whatever is to last gets its name so: what is in the list at the end is what was written.
    """
    named: list[Path] = []
    token = _NAMED.set(named)
    try:
        yield named
    finally:
        _NAMED.reset(token)


def touch(path: Path) -> None:
    """Sets the times of a file to now; what it holds stays as it is.

    Raises:
        FileNotFoundError: There is none.
    """
    with storage_errors(path.parent):
        effects.touch(path)


def remove_file(path: Path) -> None:
    """Removes a file; one that is not there is fine."""
    with storage_errors(path.parent), suppress(FileNotFoundError):
        effects.unlink(path)


def remove_folder(folder: Path) -> None:
    """Removes a folder that holds nothing.

    Raises:
        OSError: It holds something.
    """
    with storage_errors(folder.parent):
        effects.rmdir(folder)


def remove_tree(folder: Path) -> None:
    """Removes a folder with all it holds; one that is not there is fine. What links lead to stays."""
    with storage_errors(folder.parent):
        for left in reversed(range(_REMOVE_ATTEMPTS)):
            try:
                return _remove_tree(folder)
            except OSError as error:
                # A task given up for lost may still write a file there; its folder is then not empty.
                if error.errno != errno.ENOTEMPTY or not left:
                    raise
    return None


def _remove_tree(folder: Path) -> None:
    with suppress(FileNotFoundError):
        for path, is_folder in effects.entries(folder):
            if is_folder:
                _remove_tree(path)
            else:
                with suppress(FileNotFoundError):
                    effects.unlink(path)
        effects.rmdir(folder)


def list_folder(folder: Path) -> list[Path]:
    """What a folder holds, in the order of the names; nothing when there is no such folder."""
    try:
        with storage_errors(folder, "list"):
            return [path for path, _ in effects.entries(folder)]
    except FileNotFoundError:
        return []


def list_files(folder: Path) -> dict[str, int]:
    """Bytes of every file below `folder`, hidden ones too, by relative path; empty when there is no such folder."""
    sizes: dict[str, int] = {}
    waiting = [folder]
    while waiting:
        with storage_errors(folder, "list"), suppress(FileNotFoundError, NotADirectoryError):
            for path, is_folder in effects.entries(waiting.pop()):
                if is_folder:
                    waiting.append(path)
                else:
                    with suppress(FileNotFoundError):
                        sizes[path.relative_to(folder).as_posix()] = path.lstat().st_size
    return dict(sorted(sizes.items()))


@contextmanager
def lock(path: Path, timeout: float = -1) -> Iterator[None]:
    """Holds the lock on a file; the system gives it back when the process dies, however it dies.

    Raises:
        filelock.Timeout: Another holds it for longer than `timeout` seconds; never when that is negative.
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing.
    """
    with storage_errors(path.parent):
        taken = effects.lock(path, timeout)
    try:
        yield
    finally:
        taken.release()
