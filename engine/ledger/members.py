"""The table `memberships`: who is in which segment, since when, and in which segment of the group before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl


@dataclass(frozen=True)
class Stamp:
    """What every row of a run carries: its date and its id."""

    as_of: date
    run_id: str


def memberships(sets: pl.DataFrame, before: pl.DataFrame, versions: pl.DataFrame, stamp: Stamp) -> pl.DataFrame:
    """Memberships of a date from its sets and the memberships of the date before.

    Args:
        sets: Who is in which segment now: `user_id`, `segment`, `group` (null: a tag); a user is in one segment of a
            group at most.
        before: The memberships of the date before, as `engine.ledger.previous.previous_members` gives them; without
            rows on the first date.
        versions: `segment` and `rule_version` of every segment that is defined now.
        stamp: Date and run.

    Returns:
        One row per user and segment, sorted by both: `user_id`, `segment`, `group`, `entered_on` (the date of the first
        of the unbroken runs that saw the user in it), `days_in` (days from then to `as_of`), `previous_segment` (of the
        group: what the user was in when they entered; null for tags and where there was none), `rule_version` (now),
        `run_id`.
    """
    kept = before.select("user_id", "segment", "entered_on", kept="previous_segment", was_in_group="group")
    stays = pl.col("entered_on").is_not_null() & pl.col("group").eq_missing(pl.col("was_in_group"))
    return (
        sets.select("user_id", "segment", "group")
        .join(kept, on=["user_id", "segment"], how="left")
        .join(in_groups(before, "came_from"), on=["user_id", "group"], how="left")
        .join(versions.select("segment", "rule_version"), on="segment", how="left")
        .with_columns(
            entered_on=pl.col("entered_on").fill_null(stamp.as_of),
            previous_segment=pl.when(stays).then("kept").otherwise("came_from"),
            run_id=pl.lit(stamp.run_id),
        )
        .select(
            "user_id",
            "segment",
            "group",
            "entered_on",
            (pl.lit(stamp.as_of) - pl.col("entered_on")).dt.total_days().cast(pl.Int32).alias("days_in"),
            "previous_segment",
            "rule_version",
            "run_id",
        )
        .sort("user_id", "segment")
    )


def in_groups(members: pl.DataFrame, name: str) -> pl.DataFrame:
    """Which segment of each group users are in: `user_id`, `group` and the segment under `name`; tags are left out."""
    return members.filter(pl.col("group").is_not_null()).select("user_id", "group", pl.col("segment").alias(name))
