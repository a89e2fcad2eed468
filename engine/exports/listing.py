"""The list of exports: which files with users and addresses were written, where and when; no person is in it.

    <out>/_exports/<UTC time>-<6 hex digits>.json      one small file per export

An entry is there before the files are, so that no file with addresses lies anywhere without one. What became of the
files afterwards is not known here: they may have been sent, moved or removed.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from engine.errors import IntegrityError
from engine.exports.files import RECORD, staged_folders
from engine.exports.record import ExportRecord
from engine.tables import disk
from engine.tables.durable import durable_json
from engine.why.published import Published

SCHEMA_VERSION: Final = 1
_NAME: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


@dataclass(frozen=True)
class ListedFile:
    """A file of an export: its absolute path, SHA-256 (hex), rows without the header, and bytes."""

    path: str
    sha256: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class ListedSegment:
    """Users of one segment in an export: "members", "entries" or "exits", and how many were written."""

    segment: str
    kind: str
    written: int


@dataclass(frozen=True)
class ListedExport:
    """One export; key `export`.

    Attributes:
        export: `<UTC time>-<6 hex digits>`: names sort as the times do.
        at: When it was written, UTC.
        tool: Whose format the files have.
        as_of, run_id: The published date, and the run that published it.
        to: The folder, absolute.
        purposes: What users had to have agreed to; empty without a log of consents.
        segments: Whom it is of.
        files: What was written, in order.
    """

    export: str
    at: datetime
    tool: str
    as_of: date
    run_id: str
    to: str
    purposes: tuple[str, ...]
    segments: tuple[ListedSegment, ...] = ()
    files: tuple[ListedFile, ...] = ()
    schema_version: int = SCHEMA_VERSION


_EXPORT: Final = TypeAdapter(ListedExport)


def exports_folder(out: Path) -> Path:
    """Where the list lies."""
    return out / "_exports"


def listed_path(out: Path, export: str) -> Path:
    """The file of one entry."""
    return exports_folder(out) / f"{export}.json"


@contextmanager
def listing(
    out: Path, published: Published, tool: str, target: Path, purposes: Iterable[str]
) -> Iterator[Callable[[ExportRecord], None]]:
    """List an export that is about to be written; the entry goes when what is done inside fails.

    The entry has the folder from the beginning: what an export that was killed leaves lies beside it. Call what is
    yielded when the files are written, and before they get their names.

    Args:
        out: The output root.
        published: What is exported.
        tool: Whose format.
        target: The folder that the files get.
        purposes: What users had to have agreed to.

    Raises:
        ConfigError: The list cannot be written.
        ResourceError: The disk is full or failing.
    """
    now = datetime.now(UTC)
    begun = ListedExport(
        export=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
        at=now.replace(microsecond=0),
        tool=tool,
        as_of=published.as_of,
        run_id=published.manifest.run_id,
        to=str(target),
        purposes=tuple(purposes),
    )

    def finish(record: ExportRecord) -> None:
        segments = tuple(ListedSegment(unit.segment, unit.kind, unit.written) for unit in record.units)
        written = [file for unit in record.units for file in unit.files]
        files = tuple(ListedFile(str(target / one.name), one.sha256, one.rows, one.bytes) for one in written)
        write_listed(out, dataclasses.replace(begun, segments=segments, files=files))

    write_listed(out, begun)
    try:
        yield finish
    except BaseException:
        disk.remove_file(listed_path(out, begun.export))
        raise


def unfinished_folders(listed: Iterable[ListedExport]) -> list[Path]:
    """Folders with files of exports that were killed, beside those that they would have become."""
    return sorted({path for one in listed for path in staged_folders(Path(one.to))})


def write_listed(out: Path, listed: ListedExport) -> None:
    """Write an entry in place of what is there, on stable storage.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing.
    """
    values: dict[str, Any] = _EXPORT.dump_python(listed, mode="json")
    durable_json(values, listed_path(out, listed.export))


def listed_exports(out: Path) -> tuple[ListedExport, ...]:
    """All entries, the oldest first.

    Raises:
        IntegrityError: An entry is damaged: which files hold people is not known then.
    """
    found = []
    for path in disk.list_folder(exports_folder(out)):
        if _NAME.fullmatch(path.stem) and path.suffix == ".json":
            try:
                found.append(_EXPORT.validate_json(path.read_bytes()))
            except ValidationError as error:
                raise IntegrityError(
                    f"{path} is no entry of the list of exports: it was changed or damaged after it was written",
                    code="exports-list",
                    hint="Restore it from a copy; or look after the files of that export yourself, and remove it.",
                ) from error
    return tuple(sorted(found, key=lambda one: one.export))


def standing_files(listed: Iterable[ListedExport]) -> dict[str, ListedExport]:
    """The files that are where they were written, by path, with the last export that wrote each."""
    last = {file.path: one for one in sorted(listed, key=lambda one: one.export) for file in one.files}
    return {path: one for path, one in sorted(last.items()) if Path(path).is_file()}


def forget_files(out: Path, listed: ListedExport, gone: Iterable[str]) -> None:
    """Take files out of an entry, and out of what the export says of itself, once they were removed.

    Args:
        out: The output root.
        listed: The entry.
        gone: Paths of the files.
    """
    names = set(gone)
    change_files(out, listed, lambda file: None if file.path in names else file)


def change_files(out: Path, listed: ListedExport, change: Callable[[ListedFile], ListedFile | None]) -> ListedExport:
    """Write an entry anew whose files have changed, and the record beside the files.

    Args:
        out: The output root.
        listed: The entry.
        change: The file as it is now; None when it is gone.

    Returns:
        The entry as it is now.
    """
    files = tuple(now for file in listed.files if (now := change(file)) is not None)
    changed = dataclasses.replace(listed, files=files)
    write_listed(out, changed)
    _change_record(Path(listed.to) / RECORD, {Path(file.path).name: file for file in files})
    return changed


def _change_record(path: Path, files: Mapping[str, ListedFile]) -> None:
    """The record in the folder of an export tells sizes and hashes too: `--overwrite` goes by its names."""
    try:
        record = json.loads(path.read_bytes())
        record["files"] = [{"name": name, "sha256": file.sha256} for name, file in files.items()]
        for segment in record["segments"]:
            there = [one for one in segment["files"] if one["name"] in files]
            segment["files"] = [
                {**one, **{key: getattr(files[one["name"]], key) for key in ("rows", "bytes", "sha256")}}
                for one in there
            ]
    except (OSError, ValueError, KeyError, TypeError):
        # Moved away, or another export stands there: the list alone is ours to keep.
        return
    durable_json(record, path)
