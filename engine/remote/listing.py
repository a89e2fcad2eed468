"""Which files of an object store a path stands for: as for local files, with the same globs, folders and hidden names.

Listings are taken below the part of a glob that has no wildcard, in one request per thousand names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, Final

from engine.remote.address import RemoteFile, split
from engine.remote.retries import missing_bucket, retrying
from engine.remote.stores import open_store

_WILDCARDS: Final = frozenset("*?[")
_ANY_FOLDERS: Final = "**"


@dataclass(frozen=True)
class _Listing:
    """What a store lists, by `bucket/key`."""

    files: dict[str, RemoteFile]
    folders: frozenset[str]


def list_matches(entry: str, text_kind: Callable[[RemoteFile], str | None], *, text: bool) -> list[RemoteFile]:
    """The files that an address, a glob or a folder stands for, sorted by address; empty when there are none.

    A folder stands for every `*.parquet` file below it, or without any and with `text` for every file of CSV or JSON
    lines. Names that start with `.` or `_` are passed over, unless the glob itself writes the mark.

    Args:
        entry: The address.
        text_kind: The kind of text that a file holds by its name; None for Parquet.
        text: Whether text files can be used.

    Raises:
        ConfigError: No such bucket, or credentials that may not list it.
        TransientError: The store does not answer.
    """
    scheme, path = split(entry)
    literal, pattern = _split_pattern(path)
    if not literal:
        raise missing_bucket(entry)
    if not pattern:
        there = _list(scheme, literal, entry, deep=True)
        single = there.files.get(literal)
        found = [single] if single is not None else _below(there, literal, text_kind, text=text)
        return sorted(found)
    there = _list(scheme, literal, entry, deep=len(pattern) > 1 or _ANY_FOLDERS in pattern)
    matches: dict[str, RemoteFile] = {}
    wanted = [part for part in pattern if _is_mark(part)]
    for name in (*there.files, *there.folders):
        relative = name[len(literal) :].strip("/")
        if not relative or not _matches(relative.split("/"), pattern) or _hidden(relative, wanted):
            continue
        if name in there.files:
            matches[name] = there.files[name]
        else:
            # A folder that only the last part of the glob named has not been looked into yet.
            inner = there if len(pattern) > 1 else _list(scheme, name, entry, deep=True)
            matches |= {split(file.url)[1]: file for file in _below(inner, name, text_kind, text=text)}
    return sorted(matches.values())


def _split_pattern(path: str) -> tuple[str, tuple[str, ...]]:
    """The folder without wildcards, and the parts from the first one with a wildcard on."""
    parts = path.split("/")
    first = next((place for place, part in enumerate(parts) if _WILDCARDS.intersection(part)), len(parts))
    return "/".join(parts[:first]), tuple(parts[first:])


def _list(scheme: str, path: str, entry: str, *, deep: bool) -> _Listing:
    store, _ = open_store(f"{scheme}://{path}")

    def request() -> Sequence[Any]:
        from pyarrow.fs import FileSelector, FileType

        if "/" in path:
            # A name that is a file is not a folder as well: the listing below it would not tell.
            [info] = store.get_file_info([path])
            if info.type == FileType.File:
                return [info]
        try:
            return list(store.get_file_info(FileSelector(path, recursive=deep)))
        except FileNotFoundError:
            return []

    infos = retrying("list", entry, request)
    files = {
        info.path: RemoteFile(f"{scheme}://{info.path}", int(info.size), int(info.mtime_ns))
        for info in infos
        if info.is_file and not info.path.endswith("/")
    }
    folders = {info.path.rstrip("/") for info in infos if not info.is_file}
    folders |= {
        "/".join(parts[:length])
        for name in files
        for parts in [name.split("/")]
        for length in range(path.count("/") + 2, len(parts))
    }
    return _Listing(files, frozenset(folders))


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path match those of a glob; `**` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == _ANY_FOLDERS:
        return any(_matches(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _below(
    there: _Listing, folder: str, text_kind: Callable[[RemoteFile], str | None], *, text: bool
) -> list[RemoteFile]:
    inside = {name[len(folder) + 1 :]: file for name, file in there.files.items() if name.startswith(f"{folder}/")}
    visible = [(name, file) for name, file in inside.items() if not _hidden(name)]
    parquet = [file for name, file in visible if PurePosixPath(name).suffix == ".parquet"]
    if parquet or not text:
        return parquet
    return [file for _, file in visible if text_kind(file) is not None]


def _hidden(relative: str, wanted: Collection[str] = ()) -> bool:
    """As for local files: a part that starts with `.` or `_`, and that none of the patterns `wanted` asks for."""
    return any(_is_mark(part) and not any(fnmatchcase(part, name) for name in wanted) for part in relative.split("/"))


def _is_mark(part: str) -> bool:
    return part.startswith((".", "_"))
