"""Drift of a whole score run: the counts of its buckets together, compared with the fit, as the table `drift`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from engine.propensity.drift import Counts, Reference, add
from engine.propensity.psi import psi_table
from engine.tables.durable import durable_parquet
from engine.tables.layout import table_folder
from engine.tables.manifest import FileRecord

if TYPE_CHECKING:
    import polars as pl


def compare(reference: Reference | None, buckets: Iterable[Counts | None]) -> pl.DataFrame | None:
    """The users of all buckets beside the users of the fit; None when the bundle has nothing to compare with.

    Args:
        reference: The bundle's.
        buckets: `ScoreRecord.drift` of every bucket.

    Returns:
        What `engine.propensity.psi.psi_table` gives: one row per feature and score, the greatest PSI first.
    """
    counts = [bucket for bucket in buckets if bucket is not None]
    if reference is None or not counts:
        return None
    return psi_table(reference, reduce(add, counts))


def stage_drift(table: pl.DataFrame | None, staging: Path, as_of: date, mark: str) -> tuple[FileRecord, ...]:
    """The table `drift` as a staged file; none without rows.

    Args:
        table: What `compare` gave.
        staging: Work folder of the run.
        as_of: Day of the run.
        mark: Part of every file name of the run.

    Raises:
        ResourceError: The disk is full or failing.
    """
    if table is None or table.is_empty():
        return ()
    return (durable_parquet(table, table_folder(staging, "drift", as_of), f"part-00000-{mark}", root=staging),)
