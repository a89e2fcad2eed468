"""What a run has published, read with nothing but its manifest, and how two tables are compared."""

from __future__ import annotations

from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import polars as pl

from engine.tables.layout import manifest_path
from engine.tables.manifest import read_manifest


def published_tables(out: Path, *days: date) -> dict[str, pl.DataFrame]:
    """All rows of all tables of dates, of the files that the manifests name, with the columns that are folders."""
    found: dict[str, list[pl.DataFrame]] = {}
    for day in days:
        for table in read_manifest(manifest_path(out, day)).tables:
            for record in table.records:
                folders = [part.partition("=") for part in PurePosixPath(record.path).parts[2:-1]]
                keys = {key: pl.lit(unquote(value)) for key, _, value in folders}
                frame = pl.read_parquet(out / record.path, hive_partitioning=False)
                found.setdefault(table.name, []).append(frame.with_columns(as_of=pl.lit(day), **keys))
    return {name: pl.concat(frames, how="diagonal") for name, frames in found.items()}


def frame_of(arrow: Any) -> pl.DataFrame:
    """A table of Arrow in Polars."""
    frame = pl.from_arrow(arrow)
    assert isinstance(frame, pl.DataFrame)
    return frame


def ordered(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns by name, rows by all their values: two tables with the same rows are equal then."""
    frame = frame.select(sorted(frame.columns))
    rows = frame.rows()
    return frame[sorted(range(len(rows)), key=lambda place: repr(rows[place]))]
