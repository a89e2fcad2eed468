"""The tables behind the figures of a report as files, for those who draw their own: Parquet and CSV.

They hold what the page shows and no more: small cells are hidden in them as they are on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.exports.cells import as_text, csv_lines, is_exportable, is_text, without_formula
from engine.reporting.model import Figure, Report
from engine.tables.durable import durable_parquet_at, durable_text


@dataclass(frozen=True)
class WrittenTable:
    """One table: the files of it, and its rows."""

    parquet: Path
    csv: Path
    rows: int


def write_tables(report: Report, folder: Path) -> Mapping[str, WrittenTable]:
    """Write the table of every figure as `<key>.parquet` and `<key>.csv`, in place of what is there.

    The CSV is UTF-8 with commas; text that a spreadsheet would compute has an apostrophe in front.

    Args:
        report: The report.
        folder: Made when it is not there.

    Returns:
        What was written, by the keys of the figures, in the order of the report.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing.
    """
    return {figure.key: _write(figure, folder) for figure in figures_of(report)}


def figures_of(report: Report) -> Iterable[Figure]:
    """All figures of a report, in the order of the page."""
    return (figure for section in report.sections for figure in section.figures)


def shown_table(figure: Figure) -> pl.DataFrame:
    """The columns that a figure's page shows; lists as text."""
    columns = list(dict.fromkeys(field.column for field in figure.fields))
    table = figure.table.select(columns)
    lists = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.List)]
    return table.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(", ") for name in lists)


def csv_text(table: pl.DataFrame) -> str:
    """A table as CSV (RFC 4180) with a header."""
    cells = []
    for name, dtype in table.schema.items():
        text = as_text(name, dtype) if is_exportable(dtype) else pl.col(name).cast(pl.String)
        cells.append((without_formula(text) if is_text(dtype) else text).cast(pl.String).alias(name))
    lines = csv_lines(table.select(cells), ",")
    return "".join(f"{line}\n" for line in [",".join(table.columns), *lines])


def _write(figure: Figure, folder: Path) -> WrittenTable:
    table = shown_table(figure)
    files = WrittenTable(folder / f"{figure.key}.parquet", folder / f"{figure.key}.csv", table.height)
    durable_parquet_at(table, files.parquet)
    durable_text(csv_text(table), files.csv)
    return files
