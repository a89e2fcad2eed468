"""Event files of CSV and JSON lines, converted to Parquet once: the rest of the engine reads Parquet alone.

    <cache>/<source>/[key=value/…]<name>-<identity>-<types>.parquet

`identity` stands for the file (path, size, times of change) and for how it is read, `types` for the columns it was
written with: a name never changes its content, and what is there under the right name is used as it is. All files of a
source get one type per column, so that a day without a single amount, or with the first id that is no number, fits the
days before.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

from engine.config import Source
from engine.erasure.emptied import Emptied, empty_rows
from engine.errors import DataError, TamisError
from engine.events import csv_text, json_lines
from engine.events.files import text_kind
from engine.events.ingest import ERASED
from engine.events.read import input_changed, storage_failure
from engine.events.text_types import Types, as_type, from_json, storable, to_json, type_of_text, widen_all
from engine.remote.address import RemoteFile
from engine.remote.fetch import fetched_as
from engine.tables import disk

_FORMAT: Final = 1
_SHOWN = 20
_DIGITS = 16
_UNSAFE = r"[^A-Za-z0-9._-]"
_RESTORE = "Restore the file, or take it out of the source's path."
_METADATA = b"tamis_types"


@dataclass(frozen=True)
class _Text:
    """A text file of a source, as it was found."""

    file: Path | RemoteFile
    kind: str
    source: Source
    stamp: tuple[int, int, int]
    identity: str
    fetch_to: Path | None

    def blocks(self, path: Path, read_as: Types | None = None) -> Iterator[pl.DataFrame]:
        if self.kind == "csv":
            return csv_text.read_blocks(path, self.source.csv)
        return json_lines.read_chunks(path, read_as)


def convert_files(
    files: Sequence[Path | RemoteFile],
    source: Source,
    cache: Path,
    fetch_to: Path | None = None,
    emptied: Emptied | None = None,
) -> list[Path | RemoteFile]:
    """The files as Parquet: text files converted, unless they already are, and Parquet files as they stand.

    Rows keep their order, so that row n of the result is the nth row of data in the text. A column of CSV is a number,
    a date or a time when all its values in all files are; ids with leading zeros stay text. In JSON lines, text is text
    or, when all its values are, a date or a time; a key that a file does not have is null.

    Files in the cache folder of the source that belong to none of `files` any more are removed.

    Args:
        files: Files of one kind, as `locate_files(…, text=True)` gives them.
        source: Whose files they are.
        cache: Folder for converted files; sources share it, runs at the same time do not.
        fetch_to: Where files of object stores are fetched to while they are read.
        emptied: Tells rows that are written without anything in them; they keep their place and are marked.

    Raises:
        ConfigError: The cache cannot be written to.
        DataError: Files that cannot be read, all of them at once, each with the line that is wrong.
        IntegrityError: A file was changed while it was read.
        ResourceError: The disk is full or failing.
        TransientError: Storage that does not answer.
    """
    if not any(text_kind(file) for file in files):
        return list(files)
    folder = source_folder(cache, source)
    texts = [_found(file, source, fetch_to) for file in files]
    there = _converted_before(folder)
    types = _types_of_all(texts, {_identity_of(file): types for file, types in there.items()})
    wanted: Types = {}
    for found in types.values():
        wanted = widen_all(wanted, found)
    converted = [_convert(text, types[text.identity], wanted, folder, there, emptied) for text in texts]
    _sweep(folder, converted)
    return list(converted)


def source_folder(cache: Path, source: Source) -> Path:
    """Where the converted files of a source lie."""
    return cache / f"{re.sub(_UNSAFE, '_', source.name)[:40]}-{_digest(source.name)[:8]}"


def _found(file: Path | RemoteFile, source: Source, fetch_to: Path | None) -> _Text:
    stamp = _stamp(file, source)
    settings = source.csv.model_dump(mode="json")
    name = file.url if isinstance(file, RemoteFile) else str(file.absolute())
    identity = _digest(json.dumps([_FORMAT, pl.__version__, name, *stamp, settings], sort_keys=True))
    return _Text(file, text_kind(file) or "", source, stamp, identity, fetch_to)


def _stamp(file: Path | RemoteFile, source: Source) -> tuple[int, int, int]:
    if isinstance(file, RemoteFile):
        return *file.stamp, 0
    try:
        found = file.stat()
    except FileNotFoundError as error:
        raise input_changed(f"source {source.name!r}: {file} was removed") from error
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _converted_before(folder: Path) -> dict[Path, Types]:
    """The whole files in the cache, with the types that their texts show."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = {}
    for file in sorted(folder.rglob("*.parquet")):
        # One that cannot be read, or that something else has put there, is written again or swept.
        with suppress(pa.ArrowException, OSError, KeyError, TypeError, ValueError):
            found[file] = from_json(json.loads(pq.read_schema(file).metadata[_METADATA]))
    return found


def _identity_of(converted: Path) -> str:
    return converted.stem.split("-")[-2]


def _types_of_all(texts: Sequence[_Text], known: Mapping[str, Types]) -> dict[str, Types]:
    """The types that each file shows, by the file's identity: read anew where no conversion knows them."""
    types: dict[str, Types] = {}
    problems = []
    for text in texts:
        try:
            types[text.identity] = known.get(text.identity) or _types_of(text)
        except DataError as error:
            problems.append(f"  {error.message}")
    if problems:
        more = [f"  and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise DataError(
            "\n".join([f"{len(problems)} of {len(texts)} files cannot be read", *problems[:_SHOWN], *more]),
            code="input-unreadable",
            hint="Mend these lines, or take the files out of the source's path. [sources.csv] says how CSV is written.",
        )
    return types


def _types_of(text: _Text) -> Types:
    comma, is_csv = text.source.csv.decimal_comma, text.kind == "csv"
    types: Types = {}
    with _reading(text) as path:
        for block in text.blocks(path):
            found = {
                name: type_of_text(block[name], numbers=is_csv, decimal_comma=comma) if dtype == pl.String else dtype
                for name, dtype in block.schema.items()
            }
            types = widen_all(types, found)
    return types


def _convert(
    text: _Text, own: Types, wanted: Types, folder: Path, there: Mapping[Path, Types], emptied: Emptied | None
) -> Path:
    """The converted file; written unless it is there."""
    # A CSV file has the columns of its header; a JSON object leaves out what it has nothing to say of.
    columns = own if text.kind == "csv" else wanted
    types = {name: storable(wanted[name]) for name in columns}
    stem = re.sub(_UNSAFE, "_", text.file.name)[:80]
    keys = _hive_folders(text.file)
    name = f"{stem}-{text.identity}-{_digest(json.dumps(to_json(types)))[:8]}.parquet"
    target = Path(folder, *keys, name)
    if target in there:
        return target
    disk.make_folder(target.parent)
    temporary, handle = disk.create_temporary(target)
    try:
        with disk.storage_errors(target.parent), handle:
            _write(text, own, types, handle, emptied)
            disk.sync_file(handle, temporary)
        # Of the same age as the text: a conversion that is done again gives the same file for every reader.
        os.utime(temporary, ns=(text.stamp[1], text.stamp[1]))
        disk.rename(temporary, target)
    except BaseException:
        # The first failure is the one to tell; a file that stays behind is swept by the next run.
        with suppress(TamisError, OSError):
            disk.remove_file(temporary)
        raise
    return target


def _hive_folders(file: Path | RemoteFile) -> list[str]:
    if isinstance(file, RemoteFile):
        return file.hive_folders()
    return [part for part in file.absolute().parent.parts if "=" in part]


def _write(text: _Text, own: Types, types: Types, handle: BinaryIO, emptied: Emptied | None) -> None:
    import pyarrow.parquet as pq

    read_as = {name: pl.String() if dtype.is_temporal() else dtype for name, dtype in types.items() if dtype != pl.Null}
    metadata = {_METADATA: json.dumps(to_json(own)).encode()}
    marked = types if emptied is None else {**types, ERASED: pl.Boolean()}
    schema = pl.DataFrame(schema=marked).to_arrow().schema.with_metadata(metadata)
    with pq.ParquetWriter(handle, schema, compression="zstd") as writer:
        for block in _read(text, read_as):
            typed = block.select(_column(block, name, dtype, text) for name, dtype in types.items())
            if emptied is not None:
                typed = empty_rows(typed, emptied(typed))
            writer.write_table(typed.to_arrow().cast(schema))


def _read(text: _Text, read_as: Types) -> Iterator[pl.DataFrame]:
    with _reading(text) as path:
        yield from text.blocks(path, read_as or None)


def _column(block: pl.DataFrame, name: str, dtype: pl.DataType, text: _Text) -> pl.Expr:
    if dtype == pl.Null:
        return pl.repeat(None, block.height, dtype=pl.Null).alias(name)
    if block.schema[name] == pl.String:
        return as_type(pl.col(name), dtype, decimal_comma=text.source.csv.decimal_comma)
    return pl.col(name)


@contextmanager
def _reading(text: _Text) -> Iterator[Path]:
    """Names the file in what goes wrong with it, and makes sure that it still is the one that was found."""
    owner = f"source {text.source.name!r}"
    try:
        with fetched_as([text.file], text.fetch_to) as [path]:
            yield path
    except DataError as error:
        _check_unchanged(text)
        raise DataError(f"{owner}: {text.file}: {error.message}", code=error.code, hint=error.hint) from error
    except FileNotFoundError as error:
        raise input_changed(f"{owner}: {text.file} was removed") from error
    except OSError as error:
        failure = storage_failure(error, owner, str(text.file))
        if failure is not None:
            raise failure from error
        raise DataError(
            f"{owner}: {text.file}: {error.strerror or type(error).__name__}", code="input-unreadable", hint=_RESTORE
        ) from error
    _check_unchanged(text)


def _check_unchanged(text: _Text) -> None:
    if _stamp(text.file, text.source) != text.stamp:
        raise input_changed(f"source {text.source.name!r}: {text.file} was replaced or written to")


def _sweep(folder: Path, wanted: Sequence[Path]) -> None:
    """Remove what earlier conversions left: of files that are gone or changed, and of attempts that were killed."""
    kept = set(wanted)
    for file in sorted(folder.rglob("*")):
        if file not in kept and file.is_file() and (file.suffix == ".parquet" or disk.is_temporary(file.name)):
            disk.remove_file(file)
