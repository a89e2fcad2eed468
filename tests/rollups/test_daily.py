from __future__ import annotations

from collections import defaultdict

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.rollups.daily import merge_daily

SCHEMA = {"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, "events": pl.Int64, "amount_minor": pl.Int64}
Partial = tuple[int, int, int, int, int]

rows = st.lists(
    st.tuples(
        st.integers(0, 3) | st.just(2**28 - 1),
        st.integers(0, 2) | st.just(4_095),
        st.integers(-3, 3) | st.sampled_from([-719_161, 2_932_896]),
        st.integers(0, 5),
        st.integers(-(10**13), 10**13),
    ),
    max_size=40,
)


@given(rows)
def test_partials_are_summed_by_user_type_and_day(partials: list[Partial]) -> None:
    expected: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0])
    for user, kind, day, events, amount in partials:
        sums = expected[user, kind, day]
        sums[0] += events
        sums[1] += amount
    merged = merge_daily(pl.DataFrame(partials, SCHEMA, orient="row"))
    assert dict(merged.schema) == SCHEMA
    assert sorted(merged.rows()) == sorted((*key, *sums) for key, sums in expected.items())


@given(rows, st.integers(0, 40))
def test_partials_add_up(partials: list[Partial], cut: int) -> None:
    frame = pl.DataFrame(partials, SCHEMA, orient="row")
    halves = pl.concat([merge_daily(frame[:cut]), merge_daily(frame[cut:])])
    key = ["user", "type", "day"]
    assert_frame_equal(merge_daily(halves).sort(key), merge_daily(frame).sort(key))
