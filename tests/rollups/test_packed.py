from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from engine.rollups.packed import (
    MAX_TYPES,
    pack_band,
    pack_day,
    pack_user_day,
    unpack_band,
    unpack_day,
    unpack_type,
    unpack_user,
)

SCHEMA = {"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, "band": pl.UInt8}
rows = st.tuples(
    st.integers(0, 2**28 - 1), st.integers(0, MAX_TYPES - 1), st.integers(-719_161, 2_932_896), st.integers(0, 101)
)


@given(st.lists(rows, min_size=1, max_size=20))
def test_keys_give_back_what_they_are_made_of(values: list[tuple[int, int, int, int]]) -> None:
    frame = pl.DataFrame(values, SCHEMA, orient="row")
    days = frame.select(key=pack_day()).select(unpack_user("key"), unpack_type("key"), unpack_day("key"))
    assert days.equals(frame.select("user", "type", "day"))
    bands = frame.select(key=pack_band()).select(unpack_user("key"), unpack_type("key"), unpack_band("key"))
    assert bands.equals(frame.select("user", "type", "band"))
    users = frame.select(key=pack_user_day()).select(unpack_user("key"), unpack_day("key"))
    assert users.equals(frame.select("user", "day"))


@given(st.lists(rows, min_size=2, max_size=20))
def test_keys_are_in_the_order_of_what_they_are_made_of(values: list[tuple[int, int, int, int]]) -> None:
    frame = pl.DataFrame(values, SCHEMA, orient="row")
    assert frame.sort(pack_day(), "band").equals(frame.sort("user", "type", "day", "band"))
