"""A rule against one user: which clauses hold, by which values, and what their group makes of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from engine.rules.rule import Clause, Logic, Rule, combine, segment_column, tenure_column
from engine.why.counted import Counted
from engine.why.published import PublishedSegment

Decision = Literal["in", "fails", "earlier", "other"]
"""Why someone is in a segment or not: `in` it; it `fails`; it holds, but an `earlier` one of its group took the user;
`other`: what decides is not what the tables have (a list that was changed, an experiment with other arms)."""


@dataclass(frozen=True)
class SeenClause:
    """One clause of a rule, for one user.

    Attributes:
        text: As it is written.
        holds: Whether it is true.
        values: What it looks at: text and value.
        counted: The events behind the values.
        negated: Whether the rule asks for it not to hold, wherever it stands.
    """

    text: str
    holds: bool
    values: tuple[tuple[str, object], ...]
    counted: tuple[Counted, ...] = ()
    negated: bool = False


@dataclass(frozen=True)
class SeenRule:
    """A rule for one user: whether it holds, and its clauses in the order of the text."""

    holds: bool
    clauses: tuple[SeenClause, ...]


def user_row(
    columns: pl.DataFrame, names: Collection[str], members: Collection[str], tenures: Mapping[str, int]
) -> pl.DataFrame:
    """The one row that rules are evaluated on.

    Args:
        columns: One row: features, scores, attributes and columns of event functions.
        names: All segments of the date.
        members: Those that the user is in.
        tenures: For them, days since the user came in.
    """
    floats = [name for name, dtype in columns.schema.items() if dtype.is_float()]
    flags = [pl.lit(name in members, pl.Boolean).alias(segment_column(name)) for name in sorted(names)]
    days = [pl.lit(tenures.get(name), pl.Int64).alias(tenure_column(name)) for name in sorted(names)]
    return columns.with_columns(pl.col(floats).fill_nan(None), *flags, *days)


def see(rule: Rule, row: pl.DataFrame, counted: Mapping[str, tuple[Counted, ...]]) -> SeenRule:
    """A rule for the user of a row.

    Args:
        rule: The rule.
        row: Of `user_row`.
        counted: The events behind each clause, by its text.
    """
    holding = [bool(row.select(clause.expr.alias("holds"))["holds"].item()) for clause in rule.clauses]
    whole = combine(rule.logic, [pl.lit(value=held) for held in holding])
    asked_to_hold = {clause for clause, positive in signed_clauses(rule.logic) if positive}
    clauses = tuple(
        SeenClause(clause.text, held, _values(clause, row), counted.get(clause.text, ()), place not in asked_to_hold)
        for place, (clause, held) in enumerate(zip(rule.clauses, holding, strict=True))
    )
    return SeenRule(bool(pl.select(whole.alias("holds"))["holds"].item()), clauses)


def signed_clauses(logic: Logic, *, positive: bool = True) -> Iterator[tuple[int, bool]]:
    """The positions of the clauses of a rule, and whether it asks for each to hold or not to."""
    if logic.kind == "clause":
        yield logic.clause, positive
    for part in logic.parts:
        yield from signed_clauses(part, positive=positive != (logic.kind == "not"))


def _values(clause: Clause, row: pl.DataFrame) -> tuple[tuple[str, object], ...]:
    found = [(value.text, row.select(value.expr.alias("value"))["value"].item()) for value in clause.values]
    days = [
        (f"in_segment('{name}')", row[tenure_column(name)].item())
        for name in sorted(clause.tenures)
        if all(name not in text for text, _ in found)
    ]
    return (*found, *days)


def decide(
    segment: PublishedSegment, *, holds: bool, members: Collection[str], segments: Sequence[PublishedSegment]
) -> tuple[Decision, str | None, str | None]:
    """What became of a user whom a segment's rule takes or not, by the tables.

    Args:
        segment: The segment.
        holds: Whether it would take the user if it were alone.
        members: The segments that the user is in.
        segments: All of the date.

    Returns:
        The decision; the segment of the group that took the user before; and what cannot be: a member for whom the rule
        does not hold, someone for whom it holds and who is nowhere or in a segment that is tried later.
    """
    name, group = segment.name, segment.definition.group
    if name in members:
        return "in", None, None if holds else f"the tables have the user in {name!r}, and its rule does not hold"
    if not holds:
        return "fails", None, None
    if group is None:
        return "in", None, f"the rule of {name!r} holds, and the tables do not have the user in it"
    others = [other for other in segments if other.definition.group == group and other.name in members]
    if not others:
        return "in", None, f"the rule of {name!r} holds, and the tables have the user in no segment of {group!r}"
    other = min(others, key=lambda found: found.rank)
    if other.rank > segment.rank:
        problem = f"the rule of {name!r} holds, and the tables have the user in {other.name!r}, which is tried later"
        return "earlier", other.name, problem
    return "earlier", other.name, None
