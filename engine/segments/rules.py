"""Rules that put users into named segments: SQL conditions over one user's features, scores and attributes.

A rule holds when its condition is true. NULL is not true: `region = 'Bretagne'` and `NOT region = 'Bretagne'` both
leave out a user without region. NaN in a column counts as NULL. Text is compared exactly, the text of the rule being
normalised to Unicode NFC; `LIKE` and `ILIKE` take patterns. `engine.sql_text` has the words of the language;
here the conditions are typed and evaluated by Polars.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from engine.config import Segment
from engine.errors import ConfigError
from engine.sql_text import FUNCTIONS, read_rule
from engine.suggest import some_of

# A panic inside Polars is a BaseException.
_REFUSALS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True, eq=False)
class CompiledRules:
    """Checked rules, in the order of the configuration."""

    names: tuple[str, ...]
    """Segment names, in Unicode NFC."""
    conditions: tuple[pl.Expr, ...]
    """Boolean or null for each row, from that row alone."""
    columns: tuple[str, ...]
    """The columns that the conditions read, sorted."""
    subject: str = "Segment"
    """What has the names, as it is called in a message."""

    def holds(self, frame: pl.DataFrame) -> pl.DataFrame:
        """One Boolean column without nulls per rule, named by the rule, in the rows and row order of `frame`.

        Raises:
            ConfigError: A condition fails on a value in the data.
        """
        floats = [column for column in self.columns if frame.schema[column].is_float()]
        clean = frame.select(self.columns).with_columns(pl.col(floats).fill_nan(None))
        columns = []
        for name, condition in zip(self.names, self.conditions, strict=True):
            try:
                columns.append(clean.select(condition.fill_null(value=False).alias(name)).to_series())
            except _REFUSALS as error:
                message = f"{self.subject} {name!r}: its condition fails on the data: {_first_line(error)}"
                hint = "Guard the value with CASE or TRY_CAST."
                raise ConfigError(message, code="segment-rule-failed", hint=hint) from error
        return pl.DataFrame(columns)


def compile_rules(segments: Sequence[Segment], schema: Mapping[str, pl.DataType]) -> CompiledRules:
    """The rules of the configuration, read, checked against the columns and typed.

    Args:
        segments: Names and SQL conditions, first match first.
        schema: The columns a rule may name, with their types.

    Raises:
        ConfigError: Every problem of every rule at once: text that cannot be read, unknown columns and functions,
            aggregates, window functions, subqueries, the clock, comparisons of different kinds, conditions that are not
            true or false.
    """
    conditions: list[pl.Expr] = []
    columns: set[str] = set()
    problems: list[str] = []
    for segment in segments:
        condition, used, found = read_condition(segment.where, schema)
        if condition is not None:
            conditions.append(condition)
            columns |= used
        problems += [f"  - {segment.name!r}: {problem}\n      in: {segment.where}" for problem in found]
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        message = f"{count} in the conditions of [[segments]]:\n" + "\n".join(problems)
        hint = (
            "A condition compares columns of one user with AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL, CASE, arithmetic "
            f"and {', '.join(sorted(FUNCTIONS))}. Columns there are: {some_of(sorted(schema))}."
        )
        raise ConfigError(message, code="segment-rules", hint=hint)
    names = tuple(unicodedata.normalize("NFC", segment.name) for segment in segments)
    return CompiledRules(names, tuple(conditions), tuple(sorted(columns)))


def read_condition(
    where: str, schema: Mapping[str, pl.DataType]
) -> tuple[pl.Expr | None, frozenset[str], tuple[str, ...]]:
    """One condition: its expression (None when it cannot be read), the columns it names, and what is wrong with it.

    Args:
        where: SQL condition over one user's row.
        schema: The columns it may name, with their types.
    """
    text = read_rule(where, schema)
    used: dict[str, pl.DataType] = {column: schema[column] for column in sorted(text.columns)}
    found = list(text.problems)
    found += [f"column {name!r} is a {dtype}, not a single value" for name, dtype in used.items() if dtype.is_nested()]
    condition = None if found else _parse(text.sql, found)
    if condition is not None:
        found += _type_problems(condition, pl.Schema(used))
    return condition, text.columns, tuple(found)


def _parse(sql: str, problems: list[str]) -> pl.Expr | None:
    try:
        condition = pl.sql_expr(sql)
    except _REFUSALS as error:
        problems.append(f"is not a SQL condition: {_first_line(error)}")
        return None
    # Polars reads a word after a complete expression as the name of a column to be made.
    if not condition.meta.eq(condition.meta.undo_aliases()):
        problems.append("has two values side by side; is an operator, AND or OR missing?")
        return None
    return condition


def _type_problems(condition: pl.Expr, schema: pl.Schema) -> list[str]:
    problems = _mixed_kinds(condition, schema)
    if problems:
        return problems
    try:
        # Some refusals come only with a value.
        value = pl.DataFrame([_sample(name, dtype) for name, dtype in schema.items()]).select(condition).to_series()
    except _REFUSALS as error:
        return [f"does not fit the types of its columns: {_first_line(error)}"]
    return [] if value.dtype == pl.Boolean else [f"must be true or false, it gives {value.dtype}"]


def _mixed_kinds(condition: pl.Expr, schema: pl.Schema) -> list[str]:
    """Comparisons that Polars would answer although the two sides can never be meant to be equal."""
    nodes = [condition]
    inputs: list[range] = []
    while len(inputs) < len(nodes):
        below = nodes[len(inputs)].meta.pop(schema=schema)[::-1]
        inputs.append(range(len(nodes), len(nodes) + len(below)))
        nodes += below
    dtypes: list[pl.DataType | None] = [None] * len(nodes)
    problems = []
    for index in reversed(range(len(nodes))):
        sides = [dtypes[side] for side in inputs[index]]
        # Two truth values give a truth value; asking Polars again for each part of a long chain takes quadratic time.
        dtypes[index] = pl.Boolean() if sides == [pl.Boolean(), pl.Boolean()] else _dtype(nodes[index], schema)
        kinds = {_kind(side) for side in sides} - {None}
        if len(sides) == len(kinds) == 2 and dtypes[index] in (pl.Boolean(), None):
            shown = [f"{_shown(nodes[side])} ({dtypes[side]})" for side in inputs[index]]
            problems.append(f"compares or combines {shown[0]} with {shown[1]}")
    return problems[::-1]


def _kind(dtype: pl.DataType | None) -> str | None:
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    if inner is None:
        return None
    if inner.is_numeric():
        return "number"
    if inner.is_temporal():
        return "time"
    if inner in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    return "truth" if inner == pl.Boolean else None


def _dtype(expr: pl.Expr, schema: pl.Schema) -> pl.DataType | None:
    """The type of the expression; nothing when Polars refuses it, which `_type_problems` tells for the whole."""
    try:
        return pl.LazyFrame(schema=schema).select(expr.alias("value")).collect_schema()["value"]
    except _REFUSALS:
        return None


def _sample(name: str, dtype: pl.DataType) -> pl.Series:
    try:
        return pl.Series(name, [1]).cast(dtype, strict=False)
    except _REFUSALS:
        return pl.Series(name, [None], dtype=dtype)


def _shown(expr: pl.Expr) -> str:
    return re.sub(r'col\("(.*?)"\)', r"\1", re.sub(r"dyn (?:int|float): ", "", str(expr))).strip("[]")


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
