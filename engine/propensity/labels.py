"""Labels: who had the target's event in `[anchor, anchor + horizon)`. One function for training and validation.

Features at an anchor see the days before it, labels the days from it on, so no event is on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from engine.config import Target
from engine.events.condition import condition


def target_condition(target: Target) -> tuple[pl.Expr, tuple[str, ...]]:
    """The target's `where` over encoded events, and the canonical columns it reads.

    Amounts are compared in major units, as they are written in the configuration.

    Raises:
        ConfigError: It does not parse, names another column, or is not a condition.
    """
    if target.where is None:
        return pl.lit(value=True), ()
    return condition(target.where, f"targets.{target.name}.where", code="target-where")


def positives(daily: pl.DataFrame, target: Target, code: int, anchor_day: int) -> pl.Series:
    """Users (their numbers, each once) with the target's event in `[anchor, anchor + horizon)`.

    Args:
        daily: `user`, `type`, `day`, `events`; partials.
        target: The target.
        code: Code of the target's events, under its condition.
        anchor_day: Days since 1970-01-01.
    """
    inside = (pl.col("day") >= anchor_day) & (pl.col("day") < anchor_day + target.horizon_days)
    window = daily.lazy().filter((pl.col("type") == code) & inside & (pl.col("events") > 0))
    return window.select("user").unique().sort("user").collect()["user"]


def anchors(target: Target, as_of_day: int, training: int) -> tuple[int, ...]:
    """Anchor days of a target, latest first: the validation anchor, then the training anchors.

    They are a horizon apart and the last label window ends at `as_of`, so label windows never overlap.
    """
    return tuple(as_of_day - target.horizon_days * step for step in range(1, training + 2))


def all_anchors(targets: Iterable[Target], as_of_day: int, training: int) -> tuple[int, ...]:
    """Every anchor day that some target needs, ascending."""
    return tuple(sorted({day for target in targets for day in anchors(target, as_of_day, training)}))
