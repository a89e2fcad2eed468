from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events.mapping import stable_hash
from engine.rollups.ranges import KEYS, Files, KeyRange, in_range, key_ranges, portion_name


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


@given(cut=st.integers(1, 40), buckets=st.integers(1, 40), number=st.integers(0, 39))
def test_a_range_opens_the_files_that_share_keys_with_it(cut: int, buckets: int, number: int) -> None:
    keys = key_ranges(buckets)[number % buckets]
    names = [portion_name("daily/shop", place, cut) for place in range(cut)]
    sharing = [
        name
        for name, held in zip(names, key_ranges(cut), strict=True)
        if held.start < keys.end and keys.start < held.end
    ]
    assert Files(["daily/a.parquet", *names, "daily/z.parquet"]).within(keys) == (
        "daily/a.parquet",
        *sharing,
        "daily/z.parquet",
    )


def test_files_that_nobody_of_a_range_is_in_leave_one_for_its_schema() -> None:
    names = [portion_name("users/x", place, 4) for place in (0, 1)]
    assert Files(names).within(key_ranges(4)[3]) == (names[0],)
    assert Files([]).within(key_ranges(4)[3]) == ()
    # Files of units that were not cut can have anybody.
    assert Files(["daily/a-0011223344ff.parquet"]).within(key_ranges(4)[3]) == ("daily/a-0011223344ff.parquet",)


def test_a_range_is_all_that_is_read_unless_a_key_was_changed() -> None:
    ids = pl.Series("user_id", [f"u{number}" for number in range(200)])
    part = ids.to_frame().select(stable_hash(pl.col("user_id")).alias("user_key"), "user_id")
    first, second = key_ranges(2)
    own = part.filter(first.contains())["user_id"]
    assert "is_in" not in str(in_range(first, own))
    assert part.filter(in_range(first, own))["user_id"].to_list() == own.to_list()
    [moved, *_] = part.filter(second.contains())["user_id"]
    found = part.filter(in_range(first, pl.concat([own, pl.Series("user_id", [moved])])))["user_id"]
    assert set(found) == {*own, moved}
