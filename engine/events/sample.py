"""Some rows of an unknown event log, to guess from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.errors import ConfigError, DataError
from engine.events.files import find_files, hive_values
from engine.events.probe import read_footers

_FILES = 5
_ROWS_PER_FILE = 24_000


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
        ConfigError: No file matches, or the files have different columns.
        DataError: A file cannot be read, or the log has no rows.
    """
    files = _find(path)
    footers = read_footers(files)
    bad = [footer for footer in footers if footer.problem]
    if bad:
        raise DataError(
            "\n".join(f"{footer.file}: {footer.problem}" for footer in bad[:20]),
            code="input-unreadable",
            hint="Restore these files, or leave them out.",
        )
    filled = [(footer.file, footer.rows) for footer in footers if footer.rows]
    if not filled:
        raise DataError("the files have no rows", code="events-empty", hint="Name files that hold events.")
    step = max(1, len(filled) // _FILES)
    taken = filled[::step][:_FILES]
    frames = [_some_rows(file, rows) for file, rows in taken]
    try:
        rows = pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise different_files([(file, frame.schema) for (file, _), frame in zip(taken, frames, strict=True)]) from error
    return Sample(dict(frames[0].schema), rows, len(files), sum(footer.rows for footer in footers))


def different_files(files: Sequence[tuple[Path, Mapping[str, pl.DataType]]]) -> ConfigError:
    """The error for files that no single mapping fits, from the columns of some of them that not all have."""
    lines = []
    for file, schema in files:
        others = [other for name, other in files if name != file]
        own = [
            f"{column} ({dtype})" if any(column in other for other in others) else column
            for column, dtype in schema.items()
            if any(other.get(column) != dtype for other in others)
        ]
        lines.append(f"  {file}: {', '.join(own[:20]) or 'no others'}")
    return ConfigError(
        "\n".join(["these files have different columns:", *lines]),
        code="init-different-files",
        hint="Run `tamis init` for each kind of file (-o names the file to write), then put their [[sources]] side by "
        "side in one file.",
    )


def _find(path: str | tuple[str, ...]) -> tuple[Path, ...]:
    owner = "init"
    try:
        return find_files(owner, path)
    except ConfigError as error:
        missing = error.code == "input-no-files"
        hint = "Paths are relative to the working directory; a folder stands for all *.parquet files below it."
        message = error.message.removeprefix(f"source {owner!r}: ")
        raise ConfigError(message, code=error.code, hint=hint if missing else error.hint) from error


def _some_rows(file: Path, rows: int) -> pl.DataFrame:
    """The first rows of a file, some of its middle and the last ones: the lines of an order stand together."""
    try:
        frame = pl.scan_parquet(file, glob=False, hive_partitioning=False)
        length = _ROWS_PER_FILE // 3
        starts = (0, (rows - length) // 2, rows - length) if rows > _ROWS_PER_FILE else None
        parts = [frame] if starts is None else [frame.slice(start, length) for start in starts]
        taken = pl.concat(pl.collect_all(parts))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        message = f"{file}: cannot be read ({type(error).__name__})"
        raise DataError(message, code="input-unreadable", hint="Restore this file, or leave it out.") from error
    keys = {key: value for key, value in hive_values(file).items() if key not in taken.columns}
    return taken.with_columns(pl.lit(value, pl.String).alias(key) for key, value in keys.items())
