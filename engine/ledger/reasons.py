"""Why somebody entered a segment or left it: one short English sentence per change, the same whenever it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

import polars as pl

from engine.ledger import causes
from engine.ledger.changes import ENTER
from engine.ledger.flips import Flips, joined

DEFINITION: Final[Mapping[str, pl.DataType]] = {
    "segment": pl.String(),
    "kind": pl.String(),
    "rule": pl.String(),
    "rule_version": pl.String(),
    "frozen_on": pl.Date(),
    "expires_on": pl.Date(),
}
"""Columns of the table `segment_definitions` that reasons are made of."""


def definition_frame(table: pl.DataFrame) -> pl.DataFrame:
    """The columns of `DEFINITION` of a table of definitions; those it lacks are null."""
    return table.select(
        (pl.col(name) if name in table.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in DEFINITION.items()
    )


def plain_reasons(
    changes: pl.DataFrame,
    definitions: tuple[pl.DataFrame | None, pl.DataFrame],
    users: tuple[pl.Series, pl.Series],
    days: tuple[date | None, date],
    gone: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Reasons that need no value of a user: runs, users, segments and lists that came, went or changed.

    Args:
        changes: As `engine.ledger.changes.changes` gives them.
        definitions: Of the date before (None on the first date) and of the date: the columns of `DEFINITION`.
        users: Of the users of the changes, those that were there on the date before, and on the date.
        days: The two dates; None on the first date.
        gone: `user_id` and `cause` of users who are gone because nothing may be computed of them; None without any.

    Returns:
        The changes in their order with `kind` (of the segment), `other_kind` (of the segment `other`), `rule`,
        `group_reason` (what the segment `other` has to do with it; null without one), `cause` (its kind; see
        `engine.ledger.causes`) and `reason`, the last two null where the rule or the scores must be looked at.
    """
    then, now = definitions
    before, as_of = days
    if then is None:
        nothing = {name: pl.lit(None, pl.String) for name in ("kind", "other_kind", "rule", "group_reason")}
        first = {"cause": pl.lit(causes.FIRST_RUN), "reason": pl.lit(causes.TEXTS[causes.FIRST_RUN])}
        return changes.with_columns(**nothing, **first)
    enters, kind = pl.col("change") == ENTER, pl.col("kind")
    version, was_version = pl.col("version"), pl.col("was_version")
    began, expired = pl.col("frozen_on") > before, pl.col("expires_on") <= as_of
    changed = (
        pl.when(kind == "list")
        .then(pl.lit(causes.LIST_CHANGED))
        .when(kind == "arm")
        .then(pl.lit(causes.EXPERIMENT_CHANGED))
        .otherwise(pl.lit(causes.RULE_CHANGED))
    )
    cause = (
        pl.when(enters & ~pl.col("user_id").is_in(users[0].implode()))
        .then(pl.lit(causes.NEW_USER))
        .when(~enters & ~pl.col("user_id").is_in(users[1].implode()))
        .then(pl.col("gone").fill_null(causes.USER_GONE))
        .when(enters & pl.col("was_kind").is_null())
        .then(pl.lit(causes.SEGMENT_NEW))
        .when(~enters & kind.is_null())
        .then(pl.lit(causes.SEGMENT_REMOVED))
        .when((kind == "list") & ~enters & expired)
        .then(pl.lit(causes.LIST_EXPIRED))
        .when((kind == "list") & enters & began)
        .then(pl.lit(causes.LIST_BEGINS))
        .when(was_version.ne_missing(version))
        .then(changed)
        .when((kind == "list") & pl.col("group_reason").is_not_null())
        .then(pl.lit(causes.OTHER_SEGMENT))
        .when(kind == "list")
        .then(pl.lit(causes.LIST_CHANGED))
        .when((kind == "arm") & pl.col("rule").is_null())
        .then(pl.lit(causes.EXPERIMENT_CHANGED))
        .otherwise(pl.lit(None, pl.String))
    )
    reason = (
        pl.when(pl.col("cause") == causes.RULE_CHANGED)
        .then(pl.format("rule changed: {} → {}", was_version.fill_null("none"), version.fill_null("none")))
        .when(pl.col("cause") == causes.OTHER_SEGMENT)
        .then("group_reason")
        .otherwise(pl.col("cause").replace_strict(causes.TEXTS, default=None, return_dtype=pl.String))
    )
    group_reason = (
        pl.when(enters).then(pl.format("no longer in {}", "other")).otherwise(pl.format("taken by {}", "other"))
    )
    nobody = pl.DataFrame(schema={"user_id": changes.schema["user_id"], "cause": pl.String})
    for_good = (nobody if gone is None else gone).select("user_id", gone="cause")
    joined = changes.join(for_good, on="user_id", how="left", maintain_order="left")
    for on, side in (
        ("segment", now.rename({"rule_version": "version"})),
        ("segment", then.select("segment", was_kind="kind", was_version="rule_version")),
        ("other", then.select(other="segment", other_was="kind")),
        ("other", now.select(other="segment", other_is="kind")),
    ):
        joined = joined.join(side, on=on, how="left", maintain_order="left")
    other_kind = pl.when(enters).then("other_was").otherwise("other_is")
    columns = [*changes.columns, "kind", "other_kind", "rule", "group_reason", "cause", "reason"]
    return (
        joined.with_columns(group_reason=group_reason, other_kind=other_kind)
        .with_columns(cause=cause)
        .with_columns(reason=reason)
        .select(columns)
    )


def rule_reasons(pending: pl.DataFrame, found: Flips) -> pl.DataFrame:
    """Reasons of the changes of one segment that has a rule, with their causes.

    When the rule still holds (for an entry: held already), a segment of the group that is tried earlier is the cause.

    Args:
        pending: Rows of `plain_reasons` of one segment without a reason.
        found: What became of its rule for their users.

    Returns:
        Per row `reason`, `cause`, `clause` (null without one) and `several`: whether more than that turned.
    """
    sides = {"held": found.then, "holds": found.now}
    return _told(pending, found.told, pl.when(pl.col("change") == ENTER).then("held").otherwise("holds"), sides)


def fallback_reasons(pending: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """Reasons of the changes of one fallback segment: a segment with a rule that took or left the user, or the scores.

    Args:
        pending: Rows of `plain_reasons` of one segment without a reason.
        changed: The scores that changed, as `engine.ledger.flips.value_changes` gives them.

    Returns:
        As `rule_reasons`.
    """
    by_rule = pl.col("other_kind").is_not_null() & (pl.col("other_kind") != "fallback")
    return _told(pending, changed, by_rule)


def group_reasons(pending: pl.DataFrame) -> pl.DataFrame:
    """Reasons of changes of which only the segment of the group that the user went to, or came from, can be told.

    Args:
        pending: Rows of `plain_reasons` without a reason.

    Returns:
        As `rule_reasons`.
    """
    return _told(pending, joined((), pending.height), pl.lit(value=True))


def _told(
    pending: pl.DataFrame, turned: pl.DataFrame, prefers: pl.Expr, sides: Mapping[str, pl.Series] | None = None
) -> pl.DataFrame:
    """What turned; where nothing did, or `prefers` says so, what the segment of the group has to do with it."""
    group = pl.col("group_reason")
    by_group = (prefers & group.is_not_null()) | pl.col("text").is_null()
    return pending.with_columns(**(sides or {}), **turned.to_dict()).select(
        reason=pl.when(by_group).then(group.fill_null(causes.TEXTS[causes.UNKNOWN])).otherwise("text"),
        cause=pl.when(~by_group)
        .then("cause")
        .when(group.is_not_null())
        .then(pl.lit(causes.OTHER_SEGMENT))
        .otherwise(pl.lit(causes.UNKNOWN)),
        clause=pl.when(~by_group).then("clause"),
        several=pl.when(~by_group).then("several").otherwise(pl.lit(value=False)),
    )
