"""Some rows of an unknown event log, to guess from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.errors import DataError
from engine.events.files import find_files, hive_values
from engine.events.probe import read_footers

_FILES = 5
_ROWS_PER_FILE = 20_000


@dataclass(frozen=True)
class Sample:
    """The schema of a log's first file and some of its rows, from up to five files spread over the log."""

    schema: dict[str, pl.DataType]
    rows: pl.DataFrame
    files: int
    total_rows: int


def take_sample(path: str | tuple[str, ...]) -> Sample:
    """Look into the files of a log.

    Raises:
        ConfigError: No file matches.
        DataError: A file cannot be read, or the log has no rows.
    """
    files = find_files("init", path)
    footers = read_footers(files)
    bad = [footer for footer in footers if footer.problem]
    if bad:
        raise DataError(
            "\n".join(f"{footer.file}: {footer.problem}" for footer in bad[:20]),
            code="input-unreadable",
            hint="Restore these files, or leave them out.",
        )
    filled = [footer.file for footer in footers if footer.rows]
    if not filled:
        raise DataError("the files have no rows", code="events-empty", hint="Name files that hold events.")
    step = max(1, len(filled) // _FILES)
    frames = [_head(file) for file in filled[::step][:_FILES]]
    rows = pl.concat(frames, how="diagonal_relaxed")
    return Sample(dict(frames[0].schema), rows, len(files), sum(footer.rows for footer in footers))


def _head(file: Path) -> pl.DataFrame:
    try:
        frame = pl.scan_parquet(file, glob=False, hive_partitioning=False).head(_ROWS_PER_FILE).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        message = f"{file}: cannot be read ({type(error).__name__})"
        raise DataError(message, code="input-unreadable", hint="Restore this file, or leave it out.") from error
    keys = {key: value for key, value in hive_values(file).items() if key not in frame.columns}
    return frame.with_columns(pl.lit(value, pl.String).alias(key) for key, value in keys.items())
