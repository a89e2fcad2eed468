"""Publish to an object store without a table format: files first, then the manifest that names them.

    <url>/<table>/as_of=YYYY-MM-DD/…/part-….parquet   immutable, under names that follow from their contents
    <url>/_manifests/as_of=YYYY-MM-DD.json            the commit: one small object, replaced as a whole
    <url>/<table>/as_of=YYYY-MM-DD/_SUCCESS           afterwards, for tools that wait for it

A reader that follows the manifest sees one complete run at any time: the files of the run before stay. What an upload
that was interrupted has left is named by no manifest, and the next one goes on where it ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from engine.errors import IntegrityError
from engine.remote.retries import IncompleteAnswerError, retrying
from engine.remote.stores import open_store
from engine.tables.durable import canonical_json
from engine.tables.layout import SUCCESS, manifest_path
from engine.tables.manifest import FileRecord, Manifest, manifest_to_json, read_manifest

_SIDE_BY_SIDE: Final = 4
_CHUNK: Final = 4 << 20


def check_writable(url: str) -> None:
    """Stop before any work when the store cannot be reached, or does not know the bucket or the credentials.

    Raises:
        ConfigError: No such bucket, or credentials that may not list it.
        TransientError: The store does not answer.
    """
    _sizes(url)


def upload(out: Path, url: str, as_of: date, tables: Collection[str]) -> bool:
    """Let what is published locally for a date be what the store has of it; nothing happens when it is already.

    Args:
        out: The local output root; its lock is held.
        url: The address that stands for the output root.
        as_of: The date.
        tables: Names of the tables to upload; the manifest in the store names no others.

    Returns:
        Whether the manifest in the store was another one, or none.

    Raises:
        ConfigError: No such bucket, or credentials that may not write there.
        IntegrityError: A published file is not what its manifest says.
        TransientError: The store does not answer; the manifest in the store is the one before.
    """
    url = url.rstrip("/")
    manifest = _of_tables(read_manifest(manifest_path(out, as_of)), tables)
    content = manifest_content(manifest)
    name = manifest_path(Path(), as_of).as_posix()
    marks = [f"{table.path}/{SUCCESS}" for table in manifest.tables]
    if _read(f"{url}/{name}") == content:
        # An upload may have ended between the manifest and these.
        for mark in _absent(url, marks):
            put(f"{url}/{mark}", b"")
        return False
    missing = [record for table in manifest.tables for record in _missing(url, table.path, table.records)]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        waiting = [pool.submit(_put_file, out, url, record) for record in missing]
        try:
            for one in waiting:
                one.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    put(f"{url}/{name}", content)
    for mark in marks:
        put(f"{url}/{mark}", b"")
    return True


def manifest_content(manifest: Manifest) -> bytes:
    """The bytes of a manifest in the store."""
    return canonical_json(manifest_to_json(manifest)).encode()


def _of_tables(manifest: Manifest, names: Collection[str]) -> Manifest:
    return replace(manifest, tables=tuple(table for table in manifest.tables if table.name in names))


def _missing(url: str, folder: str, records: Collection[FileRecord]) -> Iterator[FileRecord]:
    there = _sizes(f"{url}/{folder}")
    for record in records:
        # A name follows from the content: what is there under it in full length is the file.
        if there.get(record.path.removeprefix(f"{folder}/")) != record.bytes:
            yield record


def _sizes(url: str) -> dict[str, int]:
    """Bytes of every file below an address, by relative path."""
    store, path = open_store(url)

    def request() -> list[Any]:
        from pyarrow.fs import FileSelector

        try:
            return list(store.get_file_info(FileSelector(path, recursive=True)))
        except FileNotFoundError:
            return []

    infos = retrying("list", url, request)
    return {info.path[len(path) + 1 :]: int(info.size) for info in infos if info.is_file}


def _absent(url: str, names: Sequence[str]) -> list[str]:
    store, path = open_store(url)
    infos = retrying("read", url, lambda: store.get_file_info([f"{path}/{name}" for name in names]))
    return [name for name, info in zip(names, infos, strict=True) if not info.is_file]


def _read(url: str) -> bytes | None:
    store, path = open_store(url)

    def request() -> bytes:
        with store.open_input_stream(path) as stream:
            return bytes(stream.read())

    try:
        return retrying("read", url, request)
    except FileNotFoundError:
        return None


def _put_file(out: Path, url: str, record: FileRecord) -> None:
    store, path = open_store(f"{url}/{record.path}")

    # Before a byte is sent: what lies in the store under the name would be taken for the file by the next upload.
    md5 = _checked(out / record.path, record)

    def request() -> None:
        with (out / record.path).open("rb") as source, store.open_output_stream(path) as stream:
            while chunk := source.read(_CHUNK):
                stream.write(chunk)
        _check_there(store, path, record.bytes, md5)

    retrying("write", f"{url}/{record.path}", request)


def _checked(file: Path, record: FileRecord) -> bytes:
    """The MD5 of a file that is what its record says."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with suppress(FileNotFoundError), file.open("rb") as source:
        while chunk := source.read(_CHUNK):
            sha256.update(chunk)
            md5.update(chunk)
    if sha256.hexdigest() != record.sha256:
        raise IntegrityError(
            f"{file} is missing, or not what its manifest says",
            code="upload-changed",
            hint="The file was changed or damaged after it was published; run the same date again.",
        )
    return md5.digest()


def put(url: str, content: bytes) -> None:
    """Write an object as a whole, in place of what is there under its address.

    Raises:
        TamisError: As `upload`.
    """
    store, path = open_store(url)

    def request() -> None:
        with store.open_output_stream(path) as stream:
            stream.write(content)
        _check_there(store, path, len(content), hashlib.md5(content, usedforsecurity=False).digest())

    retrying("write", url, request)


def _check_there(store: Any, path: str, size: int, md5: bytes) -> None:
    """Check size and checksum of what was written, as far as the store tells them.

    The mark of an S3 object in one part is the MD5 of its content, or that of this MD5; encrypted ones have others, and
    objects in several parts too, so a mark of another form says nothing.
    """
    info = store.get_file_info([path])[0]
    if not info.is_file or int(info.size) != size:
        raise IncompleteAnswerError(f"wrote {size} bytes, and the store has {info.size}")
    with store.open_input_file(path) as written:
        mark = (written.metadata() or {}).get(b"ETag", b"").strip(b'"').decode()
        single = hashlib.md5(md5, usedforsecurity=False).hexdigest()
        if not size or mark in {md5.hex(), f"{single}-1"} or (len(mark) != len(single) and not mark.endswith("-1")):
            return
        if hashlib.md5(written.read(), usedforsecurity=False).digest() == md5:
            return
    with suppress(OSError):
        store.delete_file(path)
    raise IncompleteAnswerError("the store has other bytes than were written")
