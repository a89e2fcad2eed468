"""Write the files that tasks hand to later tasks: whole or not at all, and whole again when a task runs twice."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from engine.system_errors import system_error
from engine.tables import disk

ROW_GROUP_ROWS: Final = 64_000
"""Rows that a reader of a range of users decodes at the least."""


def write_part(frame: pl.DataFrame, path: Path | str) -> None:
    """Write `frame` to `path` in one instant, in place of what is there; nothing is synced.

    An attempt that a cluster gave up for lost may still be alive: it replaces the file by one with the same rows, and
    a reader that has the first one open keeps it.

    Raises:
        ConfigError: The folder cannot be written to.
        ResourceError: The disk is full or failing. Nothing is left behind.
        TransientError: The storage does not answer.
    """
    target = Path(path)
    with disk.replacing(target) as handle:
        try:
            frame.write_parquet(handle, compression="lz4", row_group_size=ROW_GROUP_ROWS)
        except pl.exceptions.PolarsError as error:
            raise system_error(error) or error from error
