"""The proof of an erasure: every file below an output root is looked through, and none has a name of the people.

Of Parquet and Arrow files every column of text is decompressed and compared, and every column of ids; dictionaries of
pages are read with them. The bytes of a file as they lie, with its footer, statistics and metadata, are searched too,
and its name. In JSON a number that is a figure (a count, a size, a time) names nobody. Names that cannot be told from
other bytes (short ones, numbers) are looked for in columns of ids alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import polars as pl

from engine.erasure.named import is_json, is_named
from engine.erasure.people import People
from engine.tables import disk

BLOCK_BYTES: Final = 16 << 20
_OVERLAP: Final = 4_096
_TABLES: Final = (".parquet", ".arrow")
ID_COLUMNS: Final = ("user_id", "from_id", "to_id", "other_id")
"""Columns of files that the project writes whose values are ids of people."""
_KEY: Final = "user_key"


def files_with(root: Path, people: People, leave_out: frozenset[str] = frozenset()) -> list[str]:
    """The files below a folder that have a name of the people, relative to it, sorted.

    Args:
        root: The folder.
        people: Whom.
        leave_out: Files that are not looked at: the record of the erasure that is under way.
    """
    names = sorted(set(disk.list_files(root)) - leave_out)
    return [name for name in names if people.are_in(unquote(name).encode()) or holds(root / name, people)]


def holds(path: Path, people: People) -> bool:
    """Whether a file has a name of the people, in its bytes or in its columns."""
    try:
        if path.suffix in _TABLES and any(_has_cell(column, people) for column in _columns(path)):
            return True
        if is_json(path.name):
            return is_named(path.name, path.read_bytes(), people)
        return any(people.are_in(block) for block in _blocks(path))
    except FileNotFoundError:
        return False


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as handle:
        before = b""
        while block := handle.read(BLOCK_BYTES):
            yield before + block
            before = block[-_OVERLAP:]


def _columns(path: Path) -> Iterator[pl.Series]:
    """Columns of text, of ids and of keys, row group by row group; none of a file that cannot be read."""
    import pyarrow as pa
    from pyarrow import ipc
    from pyarrow.parquet import ParquetFile

    try:
        if path.suffix == ".arrow":
            with pa.memory_map(str(path)) as source:
                file = ipc.open_file(source)
                for number in range(file.num_record_batches):
                    yield from pl.DataFrame(pa.Table.from_batches([file.get_batch(number)])).iter_columns()
            return
        with ParquetFile(path) as file:
            wanted = [field.name for field in file.schema_arrow if _is_wanted(field)]
            for group in range(file.num_row_groups if wanted else 0):
                yield from pl.DataFrame(file.read_row_group(group, columns=wanted)).iter_columns()
    except (pa.ArrowException, OSError):
        return


def _is_wanted(field: object) -> bool:
    import pyarrow as pa

    kind = getattr(field, "type", None)
    name = str(getattr(field, "name", ""))
    return name in ID_COLUMNS or name == _KEY or not (pa.types.is_primitive(kind) or pa.types.is_boolean(kind))


def _has_cell(column: pl.Series, people: People) -> bool:
    if column.name == _KEY and column.dtype == pl.UInt64:
        return bool(column.is_in(people.keys.implode()).any())
    if column.dtype.is_nested():
        inner = column.explode() if isinstance(column.dtype, pl.List | pl.Array) else None
        if inner is not None:
            return _has_cell(inner, people)
        fields = column.struct.unnest().iter_columns() if isinstance(column.dtype, pl.Struct) else ()
        return any(_has_cell(field, people) for field in fields)
    if column.name in ID_COLUMNS:
        names = pl.Series(sorted(people.names), dtype=pl.String).implode()
        return bool(column.cast(pl.String).is_in(names).any())
    if isinstance(column.dtype, pl.Enum | pl.Categorical):
        # Rows that wait to be published keep repeated texts as numbers.
        return _has_cell(column.unique().cast(pl.String), people)
    if column.dtype == pl.Binary:
        return any(people.are_in(value) for value in column.drop_nulls())
    if column.dtype != pl.String or not people.needles:
        return False
    return bool(people.named_in(column))
