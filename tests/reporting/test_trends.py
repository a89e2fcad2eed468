from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.reporting.facts_files import HISTORY
from engine.reporting.trends import sizes_over_dates, sparkline, totals_over_dates

DAY, NEXT = date(2026, 1, 1), date(2026, 2, 1)


def history(*rows: tuple[date, str, int]) -> pl.DataFrame:
    full = [(day, name, users, 10.0 * users, 1.0, 2.0) for day, name, users in rows]
    return pl.DataFrame(full, HISTORY, orient="row")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([5], "▄"),
        ([5, 5, 5], "▄▄▄"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([3, None, 1], "█·▁"),
        ([None, None], "··"),
        ([-1.5, 0, 1.5], "▁▅█"),
    ],
)
def test_sparklines(values: list[float | None], line: str) -> None:
    assert sparkline(values) == line


def test_a_small_segment_of_a_group_hides_another_one_and_a_tag_does_not() -> None:
    groups = {"a": "primary", "b": "primary", "c": "primary", "t": None, "u": None}
    rows = [
        (DAY, "a", 3),
        (DAY, "b", 20),
        (DAY, "c", 30),
        (DAY, "t", 4),
        (DAY, "u", 12),
        (NEXT, "a", 10),
        (NEXT, "b", 10),
    ]
    found = sizes_over_dates(history(*rows), groups, 10)
    shown = {(day, name): users for day, name, users in found.select("as_of", "segment", "users").iter_rows()}
    assert shown == {
        (DAY, "a"): None,
        (DAY, "b"): None,
        (DAY, "c"): 30,
        (DAY, "t"): None,
        (DAY, "u"): 12,
        (NEXT, "a"): 10,
        (NEXT, "b"): 10,
    }
    assert found.filter(pl.col("users").is_null())["revenue"].to_list() == [None, None, None]
    assert sizes_over_dates(history(*rows), groups, 10, ["c"])["users"].to_list() == [30]


def test_all_users() -> None:
    found = sizes_over_dates(history((DAY, "(all users)", 3), (NEXT, "(all users)", 300)), {}, 10)
    assert totals_over_dates(found)["users"].to_list() == [None, 300]
    assert totals_over_dates(found)["revenue"].to_list() == [None, 3000.0]
