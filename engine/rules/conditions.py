"""Rules by name, compiled together: one Boolean column each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from engine.rules.problems import drawn
from engine.rules.read import read_rule
from engine.rules.rule import Rule
from engine.rules.scope import Scope


@dataclass(frozen=True, eq=False)
class Conditions:
    """Rules that were understood, in the order they were given in."""

    rules: Mapping[str, Rule]
    """The rules by their names."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.rules)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the rules read, sorted."""
        return tuple(sorted(frozenset().union(*(rule.columns for rule in self.rules.values()))))

    def holds(self, frame: pl.DataFrame) -> pl.DataFrame:
        """One Boolean column without nulls per rule, named by the rule, in the rows and row order of `frame`."""
        exprs = [rule.expr().alias(name) for name, rule in self.rules.items()]
        # A rule that looks at nothing but as_of would be a single row.
        return frame.select(self.columns).with_columns(exprs).select(self.names) if exprs else pl.DataFrame()


def compile_conditions(texts: Mapping[str, str], scope: Scope) -> tuple[Conditions, tuple[str, ...]]:
    """The rules that can be understood, and a block of lines for each problem of the others.

    Args:
        texts: Rules by their names.
        scope: What they may name.

    Returns:
        The rules without problems; for each problem `name: ` the message, and below it the line with carets.
    """
    rules: dict[str, Rule] = {}
    problems: list[str] = []
    for name, text in texts.items():
        reading = read_rule(text, scope)
        if reading.rule is not None:
            rules[name] = reading.rule
        for problem in reading.problems:
            *line, message = drawn(text, problem).split("\n")
            problems.append(f"{name}: {message}\n" + textwrap.indent("\n".join(line), "    "))
    return Conditions(rules), tuple(problems)
