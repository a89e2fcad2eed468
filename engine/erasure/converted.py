"""Converted text files without some people: their rows stay, empty and marked, so that all others keep their number.

A text file is converted once, and what is there under its name is used as it is; when the text changes it is converted
again, and then rows of people who were erased are emptied as they are written (`engine.erasure.emptied`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.config import Source
from engine.erasure.emptied import Emptied, empty_rows, ids_of, nobody
from engine.erasure.held import Held, Place, Removed
from engine.erasure.journal import Journal
from engine.erasure.parquet import groups_of
from engine.events.convert import source_folder
from engine.events.ingest import ERASED
from engine.privacy.ids import id_rules, kept_ids
from engine.tables import disk
from engine.tables.publish import sweep_temporary

if TYPE_CHECKING:
    import pyarrow as pa

_FOLDER: Final = "_converted"


def find_in_converted(place: Place) -> Iterator[Held]:
    """Rows of the people in converted files."""
    tells = _tells(place)
    for source in place.config.sources:
        for path in _files(place, source):
            parts = [part.filter(own) for part in groups_of(path) if (own := tells(source, part)).any()]
            if parts:
                where = path.relative_to(place.out).as_posix()
                rows = pl.concat(parts).drop(ERASED, strict=False)
                yield Held(f"converted {source.name} {path.stem}", rows, (where,))


def erase_in_converted(place: Place, _: Journal) -> Removed:
    """Empty and mark the rows of the people; folders of sources that the configuration does not have go."""
    removed = Removed()
    sweep_temporary(place.out / _FOLDER)
    known = {source_folder(place.out / _FOLDER, source).name for source in place.config.sources}
    for folder in disk.list_folder(place.out / _FOLDER):
        if folder.is_dir() and folder.name not in known:
            removed += Removed(removed=len(disk.list_files(folder)))
            disk.remove_tree(folder)
    tells = _tells(place)
    for source in place.config.sources:
        for path in _files(place, source):
            rows = sum(int(tells(source, part).sum()) for part in groups_of(path))
            if rows:
                _rewrite(path, lambda part, source=source: tells(source, part))  # type: ignore[misc]
                removed += Removed(rows, rewritten=1)
    return removed


def _tells(place: Place) -> Callable[[Source, pl.DataFrame], pl.Series]:
    """Whether rows of a source are of the people, by any id of theirs."""
    rules = id_rules(place.config)
    names = pl.Series(sorted({*place.people.ids, *place.people.clear}), dtype=pl.String).implode()

    def tells(source: Source, rows: pl.DataFrame) -> pl.Series:
        own = nobody(rows)
        for ids in ids_of(source, rows, place.config.currency_digits):
            kept = kept_ids(ids, rules).ids if rules.pseudonyms else ids
            own = own | kept.cast(pl.String).is_in(names).fill_null(value=False)
        return own

    return tells


def _files(place: Place, source: Source) -> list[Path]:
    folder = source_folder(place.out / _FOLDER, source)
    return [folder / name for name in sorted(disk.list_files(folder)) if name.endswith(".parquet")]


def _rewrite(path: Path, tells: Emptied) -> None:
    """The file again with the rows emptied, under its name and with its age, which is that of the text."""
    import pyarrow.parquet as pq

    before = path.stat()
    schema = _with_mark(pq.read_schema(path))
    temporary, handle = disk.create_temporary(path)
    with disk.storage_errors(path.parent), handle:
        with pq.ParquetWriter(handle, schema, compression="zstd") as writer:
            for part in groups_of(path):
                writer.write_table(empty_rows(part, tells(part)).to_arrow().cast(schema))
        disk.sync_file(handle, temporary)
    os.utime(temporary, ns=(before.st_mtime_ns, before.st_mtime_ns))
    disk.rename(temporary, path)
    disk.sync_folder(path.parent)


def _with_mark(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return (
        schema if ERASED in schema.names else schema.append(pa.field(ERASED, pa.bool_())).with_metadata(schema.metadata)
    )
