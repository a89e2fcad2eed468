"""Labels: who had the target's event in `[anchor, anchor + horizon)`. One function for training and validation.

Features at an anchor see the days before it, labels the days from it on, so no event is on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from engine.config import Target
from engine.errors import ConfigError
from engine.events.schema import FILTERABLE
from engine.features.money import major_units
from engine.sql_text import read_rule


def target_condition(target: Target) -> tuple[pl.Expr, tuple[str, ...]]:
    """The target's `where` over encoded events, and the canonical columns it reads.

    Amounts are compared in major units, as they are written in the configuration.

    Raises:
        ConfigError: It does not parse, names another column, or is not a condition.
    """
    if target.where is None:
        return pl.lit(value=True), ()
    schema: dict[str, pl.DataType] = {**FILTERABLE, "amount": pl.Float64()}
    read = read_rule(target.where, schema)
    problems = list(read.problems)
    expression = pl.lit(value=True)
    if not problems:
        try:
            expression = pl.sql_expr(read.sql)
            dtype = pl.DataFrame(schema=schema).select(expression.alias("_")).schema["_"]
            problems = [] if dtype == pl.Boolean else [f"expected a condition (true or false), got {dtype}"]
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            problems = [str(error).splitlines()[0]]
    if problems:
        raise ConfigError(
            f"targets.{target.name}.where: {'; '.join(problems)}: {target.where}",
            code="target-where",
            hint="Columns: " + ", ".join(schema),
        )
    return expression.fill_null(value=False), tuple(sorted(read.columns))


def positives(events: pl.DataFrame, target: Target, code: int, anchor_day: int, currency_digits: int) -> pl.Series:
    """Users (their numbers, each once) with the target's event in `[anchor, anchor + horizon)`.

    Args:
        events: `user`, `type`, `day` and the columns of the target's `where`; one row per event.
        target: The target.
        code: Code of its event type.
        anchor_day: Days since 1970-01-01.
        currency_digits: Decimals of the minor unit.
    """
    condition, columns = target_condition(target)
    inside = (pl.col("day") >= anchor_day) & (pl.col("day") < anchor_day + target.horizon_days)
    window = events.lazy().filter((pl.col("type") == code) & inside)
    if "amount" in columns:
        window = window.with_columns(amount=major_units(pl.col("amount"), currency_digits))
    return window.filter(condition).select("user").unique().collect()["user"]


def anchors(target: Target, as_of_day: int, training: int) -> tuple[int, ...]:
    """Anchor days of a target, latest first: the validation anchor, then the training anchors.

    They are a horizon apart and the last label window ends at `as_of`, so label windows never overlap.
    """
    return tuple(as_of_day - target.horizon_days * step for step in range(1, training + 2))


def all_anchors(targets: Iterable[Target], as_of_day: int, training: int) -> tuple[int, ...]:
    """Every anchor day that some target needs, ascending."""
    return tuple(sorted({day for target in targets for day in anchors(target, as_of_day, training)}))
