"""SQL conditions over the canonical columns of one event, for targets and for derived event types."""

from __future__ import annotations

import polars as pl

from engine.errors import ConfigError
from engine.events.schema import FILTERABLE
from engine.sql_text import read_rule


def condition(where: str, key: str, code: str = "feature-event") -> tuple[pl.Expr, tuple[str, ...]]:
    """The condition over encoded events, and the canonical columns it reads; null counts as false.

    Amounts are compared in major units, as they are written in the configuration: the caller turns them into major
    units first (`engine.features.money.major_units`).

    Args:
        where: SQL condition over the filterable columns.
        key: Where it stands in the configuration, such as `targets.vip.where`.
        code: Code of the error.

    Raises:
        ConfigError: It does not parse, names another column, or is not a condition.
    """
    schema: dict[str, pl.DataType] = {**FILTERABLE, "amount": pl.Float64()}
    read = read_rule(where, schema)
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
        raise ConfigError(f"{key}: {'; '.join(problems)}: {where}", code=code, hint="Columns: " + ", ".join(schema))
    return expression.fill_null(value=False), tuple(sorted(read.columns))
