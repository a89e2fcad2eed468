"""Fetch files of object stores to a local folder, whole, for as long as they are read.

    <cache>/files/<name>                  whole files, at most `CACHE_BYTES`: those not used for longest go first
    <cache>/use/<host>-<pid>-<…>/<name>   a reader's own link to one of them, gone when the reader is done

A reader that has its link does not care when the file is taken out of the cache, so no reader waits for another one,
in this process or in others. Nothing here is durable: what is missing is fetched again.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from engine.errors import IntegrityError, TamisError
from engine.remote.address import RemoteFile, is_remote
from engine.remote.retries import IncompleteAnswerError, retrying
from engine.remote.stores import open_store
from engine.tables import disk

CACHE_NAME: Final = "_remote"
"""The folder below an output root."""
CACHE_BYTES: Final = 4 << 30
"""Bytes of files that are kept for the next reader; files being read come on top."""
CHUNK_BYTES: Final = 16 << 20
"""Bytes per request."""
_SIDE_BY_SIDE: Final = 8
_ABANDONED_SECONDS: Final = 86_400
_MARKS: Final = (0x5A, 0xA5)
_NANOSECONDS: Final = 1_000_000_000


def cache_folder(out: Path) -> Path:
    """Where files of object stores are kept while they are needed."""
    return out / CACHE_NAME


@contextmanager
def fetched(files: Sequence[RemoteFile], cache: Path | None = None) -> Iterator[list[Path]]:
    """Local copies of files, whole and with the times of change of the originals; they are gone afterwards.

    Args:
        files: As they were listed.
        cache: Folder for the copies, shared with other readers; one of its own among the system's temporary folders
            when None.

    Raises:
        ConfigError: Credentials that may not read them.
        IntegrityError: A file that was replaced or removed since it was listed.
        ResourceError: The disk is full.
        TransientError: The store does not answer, or with too little each time.
    """
    if cache is None:
        with TemporaryDirectory() as folder, fetched(files, Path(folder)) as paths:
            yield paths
        return
    own = cache / "use" / f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(6)}"
    with disk.storage_errors(cache):
        own.mkdir(parents=True, exist_ok=True)
    try:
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            waiting = {file: pool.submit(_take, file, cache, own) for file in dict.fromkeys(files)}
            try:
                paths = [waiting[file].result() for file in files]
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        yield paths
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def at_hand(file: str, stamp: tuple[int, int] | None, cache: str) -> Iterator[str]:
    """The path to read a file at: its own, or for an address that of a local copy, as long as the context lasts.

    Args:
        file: A path or an address.
        stamp: Size and time of change of what stands behind an address.
        cache: As for `fetched`; the system's temporary folder when empty.

    Raises:
        TamisError: As `fetched`.
    """
    if stamp is None or not is_remote(file):
        yield file
        return
    with fetched([RemoteFile(file, *stamp)], Path(cache) if cache else None) as [path]:
        yield str(path)


@contextmanager
def fetched_as(files: Sequence[Path | RemoteFile], cache: Path | None = None) -> Iterator[list[Path]]:
    """As `fetched`, of files that may be local already; errors inside name the addresses and not the copies.

    Raises:
        TamisError: As `fetched`.
    """
    remote = [file for file in files if isinstance(file, RemoteFile)]
    if not remote:
        yield [file for file in files if isinstance(file, Path)]
        return
    with fetched(remote, cache) as copies:
        by_file = dict(zip(remote, copies, strict=True))
        with naming_addresses({str(copy): file.url for file, copy in by_file.items()}):
            yield [by_file[file] if isinstance(file, RemoteFile) else file for file in files]


@contextmanager
def naming_addresses(urls: Mapping[str, str]) -> Iterator[None]:
    """Errors inside name addresses; `urls` has them by the path of their copy."""
    try:
        yield
    except TamisError as error:
        message = error.message
        for copy, url in urls.items():
            message = message.replace(copy, url)
        if message == error.message:
            raise
        raise type(error)(message, code=error.code, hint=error.hint) from error


def leavings(cache: Path) -> list[Path]:
    """The folders that `clear` removes: the kept files, and what readers left that were killed."""
    kept = cache / "files"
    return [*([kept] if kept.is_dir() else []), *filter(_is_abandoned, disk.list_folder(cache / "use"))]


def clear(cache: Path) -> None:
    """Remove the kept files, and what readers left that were killed; readers at work are not disturbed."""
    for folder in leavings(cache):
        shutil.rmtree(folder, ignore_errors=True)
    # Each only when it is empty: with the output root goes one that was made for the cache alone.
    with suppress(OSError):
        with suppress(FileNotFoundError):
            (cache / "use").rmdir()
        cache.rmdir()
        cache.parent.rmdir()


def _take(file: RemoteFile, cache: Path, own: Path) -> Path:
    kept, target = cache / "files" / file.local_name(), own.joinpath(*file.hive_folders(), file.local_name())
    with disk.storage_errors(own):
        target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        os.link(kept, target)
        if target.stat().st_size == file.size:
            # The time of use decides what goes first.
            os.utime(target, ns=(time.time_ns(), file.modified_ns))
            return target
        target.unlink()
    with disk.storage_errors(own):
        _download(file, target)
        os.utime(target, ns=(time.time_ns(), file.modified_ns))
    # File systems without links have no cache: every reader fetches for itself.
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        os.link(target, kept)
    _make_room(kept.parent)
    return target


def _download(file: RemoteFile, target: Path) -> None:
    store, path = open_store(file.url)
    mark: str | None = None
    with target.open("wb") as handle:
        for start in range(0, file.size, CHUNK_BYTES):
            length = min(CHUNK_BYTES, file.size - start)
            content, etag = _guarded(file, lambda at=start, n=length: _chunk(store, path, file, at, n))
            if mark not in (None, etag):
                raise _changed(file, "was replaced while it was read")
            mark = etag
            handle.write(content)
    info = _guarded(file, lambda: store.get_file_info([path])[0])
    # Listings and single answers need not tell fractions of a second alike.
    is_same = info.is_file and (int(info.size), int(info.mtime_ns) // _NANOSECONDS) == (
        file.size,
        file.modified_ns // _NANOSECONDS,
    )
    if not is_same:
        raise _changed(file, "was replaced or removed")


def _guarded(file: RemoteFile, request: Any) -> Any:
    try:
        return retrying("read", file.url, request)
    except FileNotFoundError as error:
        raise _changed(file, "was removed") from error


def _chunk(store: Any, path: str, file: RemoteFile, start: int, length: int) -> tuple[bytearray, str]:
    """Some bytes of a file, and the mark of its content where the store gives one."""
    with store.open_input_file(path) as source:
        if source.size() != file.size:
            raise _changed(file, f"has {source.size()} bytes, and had {file.size}")
        metadata = source.metadata() or {}
        etag = str(metadata.get(b"ETag", metadata.get(b"etag", b"")))
        # pyarrow 26 takes an answer of fewer bytes for whole when the answer itself says that it has no more: the rest
        # of the buffer stays as it was. Its last byte tells; a last byte that happens to be the mark is read again.
        for mark in _MARKS:
            buffer = bytearray(length)
            buffer[-1] = mark
            source.seek(start)
            if source.readinto(buffer) == length and buffer[-1] != mark:
                return buffer, etag
    raise IncompleteAnswerError(f"expected {length} bytes from byte {start} on, and got fewer")


def _changed(file: RemoteFile, how: str) -> IntegrityError:
    return IntegrityError(
        f"the input changed during the run: {file.url} {how}",
        code="input-changed",
        hint="Nothing was published; run the command again when the files are complete.",
    )


def _make_room(folder: Path) -> None:
    with suppress(OSError):
        kept = [(status.st_atime_ns, status.st_size, path) for path in folder.iterdir() for status in [path.stat()]]
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= CACHE_BYTES:
                return
            path.unlink(missing_ok=True)
            total -= size


def _is_abandoned(own: Path) -> bool:
    host, _, rest = own.name.rpartition("-")[0].rpartition("-")
    with suppress(OSError, ValueError):
        if host == socket.gethostname():
            try:
                os.kill(int(rest), 0)
            except ProcessLookupError:
                return True
        return time.time() - own.stat().st_mtime > _ABANDONED_SECONDS
    return False
