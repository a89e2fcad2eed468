"""Whether the output and the inputs keep out of each other's way, before anything is done.

A run that reads what it writes would count its own tables as events, and one whose output holds its input would put
what it must not lose among what it replaces and sweeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from engine.config import Config
from engine.errors import ConfigError
from engine.stages.input import side_tables
from engine.tables.layout import TABLES, bundles_folder, manifests_folder, work_root

_GLOB: Final = frozenset("*?[")
_REMOTE: Final = re.compile(r"(?:^|/)[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
# Any published file: whoever reads one of these reads all.
_PUBLISHED: Final = Path("segments", "as_of=2000-01-01", "segment=any", "part-00000.parquet")
_HINT: Final = "Keep them in folders beside each other, such as data/ and out/."


def check_places(config: Config) -> None:
    """Stop when the output root is inside an input, an input is inside it, or links below it lead out of it.

    Raises:
        ConfigError: All that is in the way, at once.
    """
    if _REMOTE.search(config.out):
        return
    out = Path(config.out).absolute()
    owners = [(f"source {source.name!r}", source.path) for source in config.sources]
    owners += [(owner, path) for owner, path in side_tables(config)]
    inputs = [(owner, entry) for owner, path in owners for entry in _entries(path) if not _REMOTE.search(entry)]
    problems = [
        f"  {owner}: {entry!r} {problem}" for owner, entry in inputs if (problem := _overlap(entry, out.resolve()))
    ]
    if problems:
        raise ConfigError(
            "\n".join([f"out and the input overlap; out is {str(out)!r}", *problems]), code="out-overlap", hint=_HINT
        )
    leaving = [f"  {link} leads to {link.resolve()}" for link in _links(out) if not _stays(link, out.resolve())]
    if leaving:
        raise ConfigError(
            "\n".join([f"symbolic links lead out of the output folder {str(out)!r}", *leaving]),
            code="out-link",
            hint="Make real folders of them, or make the output folder itself the link.",
        )


def _entries(path: str | tuple[str, ...]) -> tuple[str, ...]:
    return (path,) if isinstance(path, str) else path


def _overlap(entry: str, out: Path) -> str:
    parts = Path(entry).absolute().parts
    first = next((place for place, part in enumerate(parts) if _GLOB.intersection(part)), len(parts))
    literal, pattern = Path(*parts[:first]).resolve(), parts[first:]
    if literal.is_relative_to(out) and (literal != out or pattern):
        return "is inside out"
    published = out / _PUBLISHED
    if not published.is_relative_to(literal):
        return ""
    # What matches may be a folder: then all below it is read, except where a name begins with one of these marks.
    below = published.relative_to(literal).parts
    hidden = any(part.startswith((".", "_")) for part in below)
    reads = any(_matches(below[:length], pattern) for length in range(len(below) + 1))
    return "reads what is published in out" if reads and not hidden else ""


def _matches(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[skip:], pattern[1:]) for skip in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])


def _links(out: Path) -> Iterable[Path]:
    """Symbolic links among what Tamis keeps in an output root: a table, a date of it, a folder of its own."""
    names = (*TABLES, *(folder(out).name for folder in (manifests_folder, bundles_folder, work_root)))
    for folder in (out / name for name in (*names, "_rollups", "_converted", "_contacts")):
        if folder.is_symlink():
            yield folder
        elif folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path.is_symlink())


def _stays(link: Path, root: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):
        return False
