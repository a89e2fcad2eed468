"""From the nodes of the syntax tree that a rule may have to expressions; every other node is a problem."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.rules import functions
from engine.rules.compare import as_condition, between, compared, distinct, is_null, like, one_of
from engine.rules.events import event_function
from engine.rules.kinds import Typed
from engine.rules.members import asked_segment, days_in_segment, in_segment
from engine.rules.reader import Reader
from engine.rules.rule import balanced
from engine.rules.words import EVENT_FUNCTIONS, IN_SEGMENT

if TYPE_CHECKING:
    from sqlglot import exp

_CONDITIONS: Final = frozenset(
    "And Or Not EQ NEQ LT LTE GT GTE Between In Like ILike Is NullSafeEQ NullSafeNEQ StartsWith EndsWith".split()
)
_OPERATORS: Final = frozenset("Add Sub Mul Div IntDiv Mod DPipe".split())
_MAX_WHENS: Final = 100
_SHOWN_DIGITS: Final = 20


def condition(node: exp.Expr, reader: Reader) -> pl.Expr:
    """A node as a condition: Boolean, never null."""
    name = type(node).__name__
    if name == "Paren":
        return condition(node.this, reader)
    if name not in _CONDITIONS:
        return as_condition(node, value(node, reader), reader)
    if name in {"And", "Or"}:
        parts = [condition(part, reader) for part in chain(node)]
        return balanced(parts, pl.Expr.and_ if name == "And" else pl.Expr.or_)
    if name == "Not":
        return ~condition(node.this, reader)
    return _folded(_comparison(node, name, reader))


def _folded(expr: pl.Expr) -> pl.Expr:
    """The value itself of what looks at no column: Polars does not take functions of literals for single values."""
    if expr.meta.root_names():
        return expr
    found = pl.select(expr).to_series()
    return pl.lit(found.item(), found.dtype)


def chain(node: exp.Expr) -> list[exp.Expr]:
    """The parts of a chain of AND or of OR, in the order of the text, however long it is."""
    parts: list[exp.Expr] = []
    stack = [node]
    while stack:
        current = stack.pop()
        if type(current) is type(node):
            stack += [current.expression, current.this]
        else:
            parts.append(current)
    return parts


def _comparison(node: exp.Expr, name: str, reader: Reader) -> pl.Expr:
    asked = asked_segment(node, reader)
    if asked is not None:
        return in_segment(node, asked, reader)
    left = value(node.this, reader)
    if name == "Between":
        low, high = value(node.args["low"], reader), value(node.args["high"], reader)
        return between(node, left, low, high, reader)
    if name == "In":
        return _in(node, left, reader)
    right = value(node.expression, reader)
    if name in {"Like", "ILike"}:
        held = like(node, left, _literal_text(node.expression), reader, any_case=name == "ILike")
        return ~held if node.args.get("negate") else held
    if name in {"NEQ", "NullSafeEQ"}:
        opposite = compared(node, "EQ", left, right, reader) if name == "NEQ" else distinct(node, left, right, reader)
        return ~opposite
    return _plain(node, name, left, right, reader)


def _plain(node: exp.Expr, name: str, left: Typed, right: Typed, reader: Reader) -> pl.Expr:
    if name == "Is":
        return is_null(node, left, reader)
    if name == "NullSafeNEQ":
        return distinct(node, left, right, reader)
    if name in {"StartsWith", "EndsWith"}:
        return functions.begins_or_ends(node, left, right, reader)
    return compared(node, name, left, right, reader)


def _in(node: exp.Expr, searched: Typed, reader: Reader) -> pl.Expr:
    if node.args.get("query") or node.args.get("field") or node.args.get("unnest"):
        reader.problem(node, "IN takes a list of values in parentheses: region IN ('Bretagne', 'Occitanie')")
        return pl.lit(value=False)
    listed = [value(entry, reader) for entry in node.expressions]
    literals = [_literal(entry) for entry in node.expressions]
    return one_of(node, searched, listed, () if None in literals else literals, reader)


def value(node: exp.Expr, reader: Reader) -> Typed:
    """A node as a value; conditions are values that are true or false."""
    name = type(node).__name__
    if name in _CONDITIONS:
        return Typed("truth", condition(node, reader), reader.text(node))
    if name == "Paren":
        return value(node.this, reader)
    if name == "Column" and type(node.this).__name__ == "Identifier" and not node.args.get("table"):
        return _column(node, reader)
    if name in {"Literal", "Null", "Boolean", "Neg", "Cast", "Interval"}:
        return _constant(node, name, reader)
    of_one = name in functions.OF_ONE and not _more_arguments(node)
    if of_one:
        typed = functions.of_one(node, name, value(node.this, reader), reader)
    else:
        typed = _operation(node, name, reader) if name in _OPERATORS else _function(node, name, reader)
    return replace(typed, expr=_folded(typed.expr))


def _more_arguments(node: exp.Expr) -> bool:
    return any(argument for name, argument in node.args.items() if name != "this" and argument)


def _column(node: exp.Expr, reader: Reader) -> Typed:
    name = unicodedata.normalize("NFC", node.name)
    if name == "segment" and reader.event_columns is None and name not in reader.scope.spelling:
        message = "segment is asked for by segment = 'name', segment IN ('a', 'b') or in_segment('name')"
        return reader.problem(node, message)
    return reader.column(node, name, quoted=bool(node.this.args.get("quoted")))


def _constant(node: exp.Expr, name: str, reader: Reader) -> Typed:
    # Long lists of literals: their place in the text would take longer than all the rest.
    text = _written(node) if name == "Literal" else reader.text(node)
    if name == "Null":
        return Typed("null", pl.lit(None), text)
    if name == "Boolean":
        return Typed("truth", pl.lit(bool(node.this), pl.Boolean), text)
    if name == "Cast":
        day = _literal_text(node.this) if _target(node) == "DATE" else None
        return _day(node, day, text, reader)
    if name == "Interval":
        amount = _literal_text(node.this)
        unit = "" if node.args.get("unit") is None else str(node.args["unit"].name).upper()
        return functions.interval(node, amount, unit, reader)
    literal = _literal(node)
    if isinstance(literal, str):
        return Typed("text", pl.lit(literal, pl.String), text)
    if literal is not None:
        return _number(node, literal, text, reader)
    if name == "Neg":
        below = value(node.this, reader)
        if functions.expected(node, below, "number", "the minus sign", reader):
            return Typed("number", -below.expr.cast(pl.Float64), text, may_be_nan=below.may_be_nan)
    return functions.unknown(node, reader)


def _number(node: exp.Expr, literal: float, text: str, reader: Reader) -> Typed:
    if abs(literal) > 1e300:
        return reader.problem(node, f"{text[:_SHOWN_DIGITS]}{'…' * (len(text) > _SHOWN_DIGITS)} is too large a number")
    exact = pl.lit(literal, pl.Int64 if isinstance(literal, int) else pl.Float64)
    return Typed("number", exact, text, number=literal)


def _day(node: exp.Expr, written: str | None, text: str, reader: Reader) -> Typed:
    try:
        day = date.fromisoformat(written or "") if written is not None and len(written) == 10 else None
    except ValueError:
        day = None
    if day is None:
        return reader.problem(node, f"{text}: a day is written DATE '2025-01-31'")
    return Typed("date", pl.lit(day, pl.Date), text)


def _operation(node: exp.Expr, name: str, reader: Reader) -> Typed:
    left, right = value(node.this, reader), value(node.expression, reader)
    if name == "DPipe":
        sound = [functions.expected(node, side, "text", "||", reader) for side in (left, right)]
        expr = left.expr + right.expr if all(sound) else pl.lit(None)
        return Typed("text" if all(sound) else "unknown", expr, reader.text(node))
    harmless = type(node.expression).__name__ == "Nullif" or (right.number is not None and right.number != 0)
    if name in {"Div", "IntDiv", "Mod"} and not harmless and right.kind != "unknown":
        sign = {"Div": "/", "IntDiv": "//", "Mod": "%"}[name]
        advice = f"write {sign} NULLIF({right.text if right.number is None else '…'}, 0)"
        return reader.problem(node, f"{sign} {right.text}: a division by zero would be endlessly large; {advice}")
    return functions.arithmetic(node, left, right, reader)


def _function(node: exp.Expr, name: str, reader: Reader) -> Typed:
    if name == "Round" and not node.args.get("truncate"):
        digits = node.args.get("decimals")
        return functions.rounded(
            node, value(node.this, reader), None if digits is None else value(digits, reader), reader
        )
    if name in {"Left", "Right"}:
        return functions.part(node, value(node.this, reader), value(node.expression, reader), reader)
    if name in {"Coalesce", "Greatest", "Least"}:
        return functions.chosen(node, [value(entry, reader) for entry in (node.this, *node.expressions)], reader)
    if name == "Nullif":
        first, second = value(node.this, reader), value(node.expression, reader)
        return functions.cleared(node, first, compared(node, "EQ", first, second, reader), reader)
    if name == "TryCast":
        return functions.cast(node, value(node.this, reader), _target(node), reader)
    if name in {"Case", "If"}:
        return _case(node, name, reader)
    if name == "Anonymous":
        return _named(node, str(node.this).upper(), reader)
    return reader.problem(node, "this is not part of the language")


def _case(node: exp.Expr, name: str, reader: Reader) -> Typed:
    branches = node.args["ifs"] if name == "Case" else [node]
    if len(branches) > _MAX_WHENS:
        return reader.problem(node, f"CASE has {_MAX_WHENS} WHEN at most; write long lists of values with IN (…)")
    subject = value(node.this, reader) if name == "Case" and node.this is not None else None
    conditions = []
    results = []
    for branch in branches:
        if subject is None:
            conditions.append(condition(branch.this, reader))
        else:
            conditions.append(compared(branch, "EQ", subject, value(branch.this, reader), reader))
        results.append(value(branch.args["true"], reader))
    last = node.args.get("default") if name == "Case" else node.args.get("false")
    results.append(Typed("null", pl.lit(None), "NULL") if last is None else value(last, reader))
    kind = functions.common_kind(node, results, name.upper(), reader)
    if kind is None:
        return functions.unknown(node, reader)
    exprs = functions.together(results)
    chosen = exprs[-1]
    for test, result in zip(reversed(conditions), reversed(exprs[:-1]), strict=True):
        if test.meta.root_names():
            chosen = pl.when(test).then(result).otherwise(chosen)
        elif pl.select(test).item():
            # Polars makes a single row of a branch that is known beforehand.
            chosen = result
    return Typed(kind, chosen, reader.text(node))


def _named(node: exp.Expr, name: str, reader: Reader) -> Typed:
    arguments: Sequence[exp.Expr] = node.expressions
    if name == IN_SEGMENT:
        return days_in_segment(node, arguments, reader)
    of_date = name == "DAYS_SINCE" and len(arguments) == 1 and _literal_text(arguments[0]) is None
    if of_date or name == "DAYS_UNTIL_ANNIVERSARY":
        if len(arguments) != 1:
            return reader.problem(node, f"{name.lower()}() takes one date")
        return _of_date(node, arguments[0], name, reader)
    if name in EVENT_FUNCTIONS:
        return event_function(node, name.lower(), arguments, reader, condition)
    return reader.problem(node, f"no function {name}()")


def _of_date(node: exp.Expr, argument: exp.Expr, name: str, reader: Reader) -> Typed:
    day = value(argument, reader)
    if not functions.expected(node, day, "date", f"{name.lower()}()", reader):
        return functions.unknown(node, reader)
    reader.found.days = True
    as_of = pl.lit(reader.scope.day, pl.Date)
    since = name == "DAYS_SINCE"
    expr = functions.days_between(as_of, day.expr) if since else functions.until_anniversary(day.expr, reader.scope.day)
    reader.seen(reader.text(node), expr)
    return Typed("number", expr, reader.text(node))


def _target(node: exp.Expr) -> str:
    target = node.args["to"]
    return "" if target.expressions else str(target.this).rpartition(".")[2]


def _written(node: exp.Expr) -> str:
    text = str(node.name)
    return "'" + text.replace("'", "''") + "'" if node.is_string else text


def _literal_text(node: exp.Expr) -> str | None:
    literal = _literal(node)
    return literal if isinstance(literal, str) else None


def _literal(node: exp.Expr) -> str | int | float | None:
    """The value of a text or number (with its sign); None for everything else."""
    if type(node).__name__ == "Paren":
        return _literal(node.this)
    if type(node).__name__ == "Neg":
        below = _literal(node.this)
        return None if isinstance(below, str) or below is None else -below
    if type(node).__name__ != "Literal":
        return None
    if node.is_string:
        return unicodedata.normalize("NFC", node.name)
    whole = node.name.isdecimal() and len(node.name) < 19
    return int(node.name) if whole else float(node.name)
