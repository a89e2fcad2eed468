"""A table that a command was asked to write to a file: Parquet or CSV, by the file's ending."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

ToFile = Annotated[
    Path | None,
    typer.Option("--to", metavar="FILE", help="Also write the table to FILE: .parquet or .csv.", show_default=False),
]


def check_table_file(path: Path | None) -> None:
    """Stop before any work when a file of this name could not be written.

    Raises:
        ConfigError: The ending is of no kind of table, or there is no such folder.
    """
    if path is None:
        return
    if path.suffix.lower() not in {".parquet", ".csv"}:
        raise ConfigError(
            f"--to expects a file that ends in .parquet or .csv, got {str(path)!r}",
            code="to-ending",
            hint="The ending says what kind of file it is.",
        )
    if not path.absolute().parent.is_dir():
        raise ConfigError(
            f"the folder of {str(path)!r} does not exist", code="to-no-folder", hint="Make it, or name another file."
        )


def write_table(table: pl.DataFrame, path: Path | None) -> None:
    """Write a table to a file in place of what is there; nothing without a file.

    Raises:
        ResourceError: The disk is full or failing.
    """
    if path is None:
        return
    from engine.tables.durable import durable_parquet_at, durable_text

    if path.suffix.lower() == ".csv":
        durable_text(table.write_csv(), path)
    else:
        durable_parquet_at(table, path)
