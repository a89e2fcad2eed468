"""Membership of other segments within a rule: `in_segment('name' [, days])` and `segment = 'name'`."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from engine.rules.kinds import Typed
from engine.rules.reader import Reader
from engine.rules.rule import balanced, segment_column, tenure_column
from engine.suggest import did_you_mean, some_of

if TYPE_CHECKING:
    from sqlglot import exp


def asked_segment(node: exp.Expr, reader: Reader) -> list[exp.Expr] | None:
    """The names in `segment = 'name'`, `segment <> 'name'` or `segment IN (…)`; None for other comparisons."""
    name = type(node).__name__
    if name not in {"EQ", "NEQ", "In"} or reader.event_columns is not None or "segment" in reader.scope.spelling:
        return None
    named, other = node.this, node.args.get("expression")
    if other is not None and type(other).__name__ == "Column" and type(named).__name__ == "Literal":
        named, other = other, named
    if type(named).__name__ != "Column" or named.name != "segment":
        return None
    listed: list[exp.Expr] = list(node.expressions) if other is None else [other]
    return listed if listed and all(_name(entry) is not None for entry in listed) else None


def in_segment(node: exp.Expr, names: Sequence[exp.Expr], reader: Reader) -> pl.Expr:
    """Whether the user is in one of the segments; for `<>` the opposite."""
    held = [_member(entry, _name(entry) or "", reader) for entry in names]
    within = balanced(held, pl.Expr.or_)
    return ~within if type(node).__name__ == "NEQ" else within


def days_in_segment(node: exp.Expr, arguments: Sequence[exp.Expr], reader: Reader) -> Typed:
    """`in_segment('name' [, days])`: with days, for at least so many days without a break."""
    usage = "in_segment('name') or in_segment('name', days)"
    name = _name(arguments[0]) if arguments else None
    if name is None or len(arguments) > 2:
        return reader.problem(node, f"write {usage}, with the name in single quotes")
    member = _member(node, name, reader)
    if len(arguments) == 1:
        return Typed("truth", member, reader.text(node))
    days = arguments[1]
    whole = type(days).__name__ == "Literal" and not days.is_string and days.name.isdecimal() and len(days.name) < 9
    if not whole or int(days.name) > 36_500:
        return reader.problem(node, f"write {usage}, with a whole number of days from 0 to 36,500")
    tenure = pl.col(tenure_column(name))
    reader.found.tenures.add(name)
    reader.seen(f"days in '{name}'", tenure)
    return Typed("truth", member & (tenure >= int(days.name)).fill_null(value=False), reader.text(node))


def _member(node: exp.Expr, name: str, reader: Reader) -> pl.Expr:
    known = reader.scope.segments
    if known is None:
        reader.problem(node, "segments cannot be asked for here: they are not known before all users are scored")
        return pl.lit(value=False)
    if name not in known:
        near = did_you_mean(name, known)
        rest = (
            "`tamis segments list` shows all"
            if near
            else f"there are {some_of(sorted(known), command='tamis segments list') or 'none'}"
        )
        message = f"no segment {name!r}{near}; {rest}"
        reader.problem(node, message)
        return pl.lit(value=False)
    reader.found.segments.add(name)
    member = pl.col(segment_column(name))
    reader.seen(f"in_segment('{name}')", member)
    return member.fill_null(value=False)


def _name(node: exp.Expr | None) -> str | None:
    if type(node).__name__ != "Literal" or node is None or not node.is_string:
        return None
    return unicodedata.normalize("NFC", node.name)
