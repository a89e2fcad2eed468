"""Why somebody entered a segment or left it: one short English sentence per change, the same whenever it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

import polars as pl

from engine.ledger.changes import ENTER
from engine.ledger.flips import Flips

FIRST_RUN: Final = "first run"
NEW_USER: Final = "new user"
GONE: Final = "user is gone"
NEW_SEGMENT: Final = "segment is new"
REMOVED_SEGMENT: Final = "segment was removed"
LIST_BEGINS: Final = "list begins"
LIST_EXPIRED: Final = "list expired"
LIST_CHANGED: Final = "list changed"
EXPERIMENT: Final = "experiment changed"
UNEXPLAINED: Final = "cause unknown"
"""The tables of the two dates do not tell: say, a rule whose features are no longer known."""

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
) -> pl.DataFrame:
    """Reasons that need no value of a user: runs, users, segments and lists that came, went or changed.

    Args:
        changes: As `engine.ledger.changes.changes` gives them.
        definitions: Of the date before (None on the first date) and of the date: the columns of `DEFINITION`.
        users: Of the users of the changes, those that were there on the date before, and on the date.
        days: The two dates; None on the first date.

    Returns:
        The changes in their order with `kind` (of the segment), `other_kind` (of the segment `other`), `rule`,
        `group_reason` (what the segment `other` has to do with it; null without one) and `reason`, null where the rule
        or the scores must be looked at.
    """
    then, now = definitions
    before, as_of = days
    if then is None:
        nothing = {name: pl.lit(None, pl.String) for name in ("kind", "other_kind", "rule", "group_reason")}
        return changes.with_columns(**nothing, reason=pl.lit(FIRST_RUN))
    enters, kind = pl.col("change") == ENTER, pl.col("kind")
    version, was_version = pl.col("version"), pl.col("was_version")
    began, expired = pl.col("frozen_on") > before, pl.col("expires_on") <= as_of
    changed = (
        pl.when(kind == "list")
        .then(pl.lit(LIST_CHANGED))
        .when(kind == "arm")
        .then(pl.lit(EXPERIMENT))
        .otherwise(pl.format("rule changed: {} → {}", was_version.fill_null("none"), version.fill_null("none")))
    )
    reason = (
        pl.when(enters & ~pl.col("user_id").is_in(users[0].implode()))
        .then(pl.lit(NEW_USER))
        .when(~enters & ~pl.col("user_id").is_in(users[1].implode()))
        .then(pl.lit(GONE))
        .when(enters & pl.col("was_kind").is_null())
        .then(pl.lit(NEW_SEGMENT))
        .when(~enters & kind.is_null())
        .then(pl.lit(REMOVED_SEGMENT))
        .when((kind == "list") & ~enters & expired)
        .then(pl.lit(LIST_EXPIRED))
        .when((kind == "list") & enters & began)
        .then(pl.lit(LIST_BEGINS))
        .when(was_version.ne_missing(version))
        .then(changed)
        .when(kind == "list")
        .then(pl.col("group_reason").fill_null(LIST_CHANGED))
        .when((kind == "arm") & pl.col("rule").is_null())
        .then(pl.lit(EXPERIMENT))
        .otherwise(pl.lit(None, pl.String))
    )
    group_reason = (
        pl.when(enters).then(pl.format("no longer in {}", "other")).otherwise(pl.format("taken by {}", "other"))
    )
    joined = changes
    for on, side in (
        ("segment", now.rename({"rule_version": "version"})),
        ("segment", then.select("segment", was_kind="kind", was_version="rule_version")),
        ("other", then.select(other="segment", other_was="kind")),
        ("other", now.select(other="segment", other_is="kind")),
    ):
        joined = joined.join(side, on=on, how="left", maintain_order="left")
    other_kind = pl.when(enters).then("other_was").otherwise("other_is")
    columns = [*changes.columns, "kind", "other_kind", "rule", "group_reason", "reason"]
    return (
        joined.with_columns(group_reason=group_reason, other_kind=other_kind)
        .with_columns(reason=reason)
        .select(columns)
    )


def rule_reasons(pending: pl.DataFrame, found: Flips) -> pl.Series:
    """Reasons of the changes of one segment that has a rule.

    When the rule still holds (for an entry: held already), a segment of the group that is tried earlier is the cause.

    Args:
        pending: Rows of `plain_reasons` of one segment without a reason.
        found: What became of its rule for their users.
    """
    enters = pl.col("change") == ENTER
    of_the_group = pl.when(enters).then("held").otherwise("holds") & pl.col("group_reason").is_not_null()
    reason = (
        pl.when(of_the_group)
        .then("group_reason")
        .otherwise(pl.coalesce("flipped", "group_reason", pl.lit(UNEXPLAINED)))
        .alias("reason")
    )
    columns = (found.text.alias("flipped"), found.then.alias("held"), found.now.alias("holds"))
    return pending.with_columns(*columns).select(reason)["reason"]


def fallback_reasons(pending: pl.DataFrame, changed: pl.Series) -> pl.Series:
    """Reasons of the changes of one fallback segment: a segment with a rule that took or left the user, or the scores.

    Args:
        pending: Rows of `plain_reasons` of one segment without a reason.
        changed: The scores that changed, as text; null where none did.
    """
    by_rule = pl.col("other_kind").is_not_null() & (pl.col("other_kind") != "fallback")
    reason = (
        pl.when(by_rule)
        .then("group_reason")
        .otherwise(pl.coalesce("changed", "group_reason", pl.lit(UNEXPLAINED)))
        .alias("reason")
    )
    return pending.with_columns(changed.alias("changed")).select(reason)["reason"]
