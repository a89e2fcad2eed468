"""The files of an export: their names, their sizes, and a folder that is there as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal

from engine.errors import ConfigError, TamisError
from engine.tables import disk, effects
from engine.tables.exchange import exchange
from engine.tables.layout import encode_partition

if TYPE_CHECKING:
    import polars as pl

RECORD: Final = "_export.json"
"""What an export says of itself, beside its files."""

_LONGEST: Final = 160
_DIGITS: Final = 10
_MODES: Final = {"owner": (0o700, 0o600), "group": (0o750, 0o640)}
_LINES: Final = 10_000


@dataclass(frozen=True)
class ExportFile:
    """One file: its name in the folder, rows without the header, bytes, and SHA-256 (hex)."""

    name: str
    rows: int
    bytes: int
    sha256: str


def file_stem(segment: str, kind: Literal["members", "entries", "exits"], as_of: date) -> str:
    """Name of the files of a segment without ending, for any name of a segment: `premium-2026-01-31`.

    Everything but `A-Z a-z 0-9 _ . -` is percent-encoded; what then is too long for a file is cut and ends in a hash.
    """
    name = encode_partition(segment)
    if len(name) > _LONGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
        name = f"{re.sub('%[0-9A-F]?$', '', name[:_LONGEST])}~{digest}"
    return f"{name}-{as_of}" if kind == "members" else f"{name}-{kind}-{as_of}"


class CsvFiles:
    """Lines of CSV on their way to `<stem>.csv`, and to `<stem>-2.csv` and so on when a file would get too large.

    Args:
        folder: That of the export.
        stem: Name of the files.
        header: First line of each file.
        most_bytes: Bytes of a file; None for one file of any size. A single line above it has a file of its own.
        readable_by: Who may read them.
    """

    def __init__(self, folder: Path, stem: str, header: str, most_bytes: int | None, readable_by: str) -> None:
        self._folder, self._stem, self._most = folder, stem, most_bytes
        self._header = f"{header}\n".encode()
        self._mode = _MODES[readable_by][1]
        self._done: list[ExportFile] = []
        self._open()

    def _open(self) -> None:
        place = len(self._done) + 1
        self._path = self._folder / (f"{self._stem}.csv" if place == 1 else f"{self._stem}-{place}.csv")
        with disk.storage_errors(self._folder):
            try:
                self._handle: BinaryIO = effects.create(self._path)
            except FileNotFoundError as error:
                raise disk.removed_meanwhile(self._folder) from error
            self._path.chmod(self._mode)
        self._hash, self._bytes, self._rows = hashlib.sha256(), 0, 0
        self._put(self._header, 0)

    def _put(self, content: bytes, rows: int) -> None:
        with disk.storage_errors(self._folder):
            self._handle.write(content)
        self._hash.update(content)
        self._bytes += len(content)
        self._rows += rows

    def _finish(self) -> None:
        with disk.storage_errors(self._folder), self._handle:
            disk.sync_file(self._handle, self._path)
        self._done.append(ExportFile(self._path.name, self._rows, self._bytes, self._hash.hexdigest()))

    def write(self, lines: pl.Series) -> None:
        """More lines, without their ends."""
        for portion in lines.to_frame().iter_slices(_LINES):
            waiting: list[bytes] = []
            size = self._bytes
            for line in portion.to_series():
                text = f"{line}\n".encode()
                if self._most is not None and size + len(text) > self._most and (self._rows or waiting):
                    self._put(b"".join(waiting), len(waiting))
                    self._finish()
                    self._open()
                    waiting, size = [], self._bytes
                waiting.append(text)
                size += len(text)
            self._put(b"".join(waiting), len(waiting))

    def close(self) -> list[ExportFile]:
        """All lines are written and on stable storage; the files, in their order."""
        self._finish()
        return self._done

    def abandon(self) -> None:
        """No more lines will come, as something failed."""
        with suppress(OSError):
            self._handle.close()


def export_target(to: Path, out: Path, *, overwrite: bool) -> Path:
    """The folder that an export is written to, without links on the way.

    Raises:
        ConfigError: It is a file, holds something that no earlier export wrote, lies in the output root or around it.
    """
    target, root = to.resolve(), out.resolve()
    if target == root or root in target.parents or target in root.parents:
        raise ConfigError(
            f"{to} lies in the folder of the tables or around it ({out}), where readers would find addresses",
            code="export-folder",
            hint="Name a folder beside it.",
        )
    _check_replaceable(target, overwrite=overwrite)
    return target


def _check_replaceable(target: Path, *, overwrite: bool) -> None:
    if not target.exists():
        return
    found = {path.name for path in target.iterdir()} if target.is_dir() else None
    if found is None or (found and not overwrite):
        raise ConfigError(
            f"{target} is not an empty folder",
            code="folder-not-empty",
            hint="Name a folder that is empty or not there, or replace an earlier export with --overwrite."
            if found
            else "Name a folder that is empty or not there.",
        )
    foreign = sorted(found - _files_of_an_export(target)) if found else []
    if foreign:
        raise ConfigError(
            f"{target} holds what no export wrote: {', '.join(foreign[:5])}",
            code="export-overwrite",
            hint="--overwrite replaces nothing but an earlier export; name another folder.",
        )


def _files_of_an_export(target: Path) -> set[str]:
    try:
        record = json.loads((target / RECORD).read_text(encoding="utf-8"))
        names = {str(file["name"]) for file in record["files"]}
    except (OSError, ValueError, TypeError, KeyError):
        return set()
    return {name for name in (RECORD, *names) if (target / name).is_file() and not (target / name).is_symlink()}


def staged_folders(target: Path) -> list[Path]:
    """Folders beside `target` that exports are writing, or were when they were killed."""
    name = re.compile(rf"\.{re.escape(target.name)}-[0-9a-f]{{8}}\.export")
    return [path for path in disk.list_folder(target.parent) if name.fullmatch(path.name)]


@contextmanager
def export_folder(target: Path, readable_by: str, *, overwrite: bool) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when what happens inside succeeds, and is removed when not.

    What an export that was killed left beside `target` is removed first: it holds addresses.

    Raises:
        ConfigError: The folder cannot be made, or `target` was filled meanwhile.
        ResourceError: The disk is full or failing.
    """
    for path in staged_folders(target):
        disk.remove_tree(path)
    staged = target.with_name(f".{target.name}-{secrets.token_hex(4)}.export")
    disk.make_folder(staged)
    try:
        staged.chmod(_MODES[readable_by][0])
        yield staged
        disk.sync_folder(staged)
        _check_replaceable(target, overwrite=overwrite)
        if target.exists():
            exchange(staged, target)
            disk.remove_tree(staged)
        else:
            disk.rename(staged, target)
            disk.sync_folder(target.parent)
    except BaseException:
        with suppress(TamisError, OSError):
            disk.remove_tree(staged)
        raise
