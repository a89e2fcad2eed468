"""Units of the log whose files lie in object stores: opened from local copies, a portion of them at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from engine.config import Config
from engine.errors import ConfigError
from engine.events.files import locate_files
from engine.remote.address import RemoteFile, is_remote
from engine.remote.fetch import CACHE_BYTES, fetched, naming_addresses
from engine.rollups.rolling import Found
from engine.rollups.units import SourceFile


def portions(units: Sequence[Found]) -> Iterator[list[Found]]:
    """The units in their order, cut where the files to be fetched come to half of what is kept; a unit stays whole."""
    portion: list[Found] = []
    size = 0
    for item in units:
        own = sum(file.size for file in item.unit.files if is_remote(file.parquet))
        if portion and own and size + own > CACHE_BYTES // 2:
            yield portion
            portion, size = [], 0
        portion.append(item)
        size += own
    if portion:
        yield portion


@contextmanager
def local_copies(units: Sequence[Found], cache: Path) -> Iterator[list[Found]]:
    """The units with local copies of their remote files to read, which are gone afterwards.

    Raises:
        TamisError: As `engine.remote.fetch.fetched`.
    """
    files = {file.parquet: _remote(file) for item in units for file in item.unit.files if is_remote(file.parquet)}
    if not files:
        yield list(units)
        return
    with fetched(list(files.values()), cache) as paths:
        copies = dict(zip(files, map(str, paths), strict=True))
        with naming_addresses({copy: url for url, copy in copies.items()}):
            yield [_with_copies(item, copies) for item in units]


def with_addresses(found: Found, opened: Found, cache: Path) -> Found:
    """What was opened from local copies, to be read from the store: each task fetches what it needs.

    Args:
        found: The unit as it was found.
        opened: What opening its copies gave.
        cache: Where the tasks keep what they fetch.
    """
    remote = {file.path for file in found.unit.files if is_remote(file.parquet)}
    pieces = tuple(
        replace(piece, file=piece.origin, cache=str(cache)) if piece.origin in remote else piece
        for piece in opened.pieces
    )
    return replace(opened, unit=found.unit, pieces=pieces)


def remote_stamps(config: Config, units: Sequence[Found]) -> dict[str, tuple[int, int]]:
    """Size and time of change, as they are listed now, of the files of units that lie in object stores.

    Raises:
        TamisError: As `engine.events.files.locate_files`.
    """
    stamps: dict[str, tuple[int, int]] = {}
    for position, source in enumerate(config.sources):
        paths = (source.path,) if isinstance(source.path, str) else source.path
        addresses = tuple(path for path in paths if is_remote(path))
        if not addresses:
            continue
        wanted = {file.path for item in units if item.unit.source == position for file in item.unit.files}
        try:
            located = locate_files(source.name, addresses, text=True)
        except ConfigError as error:
            # All of them may be gone since they were found.
            if error.code != "input-no-files":
                raise
            located = ()
        stamps |= {file.url: file.stamp for file in located if isinstance(file, RemoteFile) and file.url in wanted}
    return stamps


def _with_copies(found: Found, copies: Mapping[str, str]) -> Found:
    files = tuple(replace(file, parquet=copies.get(file.parquet, file.parquet)) for file in found.unit.files)
    return replace(found, unit=replace(found.unit, files=files))


def _remote(file: SourceFile) -> RemoteFile:
    return RemoteFile(file.path, file.size, file.modified_ns)
