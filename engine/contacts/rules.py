"""Conditions across attributes: which rows break them, and what becomes of those rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.config_contacts import RowRule
from engine.sql_text import row_problems
from engine.suggest import did_you_mean

FILE: Final = "__file"
"""Column with the position of a row's file, when rows may be left out."""
ROW: Final = "__row"
"""Column with a row's number in its file, counted from 0."""
_FLAG: Final = "rule_"


@dataclass(frozen=True)
class Judged:
    """Rows that were judged.

    Attributes:
        rows: The rows that stay, in their order, with the flags.
        broken: By rule, how many rows break it.
        left_out: `file`, `row`, `rule`, `reason` of the rows that do not stay, each with the first rule that says so.
    """

    rows: pl.DataFrame
    broken: dict[str, int]
    left_out: pl.DataFrame


def rule_flags(rules: Sequence[RowRule]) -> tuple[str, ...]:
    """The attributes that rules add, all of them true or false."""
    return tuple(f"{_FLAG}{rule.name}" for rule in rules if rule.action == "flag")


def leaves_out(rules: Sequence[RowRule]) -> bool:
    """Whether a row may be left out."""
    return any(rule.action == "quarantine" for rule in rules)


def rule_problems(rules: Sequence[RowRule], schema: Mapping[str, pl.DataType]) -> list[str]:
    """What is wrong with the conditions.

    Args:
        rules: The rules.
        schema: Name and type of the columns that a condition can name.
    """
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems = [f"  contacts.rules: two entries named {name!r}" for name in twice]
    for rule in rules:
        problems += [f"  contacts.rules.{rule.name}: {problem}: {rule.holds}" for problem in _wrong(rule, schema)]
    return problems


def _wrong(rule: RowRule, schema: Mapping[str, pl.DataType]) -> list[str]:
    refused = row_problems(rule.holds)
    if refused:
        return refused
    try:
        condition = _condition(rule)
        unknown = [name for name in dict.fromkeys(condition.meta.root_names()) if name not in schema]
        if unknown:
            return [f"no column {name!r}{did_you_mean(name, schema)}" for name in unknown]
        # Some type errors only show when the expression runs.
        found = pl.DataFrame(schema=dict(schema)).select(condition.alias("holds")).schema["holds"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return [str(error).splitlines()[0]]
    return [] if found == pl.Boolean else [f"expected a condition (true or false), got {found}"]


def columns_of(rules: Sequence[RowRule]) -> tuple[str, ...]:
    """The columns that the conditions name, as far as they can be read."""
    names: list[str] = []
    for rule in rules:
        try:
            names += _condition(rule).meta.root_names()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            continue
    return tuple(dict.fromkeys(names))


def judge(rows: pl.DataFrame, rules: Sequence[RowRule]) -> Judged:
    """Apply rules that `rule_problems` finds nothing wrong with.

    A row breaks a rule when its condition is false; null does not break it.

    Args:
        rows: Contacts, with `FILE` and `ROW` when a row may be left out.
        rules: The rules, in the order in which they are named as the reason.
    """
    marks = [f"__rule_{number}" for number in range(len(rules))]
    judged = rows.with_columns(
        (~_condition(rule)).fill_null(value=False).alias(mark) for rule, mark in zip(rules, marks, strict=True)
    )
    broken = {rule.name: int(judged[mark].sum()) for rule, mark in zip(rules, marks, strict=True)}
    flags = [
        pl.col(mark).alias(f"{_FLAG}{rule.name}")
        for rule, mark in zip(rules, marks, strict=True)
        if rule.action == "flag"
    ]
    strict = [(rule, mark) for rule, mark in zip(rules, marks, strict=True) if rule.action == "quarantine"]
    if not strict:
        return Judged(judged.with_columns(flags).drop(marks), broken, pl.DataFrame())
    leaves = pl.any_horizontal(mark for _, mark in strict)
    left_out = judged.filter(leaves).select(
        file=FILE,
        row=pl.col(ROW).cast(pl.Int64),
        rule=pl.coalesce(pl.when(mark).then(pl.lit(rule.name)) for rule, mark in strict),
        reason=pl.coalesce(pl.when(mark).then(pl.lit(f"expected {rule.holds}")) for rule, mark in strict),
    )
    return Judged(judged.filter(~leaves).with_columns(flags).drop(marks), broken, left_out)


def _condition(rule: RowRule) -> pl.Expr:
    # The values are in NFC, and so must be what they are compared with.
    return pl.sql_expr(unicodedata.normalize("NFC", rule.holds))
