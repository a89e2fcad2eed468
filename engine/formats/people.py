"""Whether a file of a table holds any of some people, wherever it lies: on a file system or in an object store.

Rows tell people by the column `user_id`, and a text of a row can name them (an address as the value of an attribute):
a row of a table without that column goes, in a row of somebody else the text does. What is no table (logs, manifests,
metadata) is searched for the bytes of names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

import polars as pl

from engine.remote.address import is_remote
from engine.remote.stores import open_store
from engine.tables import disk

if TYPE_CHECKING:
    import pyarrow as pa

USER_ID: Final = "user_id"
_ROW_GROUP_ROWS: Final = 122_880
_LEAST_LETTERS: Final = 4


class Names(Protocol):
    """Everything that people are known by beside their ids, such as addresses."""

    def named_in(self, texts: pl.Series) -> list[str]:
        """Those texts, once each, that name one of them."""

    def are_named(self, name: str, content: bytes) -> bool:
        """Whether the content of a file that is no table, and has this name, names one of them."""


@dataclass(frozen=True)
class People:
    """Ids of users as they are published; what is printed of it is how many there are.

    Attributes:
        ids: Each once, as text.
        names: Finds their names in texts; without it they are known by their ids alone.
    """

    ids: frozenset[str] = field(repr=False)
    names: Names | None = field(default=None, repr=False)

    @classmethod
    def of(cls, ids: pl.Series, names: Names | None = None) -> People:
        """The people of a column of ids, whatever its type."""
        return cls(frozenset(ids.cast(pl.String).drop_nulls().to_list()), names)

    def __len__(self) -> int:
        return len(self.ids)

    def of_rows(self, ids: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """For each id of a column, whether it is one of them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(sorted(self.ids), pa.string())
        return pc.fill_null(pc.is_in(pc.cast(ids, pa.string()), value_set=wanted), fill_value=False)

    def are_named_in(self, content: bytes, name: str = "") -> bool:
        """Whether bytes that are no table have one of the ids; numbers and very short ids are not looked for."""
        if self.names is not None:
            return self.names.are_named(name, content)
        # Latin-1 gives every byte a letter of its own, so letters are found where the bytes are.
        letters = [one.encode().decode("latin-1") for one in sorted(self.ids) if _can_be_told(one)]
        return bool(letters) and bool(pl.Series([content.decode("latin-1")]).str.contains_any(letters).any())

    def cells(self, column: pa.Array | pa.ChunkedArray) -> pl.Series | None:
        """For each text of a column whether it names one of them; None where none does."""
        if self.names is None:
            return None
        texts = pl.Series(column)
        named = self.names.named_in(texts)
        return texts.is_in(pl.Series(named, dtype=pl.String).implode()).fill_null(value=False) if named else None


def _can_be_told(text: str) -> bool:
    return len(text) >= _LEAST_LETTERS and not text.lstrip("-").isdigit()


@dataclass(frozen=True)
class Place:
    """Files below a folder or address.

    Attributes:
        url: The folder or address.
        store: The `pyarrow.fs.FileSystem`.
        root: Its path there.
    """

    url: str
    store: Any
    root: str

    @classmethod
    def at(cls, url: str) -> Place:
        """The files below a path, a `file:` address or one of an object store."""
        if is_remote(url):
            return cls(url, *open_store(url))
        from pyarrow.fs import LocalFileSystem

        # In a catalogue's `file:` addresses nothing is encoded, whatever is special in a path.
        path = url.removeprefix("file://") if url.startswith("file:") else url
        return cls(url, LocalFileSystem(), Path(path).absolute().as_posix())

    @staticmethod
    def relative(file: str, url: str) -> str:
        """The path of a file below a place, from the addresses of both as a catalogue writes them."""
        # Paths of Iceberg are no addresses in spite of their scheme: nothing in them is decoded.
        return file.removeprefix(url.rstrip("/")).lstrip("/")

    def files(self) -> dict[str, int]:
        """Bytes of every file, by its path relative to the place, sorted."""
        from pyarrow.fs import FileSelector

        infos = self.store.get_file_info(FileSelector(self.root, recursive=True, allow_not_found=True))
        return dict(sorted((info.path[len(self.root) :].lstrip("/"), info.size) for info in infos if info.is_file))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return int(self.store.get_file_info([f"{self.root}/{name}"])[0].size)

    def open(self, name: str) -> Any:
        """A file, to be read in any order."""
        return self.store.open_input_file(f"{self.root}/{name}")

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        with self.store.open_input_stream(f"{self.root}/{name}", compression=None) as stream:
            return bytes(stream.read())

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is fine."""
        try:
            self.store.delete_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return

    def sync(self) -> None:
        """What was removed stays removed, even when the power fails; an object store keeps what it has answered for."""
        if not is_remote(self.url):
            disk.sync_tree(Path(self.root))


def is_table_file(name: str) -> bool:
    """Whether a file has rows of a table: Parquet, and no checkpoint of a log."""
    return name.endswith(".parquet") and "_delta_log" not in name.split("/")


def rows_held(place: Place, name: str, people: People) -> int:
    """Rows of people in a file of Parquet, and those whose text names them; -1 when it was cut and nobody can tell."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    with place.open(name) as stream:
        try:
            source = ParquetFile(stream)
        except pa.ArrowInvalid:
            return -1
        wanted = [one.name for one in source.schema_arrow if one.name == USER_ID or (people.names and _is_text(one))]
        if not wanted:
            return 0
        return sum(int(_held(batch, people).sum()) for batch in source.iter_batches(_ROW_GROUP_ROWS, columns=wanted))


def read_rows(place: Place, name: str, people: People) -> pl.DataFrame:
    """The rows of a file of Parquet about people, with all of its columns; not those of others that name them."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    with place.open(name) as stream, ParquetFile(stream) as source:
        kept = [batch.filter(_theirs(batch, people).to_arrow()) for batch in source.iter_batches(_ROW_GROUP_ROWS)]
        frame = pl.from_arrow(pa.Table.from_batches(kept, source.schema_arrow))
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def others(batches: Iterator[pa.RecordBatch], people: People) -> Iterator[pa.RecordBatch]:
    """Batches without the rows of people; in rows of others, a text that names them is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for batch in batches:
        columns = list(batch.columns)
        for place, one in enumerate(batch.schema):
            named = people.cells(columns[place]) if one.name != USER_ID and _is_text(one) else None
            if named is not None:
                columns[place] = pc.if_else(named.to_arrow(), pa.scalar(None, one.type), columns[place])
        plain = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
        yield plain.filter((~_theirs(batch, people)).to_arrow())


def _is_text(column: pa.Field) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _theirs(batch: pa.RecordBatch, people: People) -> pl.Series:
    """Whether rows are of people: by the column of ids; where there is none, by any text that names them."""
    place = batch.schema.get_field_index(USER_ID)
    return pl.Series(people.of_rows(batch.column(place))) if place >= 0 else _naming(batch, people)


def _naming(batch: pa.RecordBatch, people: People) -> pl.Series:
    found = pl.repeat(value=False, n=batch.num_rows, dtype=pl.Boolean, eager=True)
    for place, one in enumerate(batch.schema):
        named = people.cells(batch.column(place)) if one.name != USER_ID and _is_text(one) else None
        if named is not None:
            found = found | named
    return found


def _held(batch: pa.RecordBatch, people: People) -> pl.Series:
    return _theirs(batch, people) | _naming(batch, people)


def copy_without(place: Place, name: str, people: People, sink: BinaryIO) -> int:
    """Write a file of Parquet again without the rows of people, row group by row group; returns the rows that stay.

    The columns have the types and the order that they had.
    """
    from pyarrow.parquet import ParquetFile, ParquetWriter

    rows = 0
    with (
        place.open(name) as stream,
        ParquetFile(stream) as source,
        ParquetWriter(
            sink, source.schema_arrow, compression="zstd", store_schema=False, write_page_checksum=True
        ) as writer,
    ):
        for batch in others(source.iter_batches(_ROW_GROUP_ROWS), people):
            if batch.num_rows:
                writer.write_batch(batch, row_group_size=batch.num_rows)
                rows += batch.num_rows
    return rows
