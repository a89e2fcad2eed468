"""The published tables of quality: the values of an earlier date, and of one date after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import polars as pl

from engine.quality.table import SCHEMA, Key, values
from engine.tables.layout import manifest_path
from engine.tables.manifest import read_manifest
from engine.why.published import published_dates

TABLE = "quality"
_ATTEMPTS = 5


def values_before(out: Path, as_of: date) -> dict[Key, float]:
    """The values of the latest published date before `as_of` that has the table; empty for the first one.

    Raises:
        IntegrityError: A manifest is damaged.
    """
    for day in reversed(published_dates(out)):
        if day < as_of:
            found = read_quality(out, day)
            if found is not None:
                return values(found)
    return {}


def read_quality(out: Path, day: date) -> pl.DataFrame | None:
    """The table of one date; None where nothing, or no such table, is published for it, or its files are gone.

    Raises:
        IntegrityError: The manifest is damaged.
    """
    for _ in range(_ATTEMPTS):
        try:
            manifest = read_manifest(manifest_path(out, day))
        except FileNotFoundError:
            return None
        files = [out / record.path for table in manifest.tables if table.name == TABLE for record in table.records]
        # A publish may move a file before it is read: its name is looked up again.
        with suppress(FileNotFoundError, pl.exceptions.ComputeError):
            table = pl.read_parquet(files, glob=False, hive_partitioning=False) if files else None
            return None if table is None else table.select(SCHEMA.names())
    return None


def over_dates(out: Path, last: date | None = None, most: int = 400) -> Iterator[tuple[date, pl.DataFrame]]:
    """The tables of published dates, ascending.

    Args:
        out: The output root.
        last: The last date that is wanted; all when None.
        most: How many dates, the last so many.

    Raises:
        IntegrityError: As `read_quality`.
    """
    days = [day for day in published_dates(out) if last is None or day <= last]
    for day in days[-most:]:
        found = read_quality(out, day)
        if found is not None:
            yield day, found
