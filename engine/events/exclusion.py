"""Users whose events do not count: colleagues, tests, monitors."""

from __future__ import annotations

import re

import polars as pl

from engine.config import Exclude
from engine.errors import ConfigError

_WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)")


def is_excluded(exclude: Exclude, user: pl.Expr, user_dtype: pl.DataType) -> pl.Expr:
    """Whether an id is one of those that do not count: a Boolean, false for null.

    Listed ids are compared as text, so `7` and `"7"` in the configuration are one id.

    Args:
        exclude: The ids and the pattern.
        user: The id: of an event's user, or of the user that it was resolved to.
        user_dtype: Int64 or String: the type of the user ids.

    Raises:
        ConfigError: Listed ids that no user can have.
    """
    listed = list(dict.fromkeys(str(user_id) for user_id in exclude.user_ids))
    conditions = []
    if user_dtype == pl.String:
        if listed:
            conditions.append(user.is_in(listed))
    elif listed:
        conditions.append(user.is_in(pl.Series(_numbers(listed), dtype=pl.Int64).implode()))
    if exclude.pattern is not None:
        conditions.append(user.cast(pl.String).str.contains(exclude.pattern))
    if not conditions:
        return pl.lit(value=False)
    return pl.any_horizontal(condition.fill_null(value=False) for condition in conditions)


def _numbers(listed: list[str]) -> list[int]:
    wrong = [
        str(place)
        for place, text in enumerate(listed, 1)
        if not _WHOLE_NUMBER.fullmatch(text) or not -(2**63) <= int(text) < 2**63
    ]
    if wrong:
        raise ConfigError(
            "exclude.user_ids: the user ids of the events are integers, and no user can have "
            f"{len(wrong)} of those listed, by their place in the list: {', '.join(wrong)}",
            code="exclude-user-ids",
            hint='Take them out, or cast the ids in [sources.columns]: user_id = { sql = "CAST(… AS VARCHAR)" }.',
        )
    return [int(text) for text in listed]
