"""Which files a source stands for: plain paths, globs and (hive) folders become one sorted list."""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote

from engine.errors import ConfigError
from engine.remote.address import SCHEMES, RemoteFile, is_remote
from engine.remote.listing import list_matches

_TEXT: Mapping[str, tuple[str, ...]] = {"csv": (".csv", ".tsv"), "jsonl": (".jsonl", ".ndjson")}
_GLOB_CHARACTERS = frozenset("*?[")
# An address such as s3://bucket/log, also where it was taken for a relative path and put behind a folder.
_REMOTE = re.compile(r"(?:^|/)([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE)


def text_kind(file: Path | RemoteFile) -> str | None:
    """What text a file holds, by its name: `csv` or `jsonl`; None for Parquet and whatever else has to be Parquet."""
    plain = file.name.casefold().removesuffix(".gz")
    return next((kind for kind, endings in _TEXT.items() if plain.endswith(endings)), None)


def locate_files(name: str, path: str | tuple[str, ...], *, text: bool = False) -> tuple[Path | RemoteFile, ...]:
    """As `find_files`, with files in object stores: after the local ones, by their addresses.

    Args:
        name: The source's name, for the message.
        path: Files, globs or folders; addresses such as `s3://bucket/events/*.parquet` among them.
        text: As for `find_files`.

    Raises:
        ConfigError: As `find_files`; no such bucket, or credentials that may not list it.
        TransientError: An object store does not answer.
    """
    entries = (path,) if isinstance(path, str) else path
    addresses = [entry for entry in entries if is_remote(entry)]
    if not addresses:
        return find_files(name, path, text=text)
    found: dict[str, RemoteFile] = {}
    empty = []
    for entry in addresses:
        matches = list_matches(entry, text_kind, text=text)
        found |= {match.url: match for match in matches}
        if not matches:
            empty.append(entry)
    if empty:
        raise _no_files(name, empty, text=text)
    others = tuple(entry for entry in entries if not is_remote(entry))
    local = find_files(name, others, text=text) if others else ()
    every: tuple[Path | RemoteFile, ...] = (*local, *(found[url] for url in sorted(found)))
    _check_kinds(name, every, text=text)
    return every


def stamp_of(file: Path | RemoteFile) -> tuple[int, int]:
    """Size (bytes) and time of change (ns since 1970 UTC) of a file that was found.

    Raises:
        FileNotFoundError: It is not there any more.
    """
    if isinstance(file, RemoteFile):
        return file.stamp
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def find_files(name: str, path: str | tuple[str, ...], *, text: bool = False) -> tuple[Path, ...]:
    """Files of a source, sorted, each once: of several paths to one file, the one that is no link.

    A folder stands for every `*.parquet` file below it, except in folders or files whose name starts with `.` or `_`
    (staging areas and markers of other tools); without Parquet and with `text`, for every CSV file or every file of
    JSON lines. Wildcards pass over such names too, unless the pattern writes the `.` or `_` itself, as `_old*` does.

    Args:
        name: The source's name, for the message.
        path: Files, globs (`**` included) or folders.
        text: Whether files of CSV (`.csv`, `.tsv`) and JSON lines (`.jsonl`, `.ndjson`), also with `.gz`, can be used.

    Raises:
        ConfigError: A path or glob that matches no file, all of them at once; text files where they cannot be used;
            files of different kinds.
    """
    found: dict[Path, Path] = {}
    empty: list[str] = []
    for entry in (path,) if isinstance(path, str) else path:
        matches = _expand(entry, text=text)
        for match in matches:
            target = match.resolve()
            found[target] = min(match, found.get(target, match), key=lambda file: _linked(file, target))
        if not matches:
            empty.append(entry)
    remote = [f"{address[1]}://{address[2]}" for entry in empty if (address := _REMOTE.search(entry))]
    if remote:
        raise ConfigError(
            f"source {name!r}: expected a path on this machine, got {', '.join(map(repr, remote))}",
            code="input-remote",
            hint=f"A configuration can name {', '.join(f'{scheme}://' for scheme in SCHEMES)} addresses; of other "
            "stores, and for `tamis init`, mount the store as a folder or copy the files.",
        )
    _check_kinds(name, sorted(found.values()), text=text)
    if empty:
        raise _no_files(name, empty, text=text)
    # Absolute: a task on another machine has another working directory.
    return tuple(sorted(file.absolute() for file in found.values()))


def _no_files(name: str, empty: Sequence[str], *, text: bool) -> ConfigError:
    listed = ", ".join(repr(entry) for entry in empty)
    return ConfigError(
        f"source {name!r}: no {'Parquet, CSV or JSON lines' if text else 'Parquet'} file matches {listed}",
        code="input-no-files",
        hint="Paths in a configuration file are relative to the folder of that file.",
    )


def _linked(file: Path, target: Path) -> tuple[bool, bool, Path]:
    return file.is_symlink(), file.absolute() != target, file


def _check_kinds(name: str, files: Sequence[Path | RemoteFile], *, text: bool) -> None:
    first: dict[str | None, Path | RemoteFile] = {}
    for file in files:
        first.setdefault(text_kind(file), file)
    if len(first) > 1 and text:
        kinds = {None: "Parquet", "csv": "CSV", "jsonl": "JSON lines"}
        listed = ", ".join(f"{kinds[kind]} ({str(file)!r})" for kind, file in first.items())
        raise ConfigError(
            f"source {name!r}: files of different kinds: {listed}",
            code="input-mixed-kinds",
            hint="Make each kind a source of its own, or name only one of them, as in events/*.csv.",
        )
    unusable = [file for kind, file in first.items() if kind is not None and not text]
    if unusable:
        listed = ", ".join(repr(str(file)) for file in unusable)
        raise ConfigError(
            f"source {name!r}: expected Parquet files, got {listed}",
            code="input-not-parquet",
            hint="Only the files of [[sources]] can be CSV or JSON lines; write these as Parquet first.",
        )


def _expand(entry: str, *, text: bool) -> list[Path]:
    path = Path(entry)
    if path.is_dir():
        return _files_below(path, text=text)
    if path.is_file():
        return [path]
    if not _GLOB_CHARACTERS.intersection(entry):
        return []
    first = next(index for index, part in enumerate(path.parts) if _GLOB_CHARACTERS.intersection(part))
    literal = Path(*path.parts[:first])
    wanted = [part for part in path.parts[first:] if _is_mark(part)]
    matches = (Path(match) for match in glob.glob(entry, recursive=True))
    visible = (match for match in matches if not _hidden(match.relative_to(literal), wanted))
    return [file for match in visible for file in ([match] if match.is_file() else _expand(str(match), text=text))]


def _files_below(folder: Path, *, text: bool) -> list[Path]:
    parquet = [file for file in folder.rglob("*.parquet") if file.is_file() and not _hidden(file.relative_to(folder))]
    if parquet or not text:
        return parquet
    below = (file for file in folder.rglob("*") if text_kind(file) is not None and file.is_file())
    return [file for file in below if not _hidden(file.relative_to(folder))]


def _hidden(relative: Path, wanted: Collection[str] = ()) -> bool:
    """Whether a part of the path starts with `.` or `_`, and none of the patterns `wanted` asks for it."""
    return any(_is_mark(part) and not any(fnmatchcase(part, name) for name in wanted) for part in relative.parts)


def _is_mark(part: str) -> bool:
    return part.startswith((".", "_"))


def hive_values(file: Path) -> dict[str, str | None]:
    """The `key=value` folders above a file, outermost first; percent-encoding undone, None for Hive's name of null."""
    pairs = (part.partition("=") for part in file.parent.parts)
    return {unquote(key): _hive_value(value) for key, separator, value in pairs if separator and key}


def _hive_value(value: str) -> str | None:
    return None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)
