"""Whole-number codes for the values of categorical columns: learned by fit, kept in the bundle, applied by score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_LEVELS = 255
"""Values kept per column, the number of bins LightGBM gives a feature; the most frequent ones stay."""


@dataclass(frozen=True)
class CodeTable:
    """The known values of one column as text, ascending by code point; the code of a value is its position."""

    column: str
    values: tuple[str, ...]


def fit_codes(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[CodeTable, ...]:
    """Code tables learned from training rows.

    A column keeps its `MAX_LEVELS` most frequent values, the smaller value first where counts are equal. Nulls have no
    code.

    Args:
        frame: Training rows.
        columns: The categorical columns; text, integers, booleans or dates.

    Returns:
        One table per column, in the order of `columns`.
    """
    return tuple(_fit_column(frame.get_column(column)) for column in columns)


def cut_levels(frame: pl.DataFrame, tables: Sequence[CodeTable]) -> tuple[str, ...]:
    """One sentence per column that has more values than its table keeps.

    Args:
        frame: The rows that the tables were learned from.
        tables: As `fit_codes` gave them.
    """
    sentences = []
    for table in tables:
        if len(table.values) < MAX_LEVELS:
            continue
        values = frame.get_column(table.column).cast(pl.String).drop_nulls()
        levels = values.n_unique()
        if levels > MAX_LEVELS:
            other = int((~values.is_in(list(table.values))).sum())
            sentences.append(
                f"{table.column!r} has {levels:,} values; the {MAX_LEVELS} most frequent are kept, the others "
                f"({100 * other / values.len():.1f} % of its training rows) count as missing"
            )
    return tuple(sentences)


def _fit_column(values: pl.Series) -> CodeTable:
    counts = (
        values.cast(pl.String)
        .alias("value")
        .to_frame()
        .lazy()
        .drop_nulls()
        .group_by("value")
        .len("rows")
        .sort(["rows", "value"], descending=[True, False])
        .head(MAX_LEVELS)
        .collect()
    )
    return CodeTable(column=values.name, values=tuple(sorted(counts.get_column("value"))))


def encode(frame: pl.DataFrame, tables: Sequence[CodeTable]) -> pl.DataFrame:
    """`frame` with the columns of `tables` replaced by their Int32 codes; null and unknown values become null."""
    return frame.with_columns(_codes(table) for table in tables)


def _codes(table: CodeTable) -> pl.Expr:
    if not table.values:
        return pl.lit(None, dtype=pl.Int32).alias(table.column)
    return (
        pl.col(table.column)
        .cast(pl.String)
        .replace_strict(
            list(table.values),
            list(range(len(table.values))),
            default=None,
            return_dtype=pl.Int32,
        )
    )
