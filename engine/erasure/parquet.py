"""Rows of people in Parquet files: found by statistics, read and left out row group by row group."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from engine.errors import IntegrityError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile


def rows_held(path: Path, column: str, values: pl.Series) -> pl.DataFrame:
    """The rows of a file whose column is one of some values, with all columns.

    Args:
        path: The file.
        column: Integers or text.
        values: Sorted, of the type of the column.
    """
    with _opened(path) as file:
        parts = [_rows(file, [group]) for group in _holding(file, column, values)]
        empty = pl.DataFrame(file.schema_arrow.empty_table())
    return pl.concat([empty, *(part.filter(_is_held(part, column, values)) for part in parts)], how="vertical_relaxed")


def is_held(path: Path, column: str, values: pl.Series) -> bool:
    """Whether a file has such a row; nothing but the column is read, of the row groups that can have one."""
    return held_count(path, column, values) > 0


def held_count(path: Path, column: str, values: pl.Series) -> int:
    """How many such rows a file has."""
    with _opened(path) as file:
        parts = (_rows(file, [group], [column]) for group in _holding(file, column, values))
        return sum(int(_is_held(part, column, values).sum()) for part in parts)


def other_groups(path: Path, column: str, values: pl.Series) -> Iterator[pl.DataFrame]:
    """The row groups of a file without such rows."""
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            part = _rows(file, [group])
            yield part.filter(~_is_held(part, column, values))


def groups_of(path: Path) -> Iterator[pl.DataFrame]:
    """The row groups of a file; one without rows where it has none."""
    with _opened(path) as file:
        if not file.num_row_groups:
            yield pl.DataFrame(file.schema_arrow.empty_table())
        for group in range(file.num_row_groups):
            yield _rows(file, [group])


def text_groups(path: Path, leave_out: Collection[str]) -> Iterator[pl.DataFrame]:
    """The columns of text of a file, row group by row group, without some of them; nothing where it has no others."""
    with _opened(path) as file:
        texts = [
            name for name, dtype in pl.DataFrame(file.schema_arrow.empty_table()).schema.items() if dtype == pl.String
        ]
        columns = [name for name in texts if name not in leave_out]
        for group in range(file.num_row_groups if columns else 0):
            yield _rows(file, [group], columns)


@contextmanager
def _opened(path: Path) -> Iterator[ParquetFile]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            yield file
    except (ArrowException, OSError) as error:
        raise IntegrityError(
            f"{path} cannot be read, so whether it holds somebody is not known ({type(error).__name__})",
            code="erasure-unreadable",
            hint="`tamis verify` says what is damaged and what to do; then erase again, which goes on from here.",
        ) from error


def _is_held(part: pl.DataFrame, column: str, values: pl.Series) -> pl.Series:
    return part[column].cast(values.dtype, strict=False).is_in(values.implode()).fill_null(value=False)


def _rows(file: ParquetFile, groups: list[int], columns: list[str] | None = None) -> pl.DataFrame:
    return pl.DataFrame(file.read_row_groups(groups, columns=columns))


def _holding(file: ParquetFile, column: str, values: pl.Series) -> list[int]:
    """The row groups that can have one of the values by their least and greatest one."""
    if column not in file.schema_arrow.names:
        return []
    place = file.schema_arrow.names.index(column)
    wanted = values.to_list()
    metadata = file.metadata
    nested = metadata.num_columns != len(file.schema_arrow.names)
    return [
        group
        for group in range(metadata.num_row_groups)
        if nested or _can_have(metadata.row_group(group).column(place).statistics, wanted)
    ]


def _can_have(statistics: Any, wanted: list[Any]) -> bool:
    if statistics is None or not statistics.has_min_max:
        return True
    least, greatest = statistics.min, statistics.max
    try:
        at = bisect_left(wanted, least)
        return at < len(wanted) and wanted[at] <= greatest
    except TypeError:
        return True
