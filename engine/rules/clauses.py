"""A rule taken apart into its clauses and how they are put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.rules.compile import chain, condition
from engine.rules.reader import Found, Reader
from engine.rules.rule import Clause, Logic
from engine.rules.source import canonical

if TYPE_CHECKING:
    from sqlglot import exp


def split(node: exp.Expr, reader: Reader, clauses: dict[str, Clause]) -> Logic:
    """The logic of a condition; its clauses are added to `clauses`, by their canonical texts.

    `x NOT IN (…)`, `x IS NOT NULL` and the like are one clause; NOT before a condition is logic.
    """
    name = type(node).__name__
    if name == "Paren":
        return split(node.this, reader, clauses)
    if name in {"And", "Or"}:
        parts = tuple(split(part, reader, clauses) for part in chain(node))
        return Logic("and" if name == "And" else "or", parts=parts)
    if name == "Not" and not reader.places.is_infix(node):
        return Logic("not", parts=(split(node.this, reader, clauses),))
    first, last = reader.places.range(node)
    key = canonical(reader.places.source.tokens[first : last + 1])
    if key not in clauses:
        found = reader.found = Found()
        told = len(reader.problems)
        expr = condition(node, reader)
        if len(reader.problems) == told and not found.values and not found.days:
            reader.problem(node, "names no column, so it holds for every user or for none")
        clauses[key] = Clause(
            text=reader.text(node),
            expr=expr,
            values=tuple(found.values.values()),
            columns=frozenset(found.columns),
            measures=tuple(found.measures),
            segments=frozenset(found.segments),
            tenures=frozenset(found.tenures),
            texts=tuple(dict.fromkeys(found.texts)),
        )
    return Logic("clause", list(clauses).index(key))
