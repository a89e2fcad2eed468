"""A rule or a number of a rule, read: parsed, checked, typed and compiled; or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.features.measure import Measure
from engine.rules.clauses import split
from engine.rules.compile import value
from engine.rules.hints import MAX_CHARACTERS, name_of, too_deep
from engine.rules.parse import Places, parse
from engine.rules.problems import MOST, Problem, drawn
from engine.rules.reader import Reader
from engine.rules.rule import Clause, Rule, Value
from engine.rules.scope import Scope
from engine.rules.source import Source, canonical, source_of

__all__ = ["Problem", "Reading", "Scope", "ValueReading", "drawn", "identifiers", "read_rule", "read_value"]


@dataclass(frozen=True, eq=False)
class Reading:
    """A rule, or what is wrong with its text.

    Attributes:
        rule: None when there are problems.
        problems: All of them, in the order of the text.
    """

    rule: Rule | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, eq=False)
class ValueReading:
    """A number, or what is wrong with its text.

    Attributes:
        value: A number of the user; may be null. None when there are problems.
        columns: Columns that it reads.
        measures: Event functions that are no column of the catalogue.
        problems: All of them, in the order of the text.
    """

    value: Value | None
    columns: frozenset[str] = frozenset()
    measures: tuple[Measure, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_rule(text: str, scope: Scope) -> Reading:
    """A rule: a condition over one user.

    Args:
        text: As the user wrote it.
        scope: What it may name. Names are compared after NFC normalisation, case counts.
    """
    parsed = parse(text, scope.spelling)
    if parsed.tree is None:
        return Reading(None, _in_order(parsed.source, parsed.problems))
    reader = Reader(scope, Places(parsed.source, parsed.tree))
    clauses: dict[str, Clause] = {}
    try:
        logic = split(parsed.tree, reader, clauses)
    except RecursionError:
        return Reading(None, (too_deep(0, len(text)),))
    rule = Rule(text, canonical(parsed.source.tokens), tuple(clauses.values()), logic)
    return Reading(None if reader.problems else rule, _in_order(parsed.source, reader.problems))


def read_value(text: str, scope: Scope) -> ValueReading:
    """A number of one user, such as `open_rate_90d` or `event_count('purchase', 180) / 6`.

    Args:
        text: As the user wrote it.
        scope: What it may name.
    """
    parsed = parse(text, scope.spelling)
    if parsed.tree is None:
        return ValueReading(None, problems=_in_order(parsed.source, parsed.problems))
    reader = Reader(scope, Places(parsed.source, parsed.tree))
    try:
        typed = value(parsed.tree, reader)
    except RecursionError:
        return ValueReading(None, problems=(too_deep(0, len(text)),))
    found = reader.found
    if typed.kind not in {"number", "unknown"}:
        reader.problem(parsed.tree, f"{typed.shown}; a number is expected")
    elif not reader.problems and not found.values:
        reader.problem(parsed.tree, "names no column, so it is the same for every user")
    if reader.problems:
        return ValueReading(None, problems=_in_order(parsed.source, reader.problems))
    shown = parsed.source.written(0, len(parsed.source.tokens) - 1)
    return ValueReading(Value(shown, typed.clean), frozenset(found.columns), tuple(found.measures))


def _in_order(source: Source, problems: Sequence[Problem]) -> tuple[Problem, ...]:
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: problem.start)
    told = [source.returned(problem) for problem in ordered[:MOST]]
    if len(ordered) > MOST:
        told[-1] = told[-1]._replace(message=f"{told[-1].message}; and more that is wrong behind it")
    return tuple(told)


def identifiers(text: str) -> frozenset[str]:
    """Names (NFC) in a text that could be columns, without any check: for choosing what must be computed."""
    if len(text) > MAX_CHARACTERS:
        return frozenset()
    return frozenset(name_of(token) for token in source_of(text).tokens if token.kind in {"word", "quoted"})
