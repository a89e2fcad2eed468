"""The rows of a published table as batches, from files whose checksum was compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import IntegrityError
from engine.warehouse.sql import known_as
from engine.warehouse.statements import Asked
from engine.warehouse.types import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 65_536
_AGAIN = "Run the same date again, then load it."


class Rows:
    """The rows of one table, to be read once.

    Each file is read into memory, its SHA-256 compared, and only then decoded: what is loaded is what was compared.

    Attributes:
        failure: What ended the reading early; libraries of other languages lose it.
        rows: Rows handed out so far.
    """

    def __init__(self, asked: Asked, out: Path) -> None:
        """Open nothing yet.

        Args:
            asked: The table; its dialect says what columns are called.
            out: The output root.
        """
        self._asked = asked
        self._out = out
        self.failure: BaseException | None = None
        self.rows = 0

    def reader(self) -> pa.RecordBatchReader:
        """The batches, with the columns of the table in their order."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self._schema(), self._guarded())

    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        asked = self._asked
        return pa.schema([(known_as(column.name, asked.dialect), arrow_type(column.type)) for column in asked.columns])

    def _guarded(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches()
            if self.rows != self._asked.record.rows:
                raise _changed(self._asked, f"{self._asked.record.rows} rows expected, {self.rows} found")
        except BaseException as error:
            self.failure = error
            raise

    def _batches(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        from pyarrow import parquet

        asked, schema = self._asked, self._schema()
        values = {part.folder: part.values for part in asked.parts}
        names = [column.name for column in asked.inner]
        for record in asked.record.records:
            data = self._read(record.path, record.sha256)
            keys = [
                pa.scalar(value, arrow_type(key.type))
                for key, value in zip(asked.keys, (asked.as_of, *values[record.path.rpartition("/")[0]]), strict=True)
            ]
            file = parquet.ParquetFile(pa.BufferReader(data))
            for batch in file.iter_batches(_BATCH_ROWS, columns=names):
                columns = [pa.repeat(key, batch.num_rows) for key in keys]
                columns += [batch.column(name) for name in names]
                self.rows += batch.num_rows
                yield pa.RecordBatch.from_arrays(
                    [column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
                )

    def _read(self, path: str, sha256: str) -> bytes:
        try:
            data = (self._out / path).read_bytes()
        except FileNotFoundError:
            again = "Load again if the date was being published just now; else run it again, then load it."
            raise _changed(self._asked, f"{path} is missing", again) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _changed(self._asked, f"{path}: the content differs from its SHA-256")
        return data


def _changed(asked: Asked, problem: str, remedy: str = _AGAIN) -> IntegrityError:
    return IntegrityError(
        f"table {asked.table.name} of {asked.as_of} does not match its manifest: {problem}",
        code="table-mismatch",
        hint=f"Nothing was loaded. {remedy}",
    )
