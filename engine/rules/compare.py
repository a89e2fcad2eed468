"""Comparisons: Boolean expressions that are never null, and what two sides must have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.rules.kinds import NAMED, Typed
from engine.rules.reader import Reader
from engine.rules.rule import balanced

if TYPE_CHECKING:
    from sqlglot import exp

_MAX_PATTERN: Final = 1_000
_OPERATORS: Final = {
    "EQ": pl.Expr.eq,
    "LT": pl.Expr.lt,
    "LTE": pl.Expr.le,
    "GT": pl.Expr.gt,
    "GTE": pl.Expr.ge,
}
_MIRRORED: Final = {"EQ": "EQ", "LT": "GT", "LTE": "GTE", "GT": "LT", "GTE": "LTE"}
NOWHERE: Final = pl.lit(value=False)
"""In place of a condition that a problem has been told of."""


def comparable(node: exp.Expr, left: Typed, right: Typed, reader: Reader, *, ordered: bool = False) -> bool:
    """Whether two values are of one kind; if not, it is told."""
    if "unknown" in (left.kind, right.kind):
        return False
    nulls = [side.text for side in (left, right) if side.kind == "null"]
    if nulls:
        other = (left if right.kind == "null" else right).text
        advice = f"write {other} IS NULL or {other} IS NOT NULL"
        reader.problem(node, f"NULL is never equal to anything, so this is the same for every user; {advice}")
        return False
    if left.kind != right.kind or left.kind == "days":
        message = f"{left.shown}, {right.shown}: values of different kinds cannot be compared{_advice(left, right)}"
        reader.problem(node, message)
        return False
    if ordered and left.kind == "truth":
        reader.problem(node, f"{left.shown}: there is no order; write {left.text} or NOT {left.text}")
        return False
    return True


def _advice(left: Typed, right: Typed) -> str:
    kinds = {left.kind: left, right.kind: right}
    if set(kinds) == {"text", "number"}:
        text, number = kinds["text"], kinds["number"]
        if text.dtype is None and re.fullmatch(r"'-?\d+([.]\d+)?'", text.text):
            return f"; numbers stand without quotes: {text.text[1:-1]}"
        return f"; text stands in single quotes: '{number.text}'" if number.number is not None else ""
    if set(kinds) == {"date", "text"}:
        text = kinds["text"]
        day = text.text if re.fullmatch(r"'\d{4}-\d\d-\d\d'", text.text) else "'2025-01-31'"
        return f"; a day is written DATE {day}"
    if set(kinds) == {"date", "number"}:
        return f"; days_since({kinds['date'].text}) is a number of days"
    if "truth" in kinds and re.search("[<>]", kinds["truth"].text):
        return "; two comparisons stand side by side with AND between them, or as x BETWEEN 1 AND 2"
    if "truth" in kinds:
        return f"; write {kinds['truth'].text} or NOT {kinds['truth'].text}"
    return ""


def compared(node: exp.Expr, operator: str, left: Typed, right: Typed, reader: Reader) -> pl.Expr:
    """`=`, `<`, `<=`, `>` or `>=` (sqlglot's names): false where a side is null."""
    if not comparable(node, left, right, reader, ordered=operator != "EQ"):
        return NOWHERE
    _check_ratio(node, left, right, reader)
    _check_ratio(node, right, left, reader)
    first, second = _columns_first(left, right)
    if operator == "EQ" and first.kind == "text" and first.dtype is not None and not second.expr.meta.root_names():
        _note_texts(first, [pl.select(second.expr).item()], reader)
    operator = operator if first is left else _MIRRORED[operator]
    return _OPERATORS[operator](first.clean, second.clean).fill_null(value=False)


def _note_texts(column: Typed, texts: Sequence[object], reader: Reader) -> None:
    [name] = column.expr.meta.root_names()
    reader.found.texts += [(name, text) for text in texts if isinstance(text, str)]


def _columns_first(left: Typed, right: Typed) -> tuple[Typed, Typed]:
    """The two sides, a constant last."""
    # Polars 2.1: 0 = COALESCE(x, 0) has a single row where x is null in all of them; COALESCE(x, 0) = 0 has all.
    return (left, right) if left.expr.meta.root_names() else (right, left)


def _check_ratio(node: exp.Expr, share: Typed, bound: Typed, reader: Reader) -> None:
    if bound.number is not None and bound.number >= 2 and reader.scope.units.get(share.text) == "ratio":
        advice = f"for {bound.text} % write {bound.number / 100:g}"
        message = f"{share.text} is a rate, and a rate is a share: 0.5 is 50 %; {advice}"
        reader.problem(node, message)


def distinct(node: exp.Expr, left: Typed, right: Typed, reader: Reader) -> pl.Expr:
    """`IS DISTINCT FROM`: NULL is a value like others."""
    if "null" in (left.kind, right.kind):
        known = left if right.kind == "null" else right
        return is_null(node, known, reader).not_()
    if not comparable(node, left, right, reader):
        return NOWHERE
    _check_ratio(node, left, right, reader)
    first, second = _columns_first(left, right)
    return first.clean.ne_missing(second.clean)


def is_null(node: exp.Expr, value: Typed, reader: Reader) -> pl.Expr:
    """`IS NULL`."""
    if value.kind in {"unknown", "null", "days"}:
        if value.kind != "unknown":
            reader.problem(node, f"{value.text} is the same for every user")
        return NOWHERE
    return value.clean.is_null()


def between(node: exp.Expr, value: Typed, low: Typed, high: Typed, reader: Reader) -> pl.Expr:
    """`BETWEEN`, both ends included."""
    lower = compared(node, "GTE", value, low, reader)
    if value.kind == low.kind == high.kind or high.kind != value.kind:
        upper = compared(node, "LTE", value, high, reader)
        if low.number is not None and high.number is not None and low.number > high.number:
            reader.problem(node, f"nothing lies between {low.text} and {high.text}; the smaller number stands first")
        return lower & upper
    return NOWHERE


def one_of(
    node: exp.Expr, value: Typed, listed: Sequence[Typed], literals: Sequence[object], reader: Reader
) -> pl.Expr:
    """`IN (…)`: false where the value is null.

    Args:
        node: The whole.
        value: What is looked for.
        listed: The values of the list.
        literals: Their values, when all are literals; empty otherwise.
        reader: Takes the problems.
    """
    if not listed:
        reader.problem(node, "IN (…) lists at least one value")
        return NOWHERE
    nulls = [other for other in listed if other.kind == "null"]
    if nulls and value.kind != "unknown":
        advice = f"write {value.text} IS NULL beside it"
        reader.problem(node, f"NULL is never equal to anything, also not in a list; {advice}")
        return NOWHERE
    kinds = {other.kind for other in listed}
    if value.kind == "unknown" or "unknown" in kinds:
        return NOWHERE
    wrong = next((other for other in listed if other.kind != value.kind), None)
    if wrong is not None:
        comparable(node, value, wrong, reader)
        return NOWHERE
    high = max((other for other in listed), key=lambda other: other.number or 0)
    _check_ratio(node, value, high, reader)
    if not literals:
        tests = [compared(node, "EQ", value, other, reader) for other in listed]
        return balanced(tests, pl.Expr.or_)
    if value.kind == "number":
        exact = value.dtype is not None and value.dtype.is_integer()
        if exact and all(isinstance(number, int) for number in literals):
            return value.expr.is_in(list(literals)).fill_null(value=False)
        # Polars takes no list of decimals for a column of integers.
        floats = [float(str(number)) for number in literals]
        return value.clean.cast(pl.Float64).is_in(floats).fill_null(value=False)
    if value.kind == "text" and value.dtype is not None:
        _note_texts(value, literals, reader)
    return value.expr.is_in(list(literals)).fill_null(value=False)


def like(node: exp.Expr, value: Typed, pattern: str | None, reader: Reader, *, any_case: bool) -> pl.Expr:
    """`LIKE` and `ILIKE`: `%` is any text, `_` one character.

    Args:
        node: The whole.
        value: What is looked at.
        pattern: None when it is no literal.
        reader: Takes the problems.
        any_case: Whether capitals and small letters are the same.
    """
    if value.kind == "unknown":
        return NOWHERE
    if value.kind != "text":
        reader.problem(node, f"{value.shown}; LIKE looks at text")
        return NOWHERE
    if pattern is None or len(pattern) > _MAX_PATTERN:
        message = f"LIKE takes a pattern in single quotes, of {_MAX_PATTERN:,} characters at most"
        reader.problem(node, message)
        return NOWHERE
    body = pattern.strip("%")
    if not any_case and not {"%", "_"} & set(body):
        return _simple(value.expr, pattern, body).fill_null(value=False)
    signs = {"%": ".*", "_": "."}
    regex = "".join(signs.get(sign) or re.escape(sign) for sign in pattern)
    flags = "si" if any_case else "s"
    return value.expr.str.contains(rf"(?{flags})\A{regex}\z", literal=False).fill_null(value=False)


def _simple(text: pl.Expr, pattern: str, body: str) -> pl.Expr:
    before, after = pattern.startswith("%"), pattern.endswith("%")
    if before and after:
        return text.str.contains(body, literal=True) if body else text.is_not_null()
    if before:
        return text.str.ends_with(body)
    return text.str.starts_with(body) if after else text == pl.lit(body)


def as_condition(node: exp.Expr, value: Typed, reader: Reader) -> pl.Expr:
    """A value that is used as a condition: it must be true or false, and NULL is false."""
    if value.kind == "truth":
        return value.expr.fill_null(value=False)
    if value.kind == "null":
        reader.problem(node, "NULL is never true, so this holds for nobody")
    elif value.kind != "unknown":
        dtype = "" if value.dtype is None else f" ({value.dtype})"
        flag = reader.scope.units.get(value.text) == "flag"
        advice = f"write {value.text} = 1 or {value.text} = 0" if flag else "compare it with a value"
        message = f"{value.text} is {NAMED[value.kind]}{dtype}; a condition is true or false: {advice}"
        reader.problem(node, message)
    return NOWHERE
