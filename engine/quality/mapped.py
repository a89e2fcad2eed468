"""What the mapping of a source says of the quality of its rows: which columns can be empty, rules, and lateness."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from engine.config_sources import Source, Value


@dataclass(frozen=True)
class KnownEmpty:
    """What the footer of a file says of a column.

    Attributes:
        column: As the file names it.
        rows: Rows of the whole file without a value: null, or empty text.
    """

    column: str
    rows: int


@dataclass(frozen=True)
class ToldColumn:
    """A canonical column that comes from the files.

    Attributes:
        is_empty: Boolean: whether a row has no value in it: null, or empty text.
        plain: The column of the file that it is, as it stands there; None when it is computed.
    """

    is_empty: pl.Expr
    plain: str | None


@dataclass(frozen=True)
class CheckedRule:
    """A rule of the configuration over the columns of a source.

    Attributes:
        name: Its name.
        broken: Boolean: whether a row breaks it; null does not.
        rejects: Whether such a row is rejected.
        reason: What `rejects` says of it.
    """

    name: str
    broken: pl.Expr
    rejects: bool
    reason: str


def told_columns(
    source: Source, raw: Mapping[str, tuple[pl.Expr, pl.DataType]], schema: Collection[str]
) -> dict[str, ToldColumn]:
    """The canonical columns that come from the files; constants are none of them.

    Args:
        source: The source.
        raw: Expression and type of each canonical column, before it is converted.
        schema: Columns of the file.
    """
    found = {}
    for name, (expression, dtype) in raw.items():
        entry = getattr(source.columns, name)
        if isinstance(entry, Value):
            continue
        is_text = dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum)
        # Text is compared as text: a category that the file does not have cannot be asked for.
        blank = expression.cast(pl.String) == "" if is_text else pl.lit(value=False)
        is_empty = (expression.is_null() | blank).fill_null(value=True)
        found[name] = ToldColumn(is_empty, entry if isinstance(entry, str) and entry in schema else None)
    return found


def lateness_us(event: pl.Expr, received: pl.Expr) -> pl.Expr:
    """Microseconds from an event to its receipt."""
    return received.dt.epoch("us") - event.dt.epoch("us")


def plain_columns(source: Source) -> tuple[str, ...]:
    """Columns of the files that canonical ones may be, as they stand there."""
    entries = (getattr(source.columns, name) for name in type(source.columns).model_fields)
    return tuple(dict.fromkeys(entry for entry in entries if isinstance(entry, str)))
