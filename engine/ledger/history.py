"""Since when and until when users were in segments: slowly changing dimensions of type 2 (Kimball), over all dates."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.tables.layout import manifest_path
from engine.tables.manifest import Manifest, read_manifest
from engine.why.published import open_published, published_dates

INTERVALS: Final = ("user_id", "segment", "group", "valid_from", "valid_to", "rule_version")
"""Columns of `membership_intervals`."""


def membership_intervals(out: Path, as_of: date, segment: str | None = None) -> pl.LazyFrame:
    """The intervals of membership as they are known on a published date.

    Args:
        out: The output root.
        as_of: A published date; intervals that end after it are open.
        segment: Only those of one segment.

    Returns:
        One row per user, segment and interval `[valid_from, valid_to)`, sorted by the first two and `valid_from`:
        `user_id`, `segment`, `group`, `valid_from`, `valid_to` (null while it is open), `rule_version` (the last one).
        Between two published dates nobody looked: `valid_to` is the first date on which the user was no longer in it.

    Raises:
        ConfigError: Nothing is published for the date, or it has no ledger.
        IntegrityError: A manifest is damaged.
    """
    latest = open_published(out, as_of, ("memberships",)).manifest
    earlier = (read_manifest(manifest_path(out, day)) for day in published_dates(out) if day < as_of)
    ended = [path for manifest in (*earlier, latest) for path in _files(manifest, out, "membership_history")]
    still = pl.scan_parquet(_files(latest, out, "memberships"), glob=False, hive_partitioning=False).select(
        "user_id",
        "segment",
        "group",
        pl.col("entered_on").alias("valid_from"),
        pl.lit(None, pl.Date).alias("valid_to"),
        "rule_version",
    )
    frames = [still]
    if ended:
        frames.append(pl.scan_parquet(ended, glob=False, hive_partitioning=False).select(INTERVALS))
    rows = pl.concat(frames)
    if segment is not None:
        rows = rows.filter(pl.col("segment") == segment)
    return rows.sort("user_id", "segment", "valid_from")


def _files(manifest: Manifest, out: Path, name: str) -> list[Path]:
    table = next((table for table in manifest.tables if table.name == name), None)
    return [] if table is None else [out / record.path for record in table.records]
