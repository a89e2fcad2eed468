"""The order of user ids, by which the id is chosen that a group of contacts keeps."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

_WHOLE: Final = r"^(?:0|-?[1-9][0-9]{0,17})$"
_NUMBER: Final = re.compile(_WHOLE)


def id_order(name: str) -> list[pl.Expr]:
    """What to sort ids (text) by: whole numbers first and by their value, then the others by their bytes."""
    number = pl.when(pl.col(name).str.contains(_WHOLE)).then(pl.col(name)).cast(pl.Int64)
    return [number.is_null(), number, pl.col(name)]


def order_of(user_id: str) -> tuple[bool, int, str]:
    """The place of one id in the same order."""
    is_number = _NUMBER.fullmatch(user_id) is not None
    return not is_number, int(user_id) if is_number else 0, user_id
