"""What happened to segments between two published dates: who came, who went, who stayed, and where from and to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.config_segments import PRIMARY
from engine.errors import ConfigError
from engine.ledger.changes import ENTER, EXIT
from engine.ledger.members import in_groups
from engine.ledger.previous import Previous, has_ledger, previous_of
from engine.rollups.ranges import KeyRange, key_ranges
from engine.suggest import did_you_mean, some_of
from engine.why.published import Published, open_published

SEGMENTS: Final = pl.Schema(
    {
        "segment": pl.String,
        "group": pl.String,
        "users_before": pl.Int64,
        "entries": pl.Int64,
        "exits": pl.Int64,
        "stays": pl.Int64,
        "users_after": pl.Int64,
        "rule_version_before": pl.String,
        "rule_version_after": pl.String,
    }
)
"""Columns of `Diff.segments`."""

MOVES: Final = pl.Schema({"from_segment": pl.String, "to_segment": pl.String, "users": pl.Int64})
"""Columns of `Diff.moves`."""


@dataclass(frozen=True, eq=False)
class Diff:
    """Two dates side by side.

    Attributes:
        before, after: The dates.
        group: The group of the moves.
        segments: One row per segment that either date defines, sorted by name; see `SEGMENTS`. `users_before` +
            `entries` − `exits` = `users_after`. A rule version is null where the segment was not defined.
        moves: Users by segment of the group before and after, sorted; null stands for none of its segments, or for a
            user who was not there. See `MOVES`.
        users: One row per user and segment entered or left, sorted by both: `user_id`, `segment`, `group`, `change`
            ("enter" or "exit"), `other` (of the same group: where from, or where to); None when it was not asked for.
    """

    before: date
    after: date
    group: str
    segments: pl.DataFrame
    moves: pl.DataFrame
    users: pl.DataFrame | None


def diff_dates(
    out: Path,
    before: date,
    after: date,
    *,
    segment: str | None = None,
    group: str | None = None,
    with_users: bool = False,
) -> Diff:
    """Compare the memberships published for two dates; whatever was published between them plays no part.

    Users are compared range by range of their keys: memory does not grow with their number, unless they are listed.

    Args:
        out: The output root.
        before, after: The dates.
        segment: Only this segment, and moves from and to it.
        group: Only segments of this group, and its moves; without it, those of the primary group (or of the segment).
        with_users: Whether to list the users.

    Raises:
        ConfigError: A date that is not published or has no ledger, dates in the wrong order, a segment or group of
            neither date.
        IntegrityError: Published files are missing or were changed.
    """
    if before >= after:
        raise ConfigError(
            f"expected the earlier date first, got {before} and {after}",
            code="diff-dates",
            hint=f"Write `tamis diff {after} {before}`." if before > after else "Name two different dates.",
        )
    dates = [open_published(out, day, ("memberships", "segment_definitions")) for day in (before, after)]
    defined = _defined(*dates)
    _check_names(defined, segment, group)
    chosen = defined
    if segment is not None:
        chosen = chosen.filter(pl.col("segment") == segment)
    if group is not None:
        chosen = chosen.filter(pl.col("group") == group)
    of_the_segment = chosen["group"][0] if segment is not None else None
    moved_in = group or of_the_segment or PRIMARY
    sides = [_opened(published) for published in dates]
    counts, moves, users = [], [], []
    for keys in _ranges(sides):
        was, now = (_members(side, keys) for side in sides)
        pairs = _pairs(was, now).join(chosen.select("segment"), on="segment", how="semi")
        counts.append(_counts(pairs))
        moves.append(_moves(was, now, moved_in))
        if with_users:
            users.append(_changes(pairs, was, now))
    found = pl.concat(moves).group_by("from_segment", "to_segment").agg(pl.col("users").sum())
    if segment is not None:
        found = found.filter(pl.any_horizontal(pl.col("from_segment", "to_segment").eq_missing(segment)))
    sizes = pl.concat(counts).group_by("segment").agg(pl.col("users_before", "users_after", "stays").sum())
    return Diff(
        before,
        after,
        moved_in,
        _segments(chosen, sizes),
        found.sort("from_segment", "to_segment", nulls_last=True).cast(MOVES),
        pl.concat(users).sort("user_id", "segment") if users else None,
    )


def _defined(before: Published, after: Published) -> pl.DataFrame:
    columns = ["segment", "group", "rule_version"]
    was, now = (published.read("segment_definitions", columns) for published in (before, after))
    joined = was.join(now, on="segment", how="full", coalesce=True, suffix="_after")
    is_defined = pl.col("rule_version_after").is_not_null()
    return joined.select(
        "segment",
        group=pl.when(is_defined).then("group_after").otherwise("group"),
        rule_version_before="rule_version",
        rule_version_after="rule_version_after",
    ).sort("segment")


def _check_names(defined: pl.DataFrame, segment: str | None, group: str | None) -> None:
    names = defined["segment"].to_list()
    groups = defined["group"].drop_nulls().unique().sort().to_list()
    if segment is not None and segment not in names:
        raise ConfigError(
            f"no segment {segment!r} on either date{did_you_mean(segment, names)}",
            code="segment-unknown",
            hint=f"Segments: {some_of(names, command='tamis segments list')}."
            if names
            else "The dates were scored without segments.",
        )
    if group is not None and group not in groups:
        raise ConfigError(
            f"no group {group!r} on either date{did_you_mean(group, groups)}",
            code="segment-group-unknown",
            hint=f"Groups: {some_of(groups)}." if groups else "All segments of both dates are tags.",
        )


def _opened(published: Published) -> Previous:
    if not has_ledger(published.manifest):
        raise ConfigError(
            f"the memberships published for {published.as_of} are of another version of Tamis",
            code="not-published",
            hint=f"Run `tamis score --as-of {published.as_of}` again.",
        )
    return previous_of(published.manifest, published.out)


def _ranges(sides: Sequence[Previous]) -> list[KeyRange]:
    # A user whose key was changed may lie in files of different ranges on the two dates.
    return key_ranges(1 if any(side.scattered for side in sides) else min(side.buckets for side in sides))


def _members(side: Previous, keys: KeyRange) -> pl.DataFrame:
    near, columns = side.near(keys).paths("memberships"), ["user_id", "segment", "group"]
    # Without a file in the range, the types of another one and none of its rows.
    rows = pl.read_parquet(near or side.paths("memberships")[:1], columns=columns, glob=False, hive_partitioning=False)
    return rows if near else rows.clear()


def _pairs(was: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    on = ["user_id", "segment"]
    sides = was.with_columns(was=pl.lit(True)), now.with_columns(now=pl.lit(True))
    joined = sides[0].join(sides[1], on=on, how="full", coalesce=True)
    group = pl.when(pl.col("now").is_null()).then("group").otherwise("group_right")
    return joined.select(*on, group.alias("group"), pl.col("was", "now").fill_null(False))


def _counts(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.group_by("segment").agg(
        users_before=pl.col("was").sum().cast(pl.Int64),
        users_after=pl.col("now").sum().cast(pl.Int64),
        stays=(pl.col("was") & pl.col("now")).sum().cast(pl.Int64),
    )


def _moves(was: pl.DataFrame, now: pl.DataFrame, group: str) -> pl.DataFrame:
    old, new = (side.filter(pl.col("group") == group) for side in (was, now))
    joined = old.select("user_id", from_segment="segment").join(
        new.select("user_id", to_segment="segment"), on="user_id", how="full", coalesce=True
    )
    return joined.group_by("from_segment", "to_segment").agg(users=pl.len().cast(pl.Int64))


def _changes(pairs: pl.DataFrame, was: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    changed, on = pairs.filter(pl.col("was") != pl.col("now")), ["user_id", "group"]
    return (
        changed.join(in_groups(was, "came_from"), on=on, how="left")
        .join(in_groups(now, "went_to"), on=on, how="left")
        .select(
            "user_id",
            "segment",
            "group",
            change=pl.when("now").then(pl.lit(ENTER)).otherwise(pl.lit(EXIT)),
            other=pl.when("now").then("came_from").otherwise("went_to"),
        )
    )


def _segments(chosen: pl.DataFrame, sizes: pl.DataFrame) -> pl.DataFrame:
    return (
        chosen.join(sizes, on="segment", how="left")
        .with_columns(pl.col("users_before", "users_after", "stays").fill_null(0))
        .with_columns(entries=pl.col("users_after") - pl.col("stays"), exits=pl.col("users_before") - pl.col("stays"))
        .select(SEGMENTS.names())
        .sort("segment")
    )
