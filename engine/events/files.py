"""Which files a source stands for: plain paths, globs and (hive) folders become one sorted list."""

from __future__ import annotations

import glob
import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote

from engine.errors import ConfigError

_GLOB_CHARACTERS = frozenset("*?[")
# An address such as s3://bucket/log, also where it was taken for a relative path and put behind a folder.
_REMOTE = re.compile(r"(?:^|/)([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE)


def find_files(name: str, path: str | tuple[str, ...]) -> tuple[Path, ...]:
    """Files of a source, sorted, each once: of several paths to one file, the one that is no link.

    A folder stands for every `*.parquet` file below it, except in folders or files whose name starts with `.` or `_`
    (staging areas and markers of other tools). Wildcards pass over such names too, unless the pattern writes the `.`
    or `_` itself, as `_old*` does.

    Args:
        name: The source's name, for the message.
        path: Files, globs (`**` included) or folders.

    Raises:
        ConfigError: A path or glob that matches no file; all of them at once.
    """
    found: dict[Path, Path] = {}
    empty: list[str] = []
    for entry in (path,) if isinstance(path, str) else path:
        matches = _expand(entry)
        for match in matches:
            target = match.resolve()
            found[target] = min(match, found.get(target, match), key=lambda file: _linked(file, target))
        if not matches:
            empty.append(entry)
    remote = [f"{address[1]}://{address[2]}" for entry in empty if (address := _REMOTE.search(entry))]
    if remote:
        raise ConfigError(
            f"source {name!r}: remote paths are not supported yet: {', '.join(map(repr, remote))}",
            code="input-remote",
            hint="Mount the store as a folder or copy the files, and name the folder.",
        )
    if empty:
        listed = ", ".join(repr(entry) for entry in empty)
        raise ConfigError(
            f"source {name!r}: no Parquet file matches {listed}",
            code="input-no-files",
            hint="Paths in a configuration file are relative to the folder of that file.",
        )
    # Absolute: a task on another machine has another working directory.
    return tuple(sorted(file.absolute() for file in found.values()))


def _linked(file: Path, target: Path) -> tuple[bool, bool, Path]:
    return file.is_symlink(), file.absolute() != target, file


def _expand(entry: str) -> list[Path]:
    path = Path(entry)
    if path.is_dir():
        return [file for file in path.rglob("*.parquet") if file.is_file() and not _hidden(file.relative_to(path))]
    if path.is_file():
        return [path]
    if not _GLOB_CHARACTERS.intersection(entry):
        return []
    first = next(index for index, part in enumerate(path.parts) if _GLOB_CHARACTERS.intersection(part))
    literal = Path(*path.parts[:first])
    wanted = [part for part in path.parts[first:] if _is_mark(part)]
    matches = (Path(match) for match in glob.glob(entry, recursive=True))
    visible = (match for match in matches if not _hidden(match.relative_to(literal), wanted))
    return [file for match in visible for file in ([match] if match.is_file() else _expand(str(match)))]


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
