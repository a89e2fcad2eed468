"""Iceberg tables in a SQL catalogue: published files are written again with field ids, a row group at a time.

One commit replaces a date: it takes the old files out, puts the new ones in and sets a table property with the mark of
what the date holds, all in the one metadata file that the catalogue then points to. So a commit is in the table
together with its mark or not at all, and the mark of a date is found without walking the snapshots.

pyiceberg retries a commit by itself, with files that were planned before another writer came; two writers of one date
would both be in. So its retries are switched off, and each attempt here looks at the marks and plans anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from engine.formats.failures import give_up, store_errors
from engine.formats.iceberg_catalog import open_catalog
from engine.formats.part import Part, check_columns, check_types, damaged
from engine.tables.durable import sha256_of
from engine.tables.manifest import FileRecord

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

NAMESPACE = "tamis"
ATTEMPTS = 20
ROW_GROUP_ROWS = 122_880
_PAUSE = 0.05
SILENT = {"write.metadata.metrics.default": "none", "write.metadata.metrics.column.user_id": "none"}
"""Manifests keep smallest and largest values for as long as there are snapshots; so they are told none."""
_PROPERTIES = {
    **SILENT,
    "commit.retry.num-retries": "0",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
    "write.parquet.compression-codec": "zstd",
}


@dataclass(frozen=True)
class IcebergTables:
    """The Iceberg tables of one catalogue, in the namespace `tamis`.

    Attributes:
        url: Folder or prefix that the tables lie in.
        catalog: The open catalogue.
    """

    url: str
    catalog: SqlCatalog

    def uri(self, table: str) -> str:
        """Where one table is."""
        base = self.url.rstrip("/")
        if "://" in base:
            return f"{base}/{table}"
        folder = Path(base).absolute()
        # Paths of Iceberg are no addresses in spite of their scheme: nothing in them is decoded. Yet pyiceberg cuts
        # them where the path of an address would end.
        scheme = "" if {"?", "#"} & set(str(folder)) else "file://"
        return f"{scheme}{folder}/{table}"

    def open(self, table: str) -> Table | None:
        """A table as the catalogue has it; None when there is none.

        Raises:
            TamisError: The store or the catalogue refuses, or cannot be reached.
        """
        from pyiceberg.exceptions import NoSuchTableError

        with self.errors():
            try:
                return self.catalog.load_table((NAMESPACE, table))
            except NoSuchTableError:
                return None

    def identity(self, table: str) -> str | None:
        """What a table is known by as long as it is not made anew; None when there is none."""
        opened = self.open(table)
        return None if opened is None else str(opened.metadata.table_uuid)

    def mark(self, table: str, as_of: date) -> int | None:
        """The mark of what a table holds of a date; None when nothing was ever committed for it."""
        opened = self.open(table)
        return None if opened is None else _mark(opened, as_of)

    def rows(self, table: str, as_of: date) -> int:
        """The rows that a table has of a date."""
        opened = self.open(table)
        with self.errors():
            return 0 if opened is None else _rows(opened, as_of)

    def commit(self, part: Part) -> int | None:
        """Let a part take the place of its date, in one commit; nothing happens when it is there already.

        Returns:
            The id of the table's snapshot that has it.

        Raises:
            ConfigError: The type of a column has changed.
            IntegrityError: A published file is not what its manifest says.
            ConflictError: Other writers were faster each time.
            TamisError: The store or the catalogue refuses, or cannot be reached.
        """
        written: list[DataFile] | None = None
        for attempt in range(ATTEMPTS):
            table = self.open(part.table)
            if table is None:
                if part.record is None:
                    return None
                self._create(part)
                continue
            if _mark(table, part.as_of) == part.mark and _rows(table, part.as_of) == part.rows:
                self.discard(table, written or [])
                return _snapshot(table)
            with self.errors(), self.contested() as won:
                self._widen(table, part)
                if written is None:
                    written = [_write(table, part, file) for file in part.files]
                old = files_of(table, part.as_of)
                about = {"tamis.run_id": part.run_id, "tamis.as_of": part.as_of.isoformat()}
                replace_files(table, old, written, about, {_key(part.as_of): str(part.mark)})
                won.append(True)
            if won:
                return _snapshot(table)
            time.sleep(_PAUSE * (attempt + 1))
        raise give_up(part.table, ATTEMPTS)

    @contextmanager
    def contested(self) -> Iterator[list[bool]]:
        """A list that stays empty when another writer came first: then what is inside has had no effect."""
        from pyiceberg.exceptions import CommitFailedException, ValidationException
        from sqlalchemy.exc import OperationalError

        won: list[bool] = []
        try:
            yield won
        except (CommitFailedException, ValidationException):
            return
        except OperationalError as error:
            # SQLite has one writer at a time.
            if "locked" not in str(error):
                raise

    @contextmanager
    def errors(self) -> Iterator[None]:
        """As `store_errors`, with what pyiceberg and its catalogue raise."""
        from pyiceberg.exceptions import ServerError, SignError
        from sqlalchemy.exc import SQLAlchemyError

        with store_errors(self.url, SQLAlchemyError, ServerError, SignError):
            yield

    def _create(self, part: Part) -> None:
        from pyiceberg.exceptions import NamespaceAlreadyExistsError, TableAlreadyExistsError
        from pyiceberg.partitioning import PartitionField, PartitionSpec
        from pyiceberg.transforms import IdentityTransform
        from sqlalchemy.exc import IntegrityError as Taken

        schema = _schema_of(part)
        fields = [
            PartitionField(schema.find_field(key).field_id, 1000 + place, IdentityTransform(), key)
            for place, key in enumerate(part.partition_by)
        ]
        with self.errors():
            # Another writer may make them at the same time.
            with suppress(NamespaceAlreadyExistsError, Taken):
                self.catalog.create_namespace_if_not_exists(NAMESPACE)
            with suppress(TableAlreadyExistsError):
                self.catalog.create_table(
                    (NAMESPACE, part.table),
                    schema,
                    location=self.uri(part.table),
                    partition_spec=PartitionSpec(*fields),
                    properties=_PROPERTIES,
                )

    def _widen(self, table: Table, part: Part) -> None:
        if part.record is None:
            return
        existing = {field.name: str(field.field_type) for field in table.schema().fields}
        fresh = _schema_of(part)
        check_types(part, _without_ids(table.schema()), _without_ids(fresh))
        if any(field.name not in existing for field in fresh.fields):
            with table.update_schema() as update:
                update.union_by_name(fresh)

    def discard(self, table: Table, written: Sequence[DataFile]) -> None:
        """Remove files that came to no commit."""
        for file in written:
            # A file that stays behind is in no snapshot: `vacuum` removes it.
            with suppress(OSError):
                table.io.delete(file.file_path)


@contextmanager
def open_iceberg(url: str, catalog: str) -> Iterator[IcebergTables]:
    """The Iceberg tables of a catalogue; the catalogue is made when it is not there.

    Args:
        url: Folder or prefix of the tables.
        catalog: The catalogue's database, as SQLAlchemy writes it.

    Raises:
        TamisError: The catalogue cannot be opened.
    """
    opened = open_catalog(url, catalog)
    try:
        yield IcebergTables(url, opened)
    finally:
        opened.close()


def files_of(table: Table, as_of: date) -> list[DataFile]:
    """The data files of one date in the current snapshot."""
    return [task.file for task in table.scan(row_filter=f"as_of = '{as_of.isoformat()}'").plan_files()]


def replace_files(
    table: Table,
    old: Sequence[DataFile],
    new: Sequence[DataFile],
    about: dict[str, str],
    properties: dict[str, str],
) -> None:
    """Take files out of a table, put others in and set properties, in one commit with one snapshot.

    Args:
        table: As it was when `old` was planned.
        old: Data files of the current snapshot.
        new: Data files that were written.
        about: Properties of the snapshot.
        properties: Properties of the table.

    Raises:
        CommitFailedException: Another writer came first; nothing has changed.
    """
    with table.transaction() as transaction:
        if old or new:
            update = transaction.update_snapshot(snapshot_properties=about)
            with update.overwrite() if old else update.merge_append() as producer:
                for file in old:
                    producer.delete_data_file(file)
                for file in new:
                    producer.append_data_file(file)
        if properties:
            transaction.set_properties(properties)


def write_batches(table: Table, batches: Iterator[pa.RecordBatch], partition: dict[str, Any], stem: str) -> DataFile:
    """Write rows as one data file of a partition, one row group per batch.

    Args:
        table: The table; its schema is that of the file.
        batches: Rows; columns that are missing become null, partition columns are filled in.
        partition: Value of each partition column.
        stem: Start of the file's name.

    Returns:
        The file, to be put into a snapshot.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter
    from pyiceberg.io.pyarrow import schema_to_pyarrow
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.partitioning import PartitionFieldValue, PartitionKey

    schema: pa.Schema = schema_to_pyarrow(table.schema())
    key = PartitionKey(
        [PartitionFieldValue(field, partition[field.name]) for field in table.spec().fields],
        table.spec(),
        table.schema(),
    )
    path = table.location_provider().new_data_location(f"{stem}-{uuid4().hex[:16]}.parquet", key)
    output = table.io.new_output(path)
    rows = 0
    with (
        output.create() as stream,
        ParquetWriter(stream, schema, compression="zstd", store_schema=False, write_page_checksum=True) as writer,
    ):
        for batch in batches:
            columns = [_column(batch, field, partition) for field in schema]
            writer.write_batch(pa.record_batch(columns, schema=schema), row_group_size=max(batch.num_rows, 1))
            rows += batch.num_rows
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=key.partition,
        record_count=rows,
        file_size_in_bytes=len(output),
        sort_order_id=None,
        spec_id=table.spec().spec_id,
        equality_ids=None,
        key_metadata=None,
    )


def _write(table: Table, part: Part, file: FileRecord) -> DataFile:
    from pyarrow.parquet import ParquetFile

    path = part.root / file.path
    if not path.exists() or sha256_of(path) != file.sha256:
        raise damaged(part, file)
    with ParquetFile(path) as source:
        batches = source.iter_batches(ROW_GROUP_ROWS)
        return write_batches(table, batches, {**part.values(file), "as_of": part.as_of}, path.stem)


def _column(batch: pa.RecordBatch, field: pa.Field, partition: dict[str, Any]) -> pa.Array:
    import pyarrow as pa

    if field.name in partition:
        return pa.repeat(pa.scalar(partition[field.name], field.type), batch.num_rows)
    if field.name not in batch.schema.names:
        return pa.nulls(batch.num_rows, field.type)
    return batch.column(field.name).cast(field.type)


def _schema_of(part: Part) -> Schema:
    import pyarrow as pa

    check_columns(part, "Iceberg", pa.types.is_struct, folds=False)
    return _iceberg_schema(part.schema())


def _iceberg_schema(schema: pa.Schema) -> Schema:
    from pyiceberg.io.pyarrow import pyarrow_to_schema
    from pyiceberg.table.name_mapping import MappedField, NameMapping

    ids = iter(range(1, 1_000_000))

    def mapped(field: pa.Field) -> MappedField:
        import pyarrow as pa

        number = next(ids)
        inner = [mapped(pa.field("element", field.type.value_type))] if pa.types.is_list(field.type) else []
        return MappedField(field_id=number, names=[field.name], fields=inner)

    return pyarrow_to_schema(schema, NameMapping([mapped(field) for field in schema]))


def _without_ids(schema: Schema) -> dict[str, str]:
    from pyiceberg.types import ListType

    return {
        field.name: f"list<{field.field_type.element_type}>"
        if isinstance(field.field_type, ListType)
        else str(field.field_type)
        for field in schema.fields
    }


def _key(as_of: date) -> str:
    return f"tamis.as_of={as_of.isoformat()}"


def _mark(table: Table, as_of: date) -> int | None:
    found = table.properties.get(_key(as_of))
    return None if found is None else int(found)


def _rows(table: Table, as_of: date) -> int:
    return sum(int(file.record_count) for file in files_of(table, as_of))


def _snapshot(table: Table) -> int | None:
    snapshot = table.current_snapshot()
    return None if snapshot is None else int(snapshot.snapshot_id)
