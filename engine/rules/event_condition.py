"""Conditions over the columns of one event, within a rule: checked like the rule, and written in one canonical form.

The canonical text is SQL for `engine.events.condition`, whose conditions know NULL as a third truth value: every
comparison under a NOT is closed with COALESCE first, so that the answer is the one a rule would give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from engine.events.schema import FILTERABLE
from engine.rules.reader import Reader
from engine.rules.scope import Scope

if TYPE_CHECKING:
    from sqlglot import exp

    from engine.features.spec import FeatureSpec

_COMPARISONS: Final = {"EQ": "=", "NEQ": "=", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
_ARITHMETIC: Final = {"Add": "+", "Sub": "-", "Mul": "*"}
_FUNCTIONS: Final = {
    "Lower": "LOWER",
    "Upper": "UPPER",
    "Abs": "ABS",
    "StartsWith": "STARTS_WITH",
    "EndsWith": "ENDS_WITH",
}


def event_condition(
    node: exp.Expr | None, spec: FeatureSpec, reader: Reader, condition: Callable[[Any, Reader], pl.Expr]
) -> str | None:
    """The canonical text of a condition; None where something is wrong with it, which is told.

    Args:
        node: The condition.
        spec: Tells which columns the sources map.
        reader: Takes the problems.
        condition: Checks a condition.
    """
    if node is None:
        return None
    columns: dict[str, pl.DataType] = {
        name: pl.Float64() if name == "amount" else dtype for name, dtype in FILTERABLE.items() if name in spec.columns
    }
    inner = Reader(Scope(columns), reader.places, frozenset(FILTERABLE) - columns.keys())
    condition(node, inner)
    if not inner.problems and not inner.found.columns:
        inner.problem(node, "this condition looks at no column of the event")
    if not inner.problems:
        refused = next((below for below in node.walk() if type(below).__name__ not in _ALLOWED), None)
        if refused is not None:
            inner.problem(
                refused,
                "conditions over events know comparisons, + - *, LOWER, UPPER, ABS, STARTS_WITH, "
                "ENDS_WITH, LIKE, IN, BETWEEN, IS NULL, AND, OR and NOT",
            )
    reader.problems.extend(inner.problems)
    return None if inner.problems else _tested(node, holds=True)


_ALLOWED: Final = frozenset(
    {"And", "Or", "Not", "Paren", "Between", "In", "Like", "ILike", "Is", "Null", "Column", "Identifier", "Literal"}
    | {"Boolean", "Neg"}
    | _COMPARISONS.keys()
    | _ARITHMETIC.keys()
    | _FUNCTIONS.keys()
)
"""Nodes whose meaning in a rule and in a condition over events is the same."""


def _tested(node: exp.Expr, *, holds: bool) -> str:
    """The text that is true where the condition holds (does not hold), and false or NULL elsewhere."""
    name = type(node).__name__
    if name == "Paren":
        return _tested(node.this, holds=holds)
    if name == "Not":
        return _tested(node.this, holds=not holds)
    if name in {"And", "Or"}:
        word = " AND " if (name == "And") == holds else " OR "
        return word.join(f"({_tested(part, holds=holds)})" for part in _parts(node))
    if name == "Is":
        return f"{_valued(node.this)} IS {'' if holds else 'NOT '}NULL"
    positive = holds != (name == "NEQ" or bool(node.args.get("negate")))
    text = _atom(node, name)
    return text if positive else f"NOT COALESCE({text}, FALSE)"


def _parts(node: exp.Expr) -> list[exp.Expr]:
    parts: list[exp.Expr] = []
    stack = [node]
    while stack:
        current = stack.pop()
        bare = current
        while type(bare).__name__ == "Paren":
            bare = bare.this
        if type(bare) is type(node):
            stack += [bare.expression, bare.this]
        else:
            parts.append(bare)
    return parts


def _atom(node: exp.Expr, name: str) -> str:
    if name in _COMPARISONS:
        return f"{_valued(node.this)} {_COMPARISONS[name]} {_valued(node.expression)}"
    if name == "Between":
        return f"{_valued(node.this)} BETWEEN {_valued(node.args['low'])} AND {_valued(node.args['high'])}"
    if name == "In":
        return f"{_valued(node.this)} IN ({', '.join(sorted({_valued(entry) for entry in node.expressions}))})"
    if name in {"Like", "ILike"}:
        return f"{_valued(node.this)} {name.upper()} {_valued(node.expression)}"
    return _valued(node)


def _valued(node: exp.Expr) -> str:
    name = type(node).__name__
    if name == "Paren":
        return _valued(node.this)
    if name == "Literal":
        text = str(node.name)
        return "'" + text.replace("'", "''") + "'" if node.is_string else _number(text)
    if name == "Boolean":
        return "TRUE" if node.this else "FALSE"
    if name == "Neg":
        return f"-{_valued(node.this)}" if type(node.this).__name__ == "Literal" else f"-({_valued(node.this)})"
    if name in _ARITHMETIC:
        return f"({_valued(node.this)} {_ARITHMETIC[name]} {_valued(node.expression)})"
    if name in _FUNCTIONS:
        arguments = [node.this, *([node.expression] if name in {"StartsWith", "EndsWith"} else [])]
        return f"{_FUNCTIONS[name]}({', '.join(map(_valued, arguments))})"
    if name in {"And", "Or", "Not"} | _COMPARISONS.keys() | {"Between", "In", "Like", "ILike", "Is"}:
        return f"COALESCE({_tested(node, holds=True)}, FALSE)"
    return str(node.name)


def _number(text: str) -> str:
    value = float(text)
    return str(int(text)) if text.isdecimal() else repr(int(value) if value.is_integer() and value < 1e15 else value)
