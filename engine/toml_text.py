"""TOML as text: values and keys written, dotted keys read, and the line on which each key stands."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence

KeyPath = tuple[str | int, ...]
"""Where a value stands: `("targets", 0, "horizon_days")`."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_value(value: object) -> str:
    """A TOML literal of a string, number, truth value, list or (inline) table.

    Raises:
        TypeError: Another type, `None` among them: TOML has no null.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            return repr(value)
        case Mapping():
            inner = ", ".join(f"{toml_key(str(key))} = {toml_value(item)}" for key, item in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case Sequence():
            return f"[{', '.join(toml_value(item) for item in value)}]"
    message = f"no TOML value: {type(value).__name__}"
    raise TypeError(message)


def toml_key(name: str) -> str:
    """`name` as one key, in quotes where TOML asks for them."""
    return name if _BARE_KEY.fullmatch(name) else toml_value(name)


def dotted(path: Sequence[str | int]) -> str:
    """`path` as one dotted key."""
    return ".".join(toml_key(str(part)) for part in path)


def split_dotted(key: str) -> tuple[str, ...]:
    """The parts of a dotted key; parts in quotes may hold dots, and bare parts any other letter (`segments.été`)."""
    try:
        nested = tomllib.loads(f"{key} = 0") if key.isprintable() else {}
    except tomllib.TOMLDecodeError:
        nested = {}
    if not nested:
        return tuple(part.strip() for part in key.split("."))
    parts: list[str] = []
    value: object = nested
    while isinstance(value, dict):
        name, value = next(iter(value.items()))
        parts.append(name)
    return tuple(parts)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of each table, array entry, key and inline key in a valid TOML text.

    A statement is the shortest run of lines that is valid TOML on its own, so that the parser itself decides where a
    multi-line string or array ends.
    """
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    prefix: KeyPath = ()
    pending: list[str] = []
    start = 1
    for number, line in enumerate(text.splitlines(), start=1):
        if not pending:
            start = number
        pending.append(line)
        try:
            statement = tomllib.loads("\n".join(pending) + "\n")
        except tomllib.TOMLDecodeError:
            continue
        opens_table = pending[0].lstrip().startswith("[")
        pending = []
        if opens_table:
            prefix = _table_path(statement, counts)
            for length in range(1, len(prefix) + 1):
                lines.setdefault(prefix[:length], start)
        else:
            _note(lines, prefix, statement, start)
    return lines


def _table_path(header: Mapping[str, object], counts: dict[KeyPath, int]) -> KeyPath:
    """Path of a header, in which an array of tables stands for its latest entry."""
    path: KeyPath = ()
    value: object = header
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        path = (*path, name)
        if isinstance(value, list):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _note(lines: dict[KeyPath, int], path: KeyPath, value: object, line: int) -> None:
    if path and path not in lines:
        lines[path] = line
    match value:
        case dict():
            for key, item in value.items():
                _note(lines, (*path, key), item, line)
        case list():
            for index, item in enumerate(value):
                _note(lines, (*path, index), item, line)
