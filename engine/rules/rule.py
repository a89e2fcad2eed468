"""What a rule is once it is understood: a tree of clauses, each an expression that is true or false, never null."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from engine.features.measure import Measure


@dataclass(frozen=True, eq=False)
class Value:
    """A value that a clause looks at, as it is shown to people: `days_since_purchase`, `event_count('open', 30)`.

    Attributes:
        text: As it is written in the rule.
        expr: Its value, of the row alone; may be null.
    """

    text: str
    expr: pl.Expr


@dataclass(frozen=True, eq=False)
class Clause:
    """A part of a rule without AND, OR and NOT around it.

    Attributes:
        text: As it is written in the rule, white space squeezed.
        expr: Boolean, never null: a comparison with NULL (NaN counts as NULL) is false, `<>` is the opposite of `=`.
        values: What it looks at.
        columns: Columns it reads: features, scores, attributes.
        measures: Event functions that are no column of the catalogue.
        segments: Segments (NFC) whose members it asks for; it reads `segment_column(name)`.
        tenures: Those of them whose days of membership it asks for; it reads `tenure_column(name)`.
        texts: Columns, and texts that they are compared with for equality.
    """

    text: str
    expr: pl.Expr
    values: tuple[Value, ...]
    columns: frozenset[str] = frozenset()
    measures: tuple[Measure, ...] = ()
    segments: frozenset[str] = frozenset()
    tenures: frozenset[str] = frozenset()
    texts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Logic:
    """How clauses are put together: `clause` (its position), or `and`, `or`, `not` of parts."""

    kind: Literal["clause", "and", "or", "not"]
    clause: int = -1
    parts: tuple[Logic, ...] = ()


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule that was understood.

    Attributes:
        text: As it was written.
        canonical: The same for rules that differ in white space, case of keywords and Unicode form alone.
        clauses: Its clauses, each once, in the order of the text.
        logic: How they are put together.
    """

    text: str
    canonical: str
    clauses: tuple[Clause, ...]
    logic: Logic

    @property
    def columns(self) -> frozenset[str]:
        return frozenset().union(*(clause.columns for clause in self.clauses))

    @property
    def measures(self) -> tuple[Measure, ...]:
        return tuple(dict.fromkeys(measure for clause in self.clauses for measure in clause.measures))

    @property
    def segments(self) -> frozenset[str]:
        return frozenset().union(*(clause.segments for clause in self.clauses))

    @property
    def tenures(self) -> frozenset[str]:
        return frozenset().union(*(clause.tenures for clause in self.clauses))

    def expr(self) -> pl.Expr:
        """Whether the rule holds: Boolean, never null."""
        return combine(self.logic, [clause.expr for clause in self.clauses])


def combine(logic: Logic, clauses: list[pl.Expr]) -> pl.Expr:
    """The clauses put together; given the columns of their results, the same tree over columns."""
    if logic.kind == "clause":
        return clauses[logic.clause]
    parts = [combine(part, clauses) for part in logic.parts]
    if logic.kind == "not":
        return ~parts[0]
    return balanced(parts, pl.Expr.and_ if logic.kind == "and" else pl.Expr.or_)


def balanced(parts: Sequence[pl.Expr], operator: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> pl.Expr:
    """Many parts under one associative operator, as a tree of little depth: Polars recurses into expressions."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return operator(balanced(parts[:middle], operator), balanced(parts[middle:], operator))


def segment_column(name: str) -> str:
    """The Boolean column that tells whether a user is in a segment, while rules are evaluated; never published."""
    return f"segment={name}"


def tenure_column(name: str) -> str:
    """The Int64 column of days since a user entered a segment, 0 on the first day, null for who is not in it."""
    return f"segment_days={name}"
