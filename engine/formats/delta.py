"""Delta Lake tables: published files are copied as they are, and one commit lets them take the place of a date.

The commit carries an application transaction per date (Delta protocol, "Transaction Identifiers"): its version is the
mark of what the date holds. So a commit is in the table together with its mark or not at all, the mark of a date is
found without walking the history, and of two writers of one date the second is refused by the protocol.

The log keeps smallest and largest values of columns for good, also of rows that are deleted later; so the log is told
how many rows a file has and no values at all.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from uuid import uuid4

from engine.errors import TamisError
from engine.formats.failures import give_up, store_errors
from engine.formats.part import Part, check_columns, check_types, copy_checked
from engine.remote.stores import open_store
from engine.tables import disk, effects
from engine.tables.manifest import FileRecord

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable
    from deltalake import Schema as DeltaSchema
    from deltalake.transaction import AddAction

ATTEMPTS = 20
_PAUSE = 0.05
_VERSION = re.compile(r"(\d{20})\.")


@dataclass(frozen=True)
class DeltaTables:
    """The Delta tables below one folder or prefix.

    Attributes:
        url: The folder, or `s3://…`, `gs://…`, `az://…`; credentials come from the usual environment.
        keep_days: How long the log of a new table keeps entries that no version needs.
    """

    url: str
    keep_days: int

    def uri(self, table: str) -> str:
        """Where one table is."""
        return f"{self.url.rstrip('/')}/{table}"

    def open(self, table: str) -> DeltaTable | None:
        """The newest version of a table; None when there is none.

        Raises:
            TamisError: The store refuses, or cannot be reached.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        with self.errors():
            try:
                return DeltaTable(self.uri(table))
            except TableNotFoundError:
                return None

    def identity(self, table: str) -> str | None:
        """What a table is known by as long as it is not made anew; None when there is none."""
        opened = self.open(table)
        return None if opened is None else str(opened.metadata().id)

    def mark(self, table: str, as_of: date) -> int | None:
        """The mark of what a table holds of a date; None when nothing was ever committed for it."""
        opened = self.open(table)
        with self.errors():
            return None if opened is None else opened.transaction_version(_app_id(as_of))

    def rows(self, table: str, as_of: date) -> int:
        """The rows that a table has of a date."""
        opened = self.open(table)
        with self.errors():
            return 0 if opened is None else _rows(opened, as_of)

    def commit(self, part: Part) -> int | None:
        """Let a part take the place of its date, in one commit; nothing happens when it is there already.

        Returns:
            The version of the table that has it.

        Raises:
            ConfigError: The type of a column has changed.
            IntegrityError: A published file is not what its manifest says.
            ConflictError: Other writers were faster each time.
            TamisError: The store refuses, or cannot be reached.
        """
        from deltalake.exceptions import CommitFailedError

        added: list[AddAction] | None = None
        for attempt in range(ATTEMPTS):
            table = self.open(part.table)
            if table is None:
                if part.record is None:
                    return None
                self._create(part)
                continue
            with self.errors():
                is_marked = table.transaction_version(_app_id(part.as_of)) == part.mark
                if is_marked and _rows(table, part.as_of) == part.rows:
                    self.discard(part.table, added or [])
                    return int(table.version())
                schema = _merged(table, part)
                if added is None:
                    added = self._copy(part)
                try:
                    _write(table, part, added, schema)
                except CommitFailedError:
                    time.sleep(_PAUSE * (attempt + 1))
                    continue
                before = table.version()
                table.update_incremental()
            self.sync_log(table, since=before)
            return int(table.version())
        raise give_up(part.table, ATTEMPTS)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """As `store_errors`, with what deltalake raises."""
        from deltalake.exceptions import DeltaError

        with store_errors(self.url, DeltaError):
            yield

    def local(self, table: str) -> Path | None:
        """The folder of a table on a file system; None in an object store."""
        return None if "://" in self.url else Path(self.uri(table))

    def _create(self, part: Part) -> None:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        _check_types(part)
        folder = self.local(part.table)
        if folder is not None:
            disk.make_folder(folder)
        with self.errors():
            try:
                made = DeltaTable.create(
                    self.uri(part.table),
                    part.schema(),
                    partition_by=list(part.partition_by),
                    description=f"Published by Tamis: {part.table}, one partition per as_of.",
                    configuration={
                        "delta.dataSkippingNumIndexedCols": "0",
                        "delta.logRetentionDuration": f"interval {max(self.keep_days, 1)} days",
                        "delta.deletedFileRetentionDuration": f"interval {max(self.keep_days, 1)} days",
                    },
                )
            except DeltaError:
                # Another writer has just made it.
                if self.open(part.table) is None:
                    raise
                return
        self.sync_log(made, since=-1)

    def _copy(self, part: Part) -> list[AddAction]:
        from deltalake.transaction import AddAction

        actions = []
        for file in part.files:
            path = _new_path(file)
            self.put(part.table, path, partial(copy_checked, part, file))
            actions.append(
                AddAction(
                    path=path,
                    size=file.bytes,
                    partition_values=part.values(file),
                    modification_time=int(time.time() * 1000),
                    data_change=True,
                    stats=json.dumps({"numRecords": file.rows}),
                )
            )
        return actions

    def put(self, table: str, path: str, write: Callable[[BinaryIO], None]) -> None:
        """Write a new file below a table, on stable storage; it is in no version yet."""
        folder = self.local(table)
        if folder is None:
            store, root = open_store(self.uri(table))
            with store.open_output_stream(f"{root}/{path}") as stream:
                write(cast("BinaryIO", stream))
            return
        target = folder / path
        disk.make_folder(target.parent)
        with disk.storage_errors(target.parent), effects.create(target) as handle:
            write(handle)
            disk.sync_file(handle, target)
        disk.sync_folder(target.parent)

    def discard(self, table: str, added: list[AddAction]) -> None:
        """Remove files that came to no commit."""
        folder = self.local(table)
        for action in added:
            # A file that stays behind is in no version: `vacuum` removes it.
            with suppress(OSError, TamisError):
                if folder is None:
                    store, root = open_store(self.uri(table))
                    store.delete_file(f"{root}/{action.path}")
                else:
                    disk.remove_file(folder / action.path)

    def sync_log(self, table: DeltaTable, since: int) -> None:
        """The log after a version is on stable storage; an object store keeps what it has answered for."""
        folder = self.local(table_name(table))
        if folder is None:
            return
        log = folder / "_delta_log"
        for entry in disk.list_folder(log):
            version = _VERSION.match(entry.name)
            # Checkpoints are made by the commits of some versions, too.
            if entry.name == "_last_checkpoint" or (version is not None and int(version[1]) > since):
                _sync_written(entry)
        disk.sync_folder(log)

    @contextmanager
    def keeping(self, table: str) -> Iterator[None]:
        """What deltalake writes inside is on stable storage afterwards: it syncs nothing by itself."""
        folder = self.local(table)
        before = {} if folder is None else disk.list_files(folder)
        yield
        if folder is None:
            return
        written = [folder / name for name in disk.list_files(folder) if name not in before]
        for path in written:
            _sync_written(path)
        for parent in sorted({path.parent for path in written}):
            disk.sync_folder(parent)

    def checkpoint(self, table: DeltaTable) -> None:
        """A checkpoint of the newest version, on stable storage: the log that it stands for may go."""
        table.create_checkpoint()
        self.sync_log(table, since=int(table.version()) - 1)


def _sync_written(path: Path) -> None:
    """A file that a library wrote, if it is still there, is on stable storage; its name may not be."""
    with suppress(FileNotFoundError), path.open("rb") as handle:
        disk.sync_file(handle, path)


def table_name(table: DeltaTable) -> str:
    """Name of an opened table: the last part of where it is."""
    return PurePosixPath(table.table_uri.rstrip("/")).name


def _rows(table: DeltaTable, as_of: date) -> int:
    import pyarrow as pa

    actions = pa.table(table.get_add_actions(flatten=True))
    days, counts = actions["partition.as_of"].to_pylist(), actions["num_records"].to_pylist()
    return sum(rows or 0 for day, rows in zip(days, counts, strict=True) if str(day) == as_of.isoformat())


def _app_id(as_of: date) -> str:
    return f"tamis/as_of={as_of.isoformat()}"


def _new_path(file: FileRecord) -> str:
    # Below the same folders as published: some readers take partitions from paths.
    published = PurePosixPath(file.path)
    return new_name(str(PurePosixPath(*published.parts[1:-1]) / published.stem))


def new_name(stem: str) -> str:
    """A file name that no attempt had: what one left half-written is never taken for a file of another."""
    return f"{stem}-{uuid4().hex[:16]}.parquet"


def _check_types(part: Part) -> None:
    import pyarrow as pa

    check_columns(part, "Delta", pa.types.is_time, folds=True)


def _merged(table: DeltaTable, part: Part) -> DeltaSchema:
    from deltalake import Schema as DeltaSchema

    existing = table.schema()
    if part.record is None:
        return existing
    _check_types(part)
    given = DeltaSchema.from_arrow(part.schema())
    types = {field.name: field.type.to_json() for field in existing.fields}
    check_types(part, types, {field.name: field.type.to_json() for field in given.fields})
    return DeltaSchema([*existing.fields, *(field for field in given.fields if field.name not in types)])


def _write(table: DeltaTable, part: Part, added: list[AddAction], schema: DeltaSchema) -> None:
    table.create_write_transaction(
        list(added),
        "overwrite",
        schema,
        partition_by=list(table.metadata().partition_columns),
        partition_filters=[("as_of", "=", part.as_of.isoformat())],
        commit_properties=_properties(part),
    )


def _properties(part: Part) -> CommitProperties:
    from deltalake import CommitProperties, Transaction

    about: dict[str, Any] = {"tamis.run_id": part.run_id, "tamis.as_of": part.as_of.isoformat()}
    return CommitProperties(custom_metadata=about, app_transactions=[Transaction(_app_id(part.as_of), part.mark)])
