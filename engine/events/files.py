"""Which files a source stands for: plain paths, globs and (hive) folders become one sorted list."""

from __future__ import annotations

import glob
from pathlib import Path
from urllib.parse import unquote

from engine.errors import ConfigError

_GLOB_CHARACTERS = frozenset("*?[")


def find_files(name: str, path: str | tuple[str, ...]) -> tuple[Path, ...]:
    """Files of a source, sorted, each once.

    A folder stands for every `*.parquet` file below it, except in folders or files whose name starts with `.` or `_`
    (staging areas and markers of other tools).

    Args:
        name: The source's name, for the message.
        path: Files, globs (`**` included) or folders.

    Raises:
        ConfigError: A path or glob that matches no file; all of them at once.
    """
    found: set[Path] = set()
    empty: list[str] = []
    for entry in (path,) if isinstance(path, str) else path:
        matches = _expand(entry)
        found.update(matches)
        if not matches:
            empty.append(entry)
    if empty:
        listed = ", ".join(repr(entry) for entry in empty)
        raise ConfigError(
            f"source {name!r}: no Parquet file matches {listed}",
            code="input-no-files",
            hint="Paths in a configuration file are relative to the folder of that file.",
        )
    return tuple(sorted(found))


def _expand(entry: str) -> list[Path]:
    path = Path(entry)
    if path.is_dir():
        return [file for file in path.rglob("*.parquet") if file.is_file() and not _hidden(file.relative_to(path))]
    if path.is_file():
        return [path]
    if not _GLOB_CHARACTERS.intersection(entry):
        return []
    matches = (Path(match) for match in glob.glob(entry, recursive=True))
    return [file for match in matches for file in ([match] if match.is_file() else _expand(str(match)))]


def _hidden(relative: Path) -> bool:
    return any(part.startswith((".", "_")) for part in relative.parts)


def hive_values(file: Path) -> dict[str, str | None]:
    """The `key=value` folders above a file, outermost first; percent-encoding undone, None for Hive's name of null."""
    pairs = (part.partition("=") for part in file.parent.parts)
    return {unquote(key): _hive_value(value) for key, separator, value in pairs if separator and key}


def _hive_value(value: str) -> str | None:
    return None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)
