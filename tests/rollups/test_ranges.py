from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rollups.ranges import KEYS, KeyRange, key_ranges


@pytest.mark.parametrize("buckets", [1, 2, 3, 8, 1024])
def test_ranges_cover_every_key_once(buckets: int) -> None:
    ranges = key_ranges(buckets)
    assert len(ranges) == buckets
    assert ranges[0].start == 0
    assert ranges[-1].end == KEYS
    assert all(left.end == right.start for left, right in pairwise(ranges))
    assert max(r.end - r.start for r in ranges) - min(r.end - r.start for r in ranges) <= 1


@given(keys=st.lists(st.integers(0, KEYS - 1) | st.sampled_from([0, KEYS - 1, KEYS // 2, KEYS // 2 - 1]), max_size=20))
def test_a_key_is_in_one_range(keys: list[int]) -> None:
    frame = pl.DataFrame({"user_key": pl.Series(keys, dtype=pl.UInt64)})
    held = [frame.filter(keys_of.contains())["user_key"].to_list() for keys_of in key_ranges(8)]
    assert sorted(key for found in held for key in found) == sorted(keys)
    for keys_of, found in zip(key_ranges(8), held, strict=True):
        assert all(keys_of.start <= key < keys_of.end for key in found)


def test_the_column_can_have_another_name() -> None:
    frame = pl.DataFrame({"key": pl.Series([4, 5, 6], dtype=pl.UInt64)})
    assert frame.filter(KeyRange(5, 6).contains("key"))["key"].to_list() == [5]
