"""The ids of contacts: the one place where their text is made."""

from __future__ import annotations

import polars as pl


def user_ids(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """The frame with the column's ids as text, null where there is none.

    Args:
        frame: Rows of contacts, or of a table that is matched by user.
        column: The column with the ids, integers or text; it is replaced.
    """
    text = pl.col(column).cast(pl.String)
    return frame.with_columns(pl.when(text != "").then(text).alias(column))
