"""Rows of converted files that were of somebody who was erased: empty and marked; all others keep their number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from engine.errors import DataError
from engine.events.ingest import ERASED
from engine.events.read import source_mapping
from engine.privacy.ids import IdRules, kept_ids

if TYPE_CHECKING:
    from engine.config import Source

Emptied = Callable[[pl.DataFrame], pl.Series]
"""For rows of a source, with its own columns: whether each is of somebody who was erased (Boolean)."""


def emptied_by(source: Source, rules: IdRules, currency_digits: int) -> Emptied | None:
    """What tells rows of people who were erased, for the conversion of a source; None when nobody was erased."""
    if rules.erased is None:
        return None

    def emptied(rows: pl.DataFrame) -> pl.Series:
        gone = nobody(rows)
        for ids in ids_of(source, rows, currency_digits):
            gone = gone | kept_ids(ids, rules).erased
        return gone

    return emptied


def ids_of(source: Source, rows: pl.DataFrame, currency_digits: int) -> list[pl.Series]:
    """The ids in rows of a source: of users, and of visitors where it has them; a row can name two.

    Columns that do not fit the mapping are told by every run, and not here: then there are none.
    """
    try:
        canonical = source_mapping(source, rows.lazy(), currency_digits).canonical
    except DataError:
        return []
    names = [name for name in ("user_id", "anonymous_id") if name in canonical]
    return rows.lazy().select(canonical[name].alias(name) for name in names).collect().get_columns()


def nobody(rows: pl.DataFrame) -> pl.Series:
    """False for every row."""
    return pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)


def empty_rows(rows: pl.DataFrame, gone: pl.Series) -> pl.DataFrame:
    """Rows with nothing in those that are gone, and the mark `ERASED` as the last column; earlier marks stay."""
    before = rows[ERASED].fill_null(value=False) if ERASED in rows.columns else nobody(rows)
    plain = rows.drop(ERASED, strict=False)
    if gone.any():
        plain = plain.with_columns(pl.when(~gone).then(pl.col(name)).alias(name) for name in plain.columns)
    return plain.with_columns((gone | before).alias(ERASED))
