"""What flipped: the clauses of a rule that were true on one date and false on the next, with their values on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.ledger.causes import APPEARED, CLAUSE_FALSE, CLAUSE_TRUE, FELL, ROSE, VANISHED
from engine.ledger.shown import UNKNOWN, shown
from engine.rules.rule import Clause, Rule, Value, combine

SHOWN_CLAUSES: Final = 5
"""Clauses that a reason names; the others are counted."""

_TOLD: Final = {"text": pl.String(), "cause": pl.String(), "clause": pl.String(), "several": pl.Boolean()}


@dataclass(frozen=True, eq=False)
class Flips:
    """What became of a rule, row by row.

    Attributes:
        told: The clauses that flipped, as `joined` gives them: their text as in `days_since_purchase <= 30: 29 → 31`.
        then: Whether the rule held on the old rows; false where the old rows lack a column that it needs.
        now: Whether it holds on the new rows.
    """

    told: pl.DataFrame
    then: pl.Series
    now: pl.Series


def flips(before: Rule, rule: Rule, then: pl.DataFrame, now: pl.DataFrame) -> Flips:
    """The clauses of a rule whose truth changed between two dates.

    Args:
        before: The rule, read for the old date.
        rule: The same, read for the new date.
        then: Rows of the old date: the columns that the rule reads, as far as they were published, and `segment=…`.
        now: Rows of the new date, of the same users in the same order.
    """
    pieces = []
    truths: tuple[list[pl.Series], list[pl.Series]] = ([], [])
    for position, (old, new) in enumerate(zip(before.clauses, rule.clauses, strict=True)):
        known = readable(old.expr, then) and readable(new.expr, now)
        held, holds = _truth(old, then), _truth(new, now)
        truths[0].append(held)
        truths[1].append(holds)
        rows = ((held != holds) if known else pl.repeat(True, now.height, eager=True)).arg_true()
        if rows.len():
            text = _changed(old.text, tuple(zip(old.values, new.values, strict=True)), then[rows], now[rows])
            cause = _codes((holds[rows], CLAUSE_TRUE), (~holds[rows], CLAUSE_FALSE))
            pieces.append(_piece(position, rows, text, cause, old.text))
    return Flips(joined(pieces, now.height), _combined(before, truths[0]), _combined(rule, truths[1]))


def value_changes(names: Sequence[str], then: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Numbers that changed, row by row, as `joined` gives them: their text as in `r_score: 5 → 4`.

    Args:
        names: Their columns, in the order in which they are named; those that the new rows lack are left out.
        then: Rows of the old date.
        now: Rows of the new date, of the same users in the same order.
    """
    pieces = []
    for position, name in enumerate(column for column in names if column in now.columns):
        old = shown(then[name]) if name in then.columns else pl.repeat(UNKNOWN, now.height, dtype=pl.String, eager=True)
        new = shown(now[name])
        rows = (old != new).arg_true()
        if rows.len():
            text = pl.select(
                pl.concat_str(pl.lit(f"{name}: "), old.gather(rows), pl.lit(" → "), new.gather(rows))
            ).to_series()
            after = now[name].gather(rows)
            before = (
                then[name].gather(rows) if name in then.columns else after.clear().extend_constant(None, rows.len())
            )
            cause = _codes(
                (after.is_null(), f"{name}_{VANISHED}"),
                (before.is_null(), f"{name}_{APPEARED}"),
                (after < before, f"{name}_{FELL}"),
                (after > before, f"{name}_{ROSE}"),
            )
            pieces.append(_piece(position, rows, text, cause, None))
    return joined(pieces, now.height)


def joined(pieces: Sequence[pl.DataFrame], height: int) -> pl.DataFrame:
    """What `pieces` say about each row (`row`, `position`, `text`, `cause`, `clause`), in the order of `position`.

    Returns:
        One row for each of `height`, all null where nothing is said: `text` (the first ones, and how many more),
        `cause` (the kind of the first; see `engine.ledger.causes`), `clause` (its clause as configured; null without
        one) and `several` (whether there are more).
    """
    if not pieces:
        return pl.DataFrame(schema=_TOLD).clear(height)
    more = pl.col("number") - SHOWN_CLAUSES
    found = (
        pl.concat(pieces)
        .sort("row", "position")
        .group_by("row", maintain_order=True)
        .agg(
            pl.col("text").head(SHOWN_CLAUSES),
            pl.col("cause", "clause").first(),
            number=pl.len().cast(pl.Int32),
        )
        .select(
            "row",
            text=pl.col("text").list.join("; ")
            + pl.when(more > 0).then(pl.format("; … and {} more", more)).otherwise(pl.lit("")),
            cause="cause",
            clause="clause",
            several=pl.col("number") > 1,
        )
    )
    rows = pl.DataFrame({"row": pl.int_range(height, dtype=pl.UInt32, eager=True)})
    return rows.join(found, on="row", how="left", maintain_order="left").select(tuple(_TOLD))


def readable(expr: pl.Expr, rows: pl.DataFrame) -> bool:
    """Whether the rows have every column that an expression reads."""
    return set(expr.meta.root_names()) <= set(rows.columns)


def _truth(clause: Clause, rows: pl.DataFrame) -> pl.Series:
    if not readable(clause.expr, rows):
        return pl.repeat(False, rows.height, eager=True)
    return rows.with_columns(__truth=clause.expr)["__truth"]


def _combined(rule: Rule, truths: Sequence[pl.Series]) -> pl.Series:
    names = [f"{position}" for position in range(len(truths))]
    frame = pl.DataFrame([series.alias(name) for series, name in zip(truths, names, strict=True)])
    return frame.select(__rule=combine(rule.logic, [pl.col(name) for name in names]))["__rule"]


def _piece(position: int, rows: pl.Series, text: pl.Series, cause: pl.Series, clause: str | None) -> pl.DataFrame:
    return pl.DataFrame({"row": rows, "text": text, "cause": cause}).select(
        pl.col("row").cast(pl.UInt32),
        pl.lit(position, pl.Int32).alias("position"),
        "text",
        "cause",
        pl.lit(clause, pl.String).alias("clause"),
    )


def _codes(*cases: tuple[pl.Series, str]) -> pl.Series:
    """Of each row the code of the first case that is true."""
    whens = [pl.when(case).then(pl.lit(code)) for case, code in cases]
    return pl.select(pl.coalesce(whens)).to_series()


def _changed(text: str, values: Sequence[tuple[Value, Value]], then: pl.DataFrame, now: pl.DataFrame) -> pl.Series:
    if not values:
        return pl.repeat(text, now.height, dtype=pl.String, eager=True)
    pairs = [(pl.lit(_value(old, then)), pl.lit(_value(new, now))) for old, new in values]
    if len(pairs) == 1:
        old, new = pairs[0]
        return pl.select(pl.concat_str(pl.lit(f"{text}: "), old, pl.lit(" → "), new)).to_series()
    # A clause of several values says which is which, and leaves out those that stayed as they were.
    named = [
        pl.concat_str(pl.lit(f"{value.text} "), old, pl.lit(" → "), new)
        for (_, value), (old, new) in zip(values, pairs, strict=True)
    ]
    moved = [pl.when(old != new).then(told) for told, (old, new) in zip(named, pairs, strict=True)]
    any_moved = pl.any_horizontal(old != new for old, new in pairs)
    said = (
        pl.when(any_moved)
        .then(pl.concat_str(moved, separator=", ", ignore_nulls=True))
        .otherwise(pl.concat_str(named, separator=", "))
    )
    return pl.select(pl.concat_str(pl.lit(f"{text}: "), said)).to_series()


def _value(value: Value, rows: pl.DataFrame) -> pl.Series:
    if not readable(value.expr, rows):
        return pl.repeat(UNKNOWN, rows.height, dtype=pl.String, eager=True)
    return shown(rows.with_columns(__value=value.expr)["__value"])
