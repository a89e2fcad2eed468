"""Since when and until when a user, or the users of a segment, were in segments."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl

from engine.config import Config
from engine.errors import ConfigError
from engine.ledger.history import membership_intervals
from engine.privacy.ids import named_ids
from engine.suggest import did_you_mean, some_of
from engine.why.published import open_published, published_dates


def intervals(config: Config, as_of: date | None, segment: str | None, user: str | None) -> tuple[date, pl.DataFrame]:
    """The intervals of membership as they are known on a published date.

    Args:
        config: The configuration; says where the tables are.
        as_of: The date; None: the latest.
        segment: Only this segment, also one that is no longer defined.
        user: Only this user, by the id as text.

    Returns:
        The date, and one row per user, segment and interval; see `engine.ledger.history.membership_intervals`.

    Raises:
        ConfigError: Nothing is published for the date, or nobody ever was in such a segment, or there is no such user.
        IntegrityError: A manifest is damaged.
    """
    published = open_published(Path(config.out).absolute(), as_of, ("memberships", "features"))
    rows = membership_intervals(published.out, published.as_of, segment)
    if user is not None:
        known = named_ids(config, (user.strip(),), published.user_dtype).get(user.strip())
        rows = rows.filter(pl.col("user_id") == known) if known is not None else rows.filter(pl.lit(value=False))
    table = rows.collect()
    if not table.is_empty():
        return published.as_of, table
    names = [found.name for found in published.segments] if published.table("segment_definitions") else []
    if segment is not None and segment not in names:
        raise ConfigError(
            f"no segment {segment!r} in what is published up to {published.as_of}{did_you_mean(segment, names)}",
            code="segment-unknown",
            hint=f"Segments: {some_of(names, command='tamis segments list')}."
            if names
            else "Nothing was published with segments.",
        )
    if user is not None:
        days = [day for day in published_dates(published.out) if day <= published.as_of]
        where = "no segment" if segment is None else f"segment {segment!r} never"
        raise ConfigError(
            f"user {user!r}: in {where} up to {published.as_of}",
            code="user-unknown",
            hint=f"{len(days)} dates are published, from {days[0]} to {days[-1]}.",
        )
    return published.as_of, table
