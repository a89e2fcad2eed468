"""The form of a published Parquet file: what its row groups, pages, statistics and names of types look like.

Arrow writes it, not Polars: Polars writes no checksums of pages, and nine of ten flipped bits in a data page are read
as other values without them. Row groups have about 250,000 rows, and more where the rows are narrow: BigQuery asks for
16 MiB each, DuckDB for 100,000 to 1,000,000 rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import polars as pl

from engine.tables.published_types import published_schema

ZSTD_LEVEL: Final = 1
LEAST_GROUP_ROWS = 250_000
MOST_GROUP_ROWS = 1_000_000
GROUP_BYTES = 64 * 2**20
"""Of a row group in memory; compressed it is about a quarter."""

_SAMPLE_ROWS: Final = 8_192
_MOST_DISTINCT: Final = 0.9
"""Of the rows of a sample: below it a column has less than about 40,000 values, as many as a dictionary is good for."""

_WIDTHS = {pl.Boolean: 1, pl.Int32: 4, pl.Date: 4, pl.Float32: 4}
_OTHER_WIDTH = 8


class Sink(Protocol):
    """Where the bytes go: what Arrow asks of a file that is only written to."""

    @property
    def closed(self) -> bool: ...

    def write(self, data: bytes) -> int: ...

    def tell(self) -> int: ...

    def flush(self) -> None: ...


def row_group_rows(frame: pl.DataFrame) -> int:
    """Rows of a row group of a table with rows like these: 250,000, or more when they are narrow.

    It follows from the values alone, not from how they lie in memory.
    """
    if not frame.height:
        return LEAST_GROUP_ROWS
    width = 0
    for column in frame.iter_columns():
        text = column.dtype == pl.String
        width += int(column.str.len_bytes().sum() or 0) // frame.height if text else _width(column.dtype)
    return min(max(GROUP_BYTES // max(width, 1), LEAST_GROUP_ROWS), MOST_GROUP_ROWS)


def write_row_groups(groups: Iterable[pl.DataFrame], schema: pl.Schema, sink: Sink) -> int:
    """Write frames, each as one row group, and return their rows; the same frames give the same bytes.

    zstd, statistics, a CRC-32 per page, dictionaries for columns whose values repeat. The footer says nothing about
    Arrow or pandas: every reader sees the types of Parquet itself.

    Args:
        groups: Frames with the columns and types of `schema`, which are those that are published; a column of texts may
            be an Enum of at most 255, in each group of another, and is written as fast as numbers then.
        schema: Columns and types, for a file without rows too.
        sink: The file.

    Raises:
        ValueError: A type that is not published; see `engine.tables.published_types`.
    """
    from pyarrow.parquet import ParquetWriter

    if schema != pl.Schema(published_schema(schema)):
        message = f"types that are not published in {schema}"
        raise ValueError(message)
    empty = pl.DataFrame(schema=schema)
    # An empty group would be one more row group that readers open.
    filled = (group for group in groups if group.height)
    group = next(filled, None)
    rows = 0
    with ParquetWriter(
        sink,
        _arrow(empty if group is None else group).schema,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=_repeating(empty if group is None else group),
        write_statistics=True,
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        while group is not None:
            writer.write_table(_arrow(group), row_group_size=group.height)
            rows += group.height
            # Two groups are never in memory at once.
            group = None
            group = next(filled, None)
    return rows


def _repeating(group: pl.DataFrame) -> list[str]:
    """Columns whose values repeat: a dictionary leaves fewer bytes to compress, of others it is made to be given up."""
    flat = [name for name, dtype in group.schema.items() if not dtype.is_nested() and name != "user_id"]
    # Rows from all over the group: neighbours of a sorted table are alike.
    sample = group.select(flat).gather_every(max(1, group.height // _SAMPLE_ROWS))
    return [column.name for column in sample.iter_columns() if column.n_unique() <= _MOST_DISTINCT * sample.height]


def _arrow(frame: pl.DataFrame):  # type: ignore[no-untyped-def]  # noqa: ANN202
    # Chunks and their borders would show in the file. Views of strings are not known to every writer.
    return frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())


def _width(dtype: pl.DataType) -> int:
    return _WIDTHS.get(dtype.base_type(), _OTHER_WIDTH)
