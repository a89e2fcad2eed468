from __future__ import annotations

from collections import defaultdict

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.rollups.daily import daily_partials

SCHEMA = {"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, "amount": pl.Int64}
KEY = ["user", "type", "day"]
EXPECTED = {**SCHEMA, "events": pl.Int64, "amount_minor": pl.Int64, "priced": pl.Int64}
del EXPECTED["amount"]

rows = st.lists(
    st.tuples(
        st.integers(0, 3) | st.just(2**28 - 1),
        st.integers(0, 2) | st.just(4_000),
        st.integers(-3, 3) | st.sampled_from([-700_000, 2_900_000]),
        st.none() | st.integers(-(10**13), 10**13),
    ),
    max_size=40,
)


def frame_of(events: list[tuple[int, int, int, int | None]]) -> pl.DataFrame:
    return pl.DataFrame(events, SCHEMA, orient="row")


@given(events=rows)
def test_partials_equal_sums_over_plain_python(events: list[tuple[int, int, int, int | None]]) -> None:
    expected: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for user, kind, day, amount in events:
        sums = expected[user, kind, day]
        sums[0] += 1
        sums[1] += amount or 0
        sums[2] += amount is not None
    found = daily_partials(frame_of(events).lazy()).collect()
    assert dict(found.schema) == EXPECTED
    assert sorted(found.rows()) == sorted((*key, *sums) for key, sums in expected.items())


@given(events=rows, cut=st.integers(0, 40))
def test_partials_add_up(events: list[tuple[int, int, int, int | None]], cut: int) -> None:
    whole = daily_partials(frame_of(events).lazy()).collect()
    halves = [daily_partials(frame_of(half).lazy()).collect() for half in (events[:cut], events[cut:])]
    merged = pl.concat(halves).group_by(KEY).sum()
    assert_frame_equal(merged.sort(KEY), whole.sort(KEY))
