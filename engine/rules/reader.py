"""What is gathered while the syntax tree of a rule is compiled: problems, and what each clause reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from engine.features.measure import Measure
from engine.rules.kinds import Typed, column, kind_of
from engine.rules.parse import Places
from engine.rules.problems import MOST, Problem
from engine.rules.rule import Value
from engine.rules.scope import Scope
from engine.suggest import did_you_mean, some_of

if TYPE_CHECKING:
    from sqlglot import exp


@dataclass
class Found:
    """What one clause reads; see `engine.rules.rule.Clause`."""

    columns: set[str] = field(default_factory=set)
    measures: list[Measure] = field(default_factory=list)
    segments: set[str] = field(default_factory=set)
    tenures: set[str] = field(default_factory=set)
    values: dict[str, Value] = field(default_factory=dict)
    texts: list[tuple[str, str]] = field(default_factory=list)
    days: bool = False
    """Whether it looks at `as_of`: it can change from day to day without any column."""


@dataclass
class Reader:
    """A text that is being compiled.

    Attributes:
        scope: What it may name.
        places: Where its nodes stand.
        event_columns: Columns of events that no source maps, while a condition over events is read; None otherwise.
        problems: What was wrong so far, places in the normalised text.
        found: What the current clause reads.
    """

    scope: Scope
    places: Places
    event_columns: frozenset[str] | None = None
    problems: list[Problem] = field(default_factory=list)
    found: Found = field(default_factory=Found)

    def problem(self, node: exp.Expr, message: str) -> Typed:
        """Tell what is wrong with a node; what comes back is of no kind, so that nothing else is told of it."""
        self.problems.append(Problem(message, *self.places.span(node)))
        return Typed("unknown", pl.lit(None), self.text(node))

    def text(self, node: exp.Expr) -> str:
        return self.places.text(node)

    def seen(self, text: str, expr: pl.Expr) -> None:
        """Note a value that the clause looks at."""
        self.found.values.setdefault(text, Value(text, expr))

    def column(self, node: exp.Expr, name: str, *, quoted: bool) -> Typed:
        """A column by the name that stands in the text (NFC)."""
        if self.event_columns is None and name == "as_of" and name not in self.scope.spelling:
            self.found.days = True
            return Typed("date", pl.lit(self.scope.day, pl.Date), "as_of")
        spelt = self.scope.spelling.get(name)
        if spelt is None:
            return self.problem(node, self._no_column(name, quoted=quoted))
        dtype = self.scope.columns[spelt]
        kind = kind_of(dtype)
        if kind is None:
            return self.problem(node, f"column {name!r} is a {dtype}, not a single value")
        spec = self.scope.spec
        expr = column(spelt, dtype, None if spec is None else spec.timezone)
        self.found.columns.add(spelt)
        self.seen(name, expr)
        return Typed(kind, expr, name, dtype)

    def _no_column(self, name: str, *, quoted: bool) -> str:
        if self.event_columns is not None:
            if name in self.event_columns:
                return f"no source maps the event column {name!r}; set it in [sources.columns]"
            return (
                f"events have no column {name!r}{did_you_mean(name, self.scope.columns)}; "
                f"there are {some_of(sorted(self.scope.columns)) or 'none'}"
            )
        spec = self.scope.spec
        if spec is not None and name in spec.type_names:
            return f"no column {name!r}; it is an event type: write event_count('{name}', 30) or days_since('{name}')"
        if self.scope.segments is not None and name in self.scope.segments:
            return f"no column {name!r}; it is a segment: write in_segment('{name}')"
        if len(self.problems) > MOST:
            return f"no column {name!r}"
        near = did_you_mean(name, [*self.scope.columns, "as_of"])
        if quoted:
            return f"no column {name!r}{near}; double quotes name columns, single quotes mark text"
        return f"no column {name!r}{near or f'; text stands in single quotes: {name!r}'}"
