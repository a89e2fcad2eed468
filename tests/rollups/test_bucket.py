from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.rollups.bucket import KEYS, Bucket, KeyRange, key_ranges, load_bucket

SCHEMA = {
    "user_key": pl.UInt64,
    "user_id": pl.Int64,
    "source": pl.UInt16,
    "type": pl.UInt16,
    "day": pl.Int32,
    "time": pl.Int64,
    "event_id": pl.UInt64,
    "amount": pl.Int64,
    "channel": pl.String,
}
ALL = KeyRange(0, KEYS)
DAY_US = 86_400_000_000


def row(
    key: int, user: int | str, day: int = 0, amount: int | None = 1, event_id: int | None = None
) -> tuple[object, ...]:
    return (key, user, 0, 0, day, day * DAY_US, event_id, amount, f"c{day}")


def part(folder: Path, rows: list[tuple[object, ...]], name: str = "part", user_dtype: object = pl.Int64) -> str:
    file = folder / f"{name}.parquet"
    pl.DataFrame(rows, {**SCHEMA, "user_id": user_dtype}, orient="row").sort("user_key").write_parquet(file)
    return str(file)


def load(parts: list[str], keys: KeyRange = ALL, as_of_day: int = 100, lines: tuple[int, ...] = ()) -> Bucket:
    return load_bucket(parts, keys, frozenset(lines), as_of_day * DAY_US)


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
    assert all(
        keys_of.start <= key < keys_of.end for keys_of, found in zip(key_ranges(8), held, strict=True) for key in found
    )


def test_events_refer_to_users_in_the_order_of_their_ids(tmp_path: Path) -> None:
    bucket = load([part(tmp_path, [row(5, 30, 1), row(9, 10, 2), row(7, 20, 3), row(5, 30, 4)])])
    assert bucket.users.rows() == [(9, 10), (7, 20), (5, 30)]
    assert bucket.users.columns == ["user_key", "user_id"]
    assert bucket.events.columns == ["user", "type", "day", "time", "amount", "channel"]
    assert bucket.events.schema["user"] == pl.UInt32
    assert sorted(bucket.events.select("user", "day").rows()) == [(0, 2), (1, 3), (2, 1), (2, 4)]


@pytest.mark.parametrize("text", [False, True])
def test_ids_that_share_a_key_stay_apart(text: bool, tmp_path: Path) -> None:
    ids = ("a", "b", "c") if text else (1, 2, 3)
    rows = [row(5, ids[0], 1), row(5, ids[1], 2), row(5, ids[0], 3), row(6, ids[2], 4)]
    bucket = load([part(tmp_path, rows, user_dtype=pl.String if text else pl.Int64)])
    assert bucket.users["user_id"].to_list() == list(ids)
    assert sorted(bucket.events.select("user", "day").rows()) == [(0, 1), (0, 3), (1, 2), (2, 4)]


def test_only_users_with_a_kept_event_are_known_and_the_future_is_counted(tmp_path: Path) -> None:
    bucket = load([part(tmp_path, [row(5, 1, 9), row(6, 2, 10), row(7, 3, 11)])], as_of_day=10)
    assert bucket.users["user_id"].to_list() == [1]
    assert (bucket.events.height, bucket.after_as_of) == (1, 2)


def test_repeats_are_counted_over_all_parts(tmp_path: Path) -> None:
    first = part(tmp_path, [row(5, 1, 1, event_id=7), row(5, 1, 2, event_id=8)], "first")
    second = part(tmp_path, [row(5, 1, 3, event_id=7), row(5, 1, 4)], "second")
    bucket = load([first, second])
    assert (bucket.events.height, bucket.duplicates, bucket.lines) == (3, 1, 0)
    summed = load([first, second], lines=(0,))
    assert (summed.events.height, summed.duplicates, summed.lines) == (3, 0, 1)
    assert sorted(summed.events.select("day", "amount").rows()) == [(1, 2), (2, 1), (4, 1)]


def test_an_order_counts_when_its_first_line_is_before_as_of(tmp_path: Path) -> None:
    rows = [row(5, 1, 9, 3, 7), row(5, 1, 10, 4, 7), row(5, 1, 10, 5, 8), row(5, 1, 11, 6, 8)]
    bucket = load([part(tmp_path, rows)], as_of_day=10, lines=(0,))
    assert bucket.events.select("day", "amount").rows() == [(9, 7)]
    assert (bucket.lines, bucket.after_as_of) == (2, 1)


@pytest.mark.parametrize("keys", [KeyRange(0, 5), KeyRange(6, KEYS)])
def test_a_range_without_users_gives_empty_frames_of_the_same_types(keys: KeyRange, tmp_path: Path) -> None:
    file = part(tmp_path, [row(5, 1, 1)])
    bucket, full = load([file], keys), load([file])
    assert (bucket.users.height, bucket.events.height) == (0, 0)
    assert (bucket.users.schema, bucket.events.schema) == (full.users.schema, full.events.schema)


def test_order_and_split_of_rows_change_nothing_but_the_order_of_events(tmp_path: Path) -> None:
    random = Random(2)
    rows = [row(random.randrange(6), 0, random.randrange(9), i, random.choice([None, 1, 2])) for i in range(60)]
    rows = [(key, 100 - int(str(key)), *others) for key, _, *others in rows]
    whole = load([part(tmp_path, rows)])
    random.shuffle(rows)
    cut = load([part(tmp_path, rows[:20], "a"), part(tmp_path, rows[20:], "b")])
    assert_frame_equal(cut.users, whole.users)
    assert_frame_equal(cut.events, whole.events, check_row_order=False)
    assert (cut.duplicates, cut.lines) == (whole.duplicates, whole.lines)
