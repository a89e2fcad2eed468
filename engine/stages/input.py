"""The input of a run: which files there are, what they are made of, and the marks that tell whether they are the same.

In: a configuration. Out: the units of the log; of those that the store lacks, the footers are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl
from filelock import FileLock

from engine.config import Config, Source
from engine.errors import DataError
from engine.events.convert import convert_files
from engine.events.exclusion import is_excluded
from engine.events.files import find_files, hive_values, text_kind
from engine.events.identities import identity_files, read_identities
from engine.events.ingest import Piece
from engine.events.probe import Footer, read_footers
from engine.events.read import Stamp, input_changed, reading, scan, source_mapping
from engine.rollups.index import Entry, Index
from engine.rollups.rolling import Found
from engine.rollups.units import SourceFile, Unit, source_file, units_of
from engine.rollups.update import find_units, open_index, store_folder
from engine.tables import disk

_LISTED: Final = 20


@dataclass(frozen=True)
class Input:
    """The checked input of a run: the units of the log, and the type of user ids.

    Attributes:
        units: The units; those that the store does not have are opened, which means that they have pieces.
        known: The entries of the store that may fit the others.
        user_dtype: Type of user ids.
    """

    units: tuple[Found, ...]
    known: dict[tuple[str, str], Entry]
    user_dtype: str

    def rows(self, config: Config) -> int:
        """Rows of all source files."""
        return sum(
            sum(piece.rows for piece in found.pieces) if found.pieces else self.known[unit_name(config, found)].read
            for found in self.units
        )


def unit_name(config: Config, found: Found) -> tuple[str, str]:
    """Source and label of a unit."""
    return config.sources[found.unit.source].name, found.unit.label


def open_input(config: Config, *, cache: Path | None = None) -> Input:
    """Find every file of every source, and open those that the store does not have.

    Args:
        config: The configuration; its output root is absolute.
        cache: Where text files are converted to, for a run that must not write to the output root: then the store does
            not count either, and every file is opened.

    Raises:
        ConfigError: A path without files.
        DataError: Unreadable files, schemas that do not fit the mapping, user ids of different types.
        TransientError: Storage that does not answer.
    """
    units: list[Unit] = []
    for position, source in enumerate(config.sources):
        files = _find(source, cache or converted_folder(Path(config.out)))
        units += units_of(position, files, apart=source.columns.event_id is None)
    index = open_index(store_folder(Path(config.out)))[0] if cache is None else Index()
    known = index.by_name()
    found = find_units(config, units)
    new = [
        item
        for item in found
        if (entry := known.get(unit_name(config, item))) is None or entry.fingerprint != item.fingerprint
    ]
    opened = {item.unit: item for item in open_units(config, new)}
    units_found = tuple(opened.get(item.unit, item) for item in found)
    user_dtypes: dict[str, str] = {}
    for item in units_found:
        name = config.sources[item.unit.source].name
        user_dtypes[item.user_dtype or known[unit_name(config, item)].user_dtype] = name
    if len(user_dtypes) > 1:
        listed = ", ".join(f"{dtype} in source {name!r}" for dtype, name in sorted(user_dtypes.items()))
        raise DataError(
            f"user ids have different types: {listed}",
            code="user-id-types",
            hint='Cast one of them in its mapping: user_id = { sql = "CAST(… AS VARCHAR)" }.',
        )
    user_dtype = next(iter(user_dtypes))
    # What is listed there must be able to be the id of a user.
    is_excluded(config.exclude, pl.col("user_id"), dtype_of(user_dtype))
    if config.identity is not None:
        identity_files(config.identity, dtype_of(user_dtype))
    return Input(units_found, known, user_dtype)


def dtype_of(user_dtype: str) -> pl.DataType:
    """The type of user ids by its name."""
    return pl.String() if user_dtype == "String" else pl.Int64()


def converted_folder(out: Path) -> Path:
    """Where text files lie once they are converted to Parquet."""
    return out / "_converted"


def _find(source: Source, cache: Path) -> list[SourceFile]:
    files = find_files(source.name, source.path, text=True)
    if not any(text_kind(file) for file in files):
        return [as_found(source, file) for file in files]
    found = [as_found(source, file) for file in files]
    disk.make_folder(cache)
    # Another run may be converting the same files; once it has, they are all there.
    with FileLock(cache / ".lock"):
        converted = convert_files(files, source, cache)
    return [replace(file, parquet=str(parquet)) for file, parquet in zip(found, converted, strict=True)]


def as_found(source: Source, file: Path) -> SourceFile:
    """What the file system says of a file of a source.

    Raises:
        IntegrityError: It is not there any more.
    """
    try:
        return source_file(file)
    except FileNotFoundError as error:
        raise input_changed(f"source {source.name!r}: {file} was removed while it was looked at") from error


def open_units(config: Config, units: Sequence[Found]) -> list[Found]:
    """Read the footers of units, and check their schemas.

    Raises:
        DataError: Unreadable files, schemas that do not fit the mapping; all files at once.
        TransientError: Storage that does not answer.
    """
    files = [(item.unit.source, Path(file.parquet)) for item in units for file in item.unit.files]
    footers = list(zip((source for source, _ in files), read_footers([file for _, file in files]), strict=True))
    bad = [(config.sources[index].name, footer) for index, footer in footers if footer.problem]
    if bad:
        listed = "\n".join(f"  source {name!r}: {footer.file}: {footer.problem}" for name, footer in bad[:_LISTED])
        more = f"\n  and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
        raise DataError(
            f"{len(bad)} of {len(footers)} files cannot be read\n{listed}{more}",
            code="input-unreadable",
            hint="Restore the files, or take them out of the source's path.",
        )
    user_dtypes: dict[int, str] = {}
    for index, source in enumerate(config.sources):
        for footer in _one_per_schema(footer for position, footer in footers if position == index):
            user_dtypes[index] = _check_schema(source, footer, config.currency_digits)
    by_path = {str(footer.file): footer for _, footer in footers}
    return [replace(item, pieces=_pieces(item, by_path), user_dtype=user_dtypes[item.unit.source]) for item in units]


def _pieces(item: Found, footers: dict[str, Footer]) -> tuple[Piece, ...]:
    return tuple(
        Piece(item.unit.source, file.parquet, 0, footers[file.parquet].rows, _stamp(file, footers), file.path)
        for file in item.unit.files
    )


def _stamp(file: SourceFile, footers: dict[str, Footer]) -> Stamp | None:
    return (file.size, file.modified_ns) if file.parquet == file.path else footers[file.parquet].stamp


def _one_per_schema(footers: Iterable[Footer]) -> list[Footer]:
    first: dict[tuple[object, ...], Footer] = {}
    for footer in footers:
        first.setdefault((footer.columns, *hive_values(footer.file)), footer)
    return list(first.values())


def _check_schema(source: Source, footer: Footer, currency_digits: int) -> str:
    with reading(f"source {source.name!r}", str(footer.file)):
        return str(source_mapping(source, scan(str(footer.file)), currency_digits).user_dtype)


def input_fingerprint(config: Config, given: Input) -> str:
    """sha256 of the identity of every input file: name, size and time of change."""
    files = [
        (config.sources[item.unit.source].name, file.path, file.size, file.modified_ns)
        for item in given.units
        for file in item.unit.files
    ]
    for owner, path in side_tables(config):
        for file in find_files(owner, path):
            status = file.stat()
            files.append((owner, str(file), status.st_size, status.st_mtime_ns))
    return hashlib.sha256("\n".join("\0".join(map(str, file)) for file in files).encode()).hexdigest()


def read_links(config: Config, given: Input) -> pl.DataFrame | None:
    """The links of user ids; None without an identity table.

    Raises:
        DataError: A file that cannot be read, or links that go round in circles.
    """
    if config.identity is None:
        return None
    return read_identities(config.identity, dtype_of(given.user_dtype)).links


def side_tables(config: Config) -> list[tuple[str, str | tuple[str, ...]]]:
    """Owner and path of the tables beside the log."""
    tables: list[tuple[str, str | tuple[str, ...]]] = []
    if config.contacts is not None:
        tables.append(("contacts", config.contacts.path))
    if config.identity is not None:
        tables.append(("identity", config.identity.path))
    return tables
