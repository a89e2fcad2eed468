from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from engine.features.totals import NEVER, days_since, ratio, window_totals

ROWS = pl.DataFrame(
    [(5, 0, 99, 2, 10), (5, 0, 97, 1, -3), (5, 1, 90, 4, 0), (9, 1, 100, 7, 7), (2, 2, 99, 1, 1), (7, 0, 98, 1, 1)],
    schema={"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, "events": pl.Int64, "amount_minor": pl.Int64},
    orient="row",
)


def test_totals_are_of_the_asked_types_and_of_days_before() -> None:
    totals = window_totals(ROWS, 100, (3, 2, 3), (0, 1, None))
    assert totals.users.to_list() == [5, 7]
    assert totals.windows == (2, 3)
    assert totals.events(0).tolist() == [[2, 3, 3], [1, 1, 1]]
    assert totals.events(0, 1, None).tolist() == [[2, 3, 7], [1, 1, 1]]
    assert totals.amounts(0).tolist() == [[10, 7, 7], [1, 1, 1]]
    assert totals.last_day(1).tolist() == [90, NEVER]
    assert totals.last_day(None).tolist() == [NEVER, NEVER]
    assert totals.within(3) == 1


@pytest.mark.parametrize("rows", [ROWS.clear(), ROWS.filter(pl.col("day") >= 100)])
def test_nothing_gives_nothing(rows: pl.DataFrame) -> None:
    totals = window_totals(rows, 100, (7,), (0, 1))
    assert totals.users.len() == 0
    assert totals.events(0).shape == totals.amounts(1).shape == (0, 2)


def test_ratios_and_days_are_null_where_there_is_nothing() -> None:
    assert ratio(np.array([1, 2, 0]), np.array([3, 0, 5])).to_list() == [1 / 3, None, 0.0]
    assert days_since(np.array([90, NEVER]), 100).to_list() == [10, None]
