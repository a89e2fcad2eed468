"""The table `segment_flows`: how many users moved from which segment to which, and why.

Counts of changes alone: no row is of one person's values, and every entry and every exit of the date is in one row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

import polars as pl

from engine.ledger.causes import OTHER, OTHER_SEGMENT, TEXTS, UNKNOWN
from engine.ledger.changes import ENTER

MOST_CAUSES: Final = 300
"""Causes that are told apart, those of most users; the others are one."""

LONGEST_CLAUSE: Final = 200
"""Letters of a clause that are kept: a list of values may have thousands."""

Flow: TypeAlias = tuple[str | None, str | None, str | None, str, str, int, int]
"""Group, segment from and to, kind of the cause, the cause, users, and those with further causes."""

FLOW_SCHEMA: Final = pl.Schema(
    {
        "group": pl.String(),
        "from_segment": pl.String(),
        "to_segment": pl.String(),
        "cause_kind": pl.String(),
        "cause": pl.String(),
        "users": pl.Int64(),
        "users_with_more": pl.Int64(),
    }
)
"""Columns of `segment_flows`."""

_MOVE: Final = ("group", "from_segment", "to_segment")
_CAUSE: Final = ("cause_kind", "cause")


def flow_counts(changes: pl.DataFrame) -> tuple[Flow, ...]:
    """The moves of one bucket, sorted.

    An exit and an entry of the same user and group are one move. Its cause is why the user left; why they entered,
    when they left because another segment is tried first, or nobody knows. A tag that is entered comes from nowhere,
    and one that is left leads to nowhere.

    Args:
        changes: `engine.ledger.changes.changes` with `cause` (a kind of `engine.ledger.causes`), `clause` (null
            without one) and `several` (whether more turned than that).
    """
    enters, tells = pl.col("change") == ENTER, ("cause", "clause", "several")
    who = ("user_id", "group")
    left = changes.filter(~enters).select(*who, *tells, from_segment="segment")
    came = changes.filter(enters).select(*who, *tells, to_segment="segment")
    # Tags have no group, and null joins nothing: each of their changes is a row of its own.
    moves = left.join(came, on=who, how="full", coalesce=True, suffix="_to")
    by_entry = pl.col("cause_to").is_not_null() & (
        pl.col("cause").is_null() | pl.col("cause").is_in([OTHER_SEGMENT, UNKNOWN])
    )
    counted = (
        moves.select(*_MOVE, **{name: pl.when(by_entry).then(f"{name}_to").otherwise(name) for name in tells})
        .group_by(*_MOVE, "cause", "clause")
        .agg(users=pl.len(), users_with_more=pl.col("several").sum())
        .select(
            *_MOVE,
            cause_kind="cause",
            cause=pl.coalesce(_cut(pl.col("clause")), pl.col("cause").replace_strict(TEXTS, default=None)),
            users="users",
            users_with_more="users_with_more",
        )
    )
    return tuple(_summed(counted).rows())


def flows_table(flows: Iterable[Flow]) -> pl.DataFrame:
    """The moves of all buckets together.

    Args:
        flows: What `flow_counts` gave of each.

    Returns:
        Key `group` (null: a tag), `from_segment` (null: in none of the group before), `to_segment` (null: in none of
        it now), `cause_kind` (of `engine.ledger.causes`) and `cause` (the clause as configured, or the kind in words);
        `users` and `users_with_more`: those of them for whom further clauses or scores turned. Sorted by group, from
        and to, nulls last, then the most users first. With more than `MOST_CAUSES` causes, the rarest are one.
    """
    summed = _summed(pl.DataFrame(list(flows), FLOW_SCHEMA, orient="row"))
    causes = summed.group_by(_CAUSE).agg(pl.col("users").sum()).sort("users", *_CAUSE, descending=[True, False, False])
    if causes.height > MOST_CAUSES:
        named = causes.head(MOST_CAUSES).select(*_CAUSE, named=pl.lit(value=True))
        rare = pl.col("named").is_null()
        summed = _summed(
            summed.join(named, on=_CAUSE, how="left").with_columns(
                cause_kind=pl.when(rare).then(pl.lit(OTHER)).otherwise("cause_kind"),
                cause=pl.when(rare).then(pl.lit(TEXTS[OTHER])).otherwise("cause"),
            )
        )
    return summed.sort(*_MOVE, -pl.col("users"), *_CAUSE, nulls_last=True)


def _summed(flows: pl.DataFrame) -> pl.DataFrame:
    return (
        flows.group_by(*_MOVE, *_CAUSE)
        .agg(pl.col("users", "users_with_more").sum())
        .cast({"users": pl.Int64, "users_with_more": pl.Int64})
        .select(FLOW_SCHEMA.names())
        .sort(*_MOVE, *_CAUSE)
    )


def _cut(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.len_chars() > LONGEST_CLAUSE).then(text.str.head(LONGEST_CLAUSE) + "…").otherwise(text)
