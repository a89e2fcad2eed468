from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.features import bands as module
from engine.features.bands import NEVER, Bands, BandTotals
from engine.features.windows import merge_windows

USERS, TYPES = 4, 3
SCHEMA = {"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, "events": pl.Int64, "amount_minor": pl.Int64}
Row = tuple[int, int, int, int, int]
ROWS = st.lists(
    st.tuples(
        st.integers(0, USERS - 1),
        st.integers(0, TYPES - 1),
        st.integers(40, 99),
        st.integers(0, 9),
        st.integers(-(2**40), 2**40),
    ),
    max_size=30,
)
WINDOWS = st.sets(st.integers(1, 50), min_size=1, max_size=5).map(lambda found: tuple(sorted(found)))


def totals_of(rows: list[Row], windows: tuple[int, ...]) -> BandTotals:
    return BandTotals(pl.DataFrame(rows, schema=SCHEMA, orient="row"), Bands(100, windows, USERS), TYPES)


@pytest.mark.parametrize("cells", [1 << 23, 1], ids=["one pass", "a pass per type"])
@given(rows=ROWS, windows=WINDOWS)
def test_a_windows_total_is_the_sum_over_its_days(cells: int, rows: list[Row], windows: tuple[int, ...]) -> None:
    starts = [*(100 - window for window in windows), -NEVER]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CELLS", cells)
        totals = totals_of(rows, windows)
        for code in range(TYPES):
            own = [row for row in rows if row[1] == code]
            for found, position in ((totals.events(code), 3), (totals.amounts(code), 4)):
                expected = [
                    [sum(row[position] for row in own if row[0] == user and row[2] >= start) for start in starts]
                    for user in range(USERS)
                ]
                assert found.tolist() == expected
                assert found.dtype == np.int64


@pytest.mark.parametrize("bits", [1 << 26, 0], ids=["bitmap", "sorted"])
@given(rows=ROWS, windows=WINDOWS)
def test_days_are_counted_once(bits: int, rows: list[Row], windows: tuple[int, ...]) -> None:
    starts = [*(100 - window for window in windows), -NEVER]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BITS", bits)
        totals = totals_of(rows, windows)
        expected = [
            [len({row[2] for row in rows if row[0] == user and row[2] >= start}) for start in starts]
            for user in range(USERS)
        ]
        assert totals.active_days().tolist() == expected


@given(rows=ROWS)
def test_first_last_and_buying_days(rows: list[Row]) -> None:
    totals = totals_of(rows, (7,))
    buying = totals.buying_days(1)
    for user in range(USERS):
        own = [row for row in rows if row[0] == user]
        assert totals.first_days()[user] == min((row[2] for row in own), default=NEVER)
        for code in range(TYPES):
            assert totals.last_days()[code, user] == max((row[2] for row in own if row[1] == code), default=-NEVER)
        days = {row[2] for row in own if row[1] == 1}
        first = min(days, default=NEVER)
        assert (buying.days[user], buying.first[user]) == (len(days), first)
        assert buying.first_amount[user] == sum(row[4] for row in own if row[1] == 1 and row[2] == first)


def test_the_most_windows_there_can_be_have_a_band_each() -> None:
    windows = merge_windows(range(1, 101), 365)
    days = [(0, 0, day, 1, 0) for day in range(1000)]
    totals = BandTotals(pl.DataFrame(days, schema=SCHEMA, orient="row"), Bands(1000, windows, 1), 1)
    assert totals.events(0).tolist() == [[*range(1, 101), 365, 1000]]


def test_a_window_holds_its_first_day_and_not_the_day_before() -> None:
    assert Bands(100, (1, 7), 1).of(np.array([99, 98, 93, 92, -500])).tolist() == [0, 1, 1, 2, 2]
