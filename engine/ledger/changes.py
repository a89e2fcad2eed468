"""The tables `membership_changes` and `membership_history`: who entered, who left, and the intervals that ended."""

from __future__ import annotations

import polars as pl

from engine.ledger.members import Stamp, in_groups

ENTER = "enter"
EXIT = "exit"


def changes(now: pl.DataFrame, before: pl.DataFrame, stamp: Stamp) -> pl.DataFrame:
    """Entries and exits between two dates.

    Args:
        now: The table `memberships` of the later date; see `engine.ledger.members.memberships`.
        before: Memberships of the date before.
        stamp: The later date.

    Returns:
        One row per user, segment and change, sorted by user and segment: `user_id`, `segment`, `group`, `change`
        ("enter" or "exit"), `previous_segment` (of the group: what the user was in before `segment`), `rule_version`
        (of an exit: under which the user was last a member), `run_id`, and `other`: of an entry the segment of the
        group that the user was in before, of an exit the one that the user is in now.
    """
    both = ["user_id", "segment"]
    columns = [*both, "group", "previous_segment", "rule_version"]
    entered = now.join(before, on=both, how="anti").select(columns)
    left = before.join(now, on=both, how="anti").select(columns)
    parts = (
        (entered, ENTER, in_groups(before, "other")),
        (left, EXIT, in_groups(now, "other")),
    )
    return pl.concat(
        [
            rows.join(others, on=["user_id", "group"], how="left").with_columns(
                change=pl.lit(change), run_id=pl.lit(stamp.run_id)
            )
            for rows, change, others in parts
        ]
    ).sort(both)


def ended(now: pl.DataFrame, before: pl.DataFrame, stamp: Stamp) -> pl.DataFrame:
    """The intervals of membership that ended at a date; arguments as for `changes`.

    Returns:
        One row per user and segment, sorted by both: `user_id`, `segment`, `group`, `valid_from` (first day in it),
        `valid_to` (first day no longer in it: the date), `rule_version` (the last one).
    """
    return (
        before.join(now, on=["user_id", "segment"], how="anti")
        .select(
            "user_id",
            "segment",
            "group",
            valid_from="entered_on",
            valid_to=pl.lit(stamp.as_of),
            rule_version="rule_version",
        )
        .sort("user_id", "segment")
    )
