from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.errors import IntegrityError
from engine.rollups.bucket import Bucket, Shelf, colliding_ids, load_bucket, shelves
from engine.rollups.checkpoint import Forward, Terms
from engine.rollups.ranges import KEYS, KeyRange, key_ranges, portion_name

ALL = KeyRange(0, KEYS)
USERS = {"user_key": pl.UInt64, "check": pl.UInt32, "user_id": pl.Int64}
DAILY = {"user_key": pl.UInt64, "type": pl.UInt16, "day": pl.Int32, "events": pl.Int64, "amount_minor": pl.Int64}
EVENTS = {
    "user_key": pl.UInt64,
    "type": pl.UInt16,
    "day": pl.Int32,
    "time": pl.Int64,
    "n": pl.Int64,
    "category": pl.String,
}


def put(folder: Path, name: str, schema: dict[str, Any], *rows: tuple[object, ...]) -> str:
    file = folder / f"{name}.parquet"
    pl.DataFrame(rows, schema, orient="row").sort("user_key").write_parquet(file)
    return str(file)


def shelf_of(users: list[str], daily: list[str], events: list[str] | None = None, **fields: Any) -> Shelf:
    values: dict[str, Any] = {"event_columns": (), "codes": (0,), "event_types": (), "end_day": 100, **fields}
    return Shelf(users=tuple(users), daily=tuple(daily), events=tuple(events or ()), **values)


def test_rows_refer_to_users_in_the_order_of_their_ids(tmp_path: Path) -> None:
    users = put(tmp_path, "u", USERS, (5, 1, 30), (9, 2, 10), (7, 3, 20), (8, 4, 99))
    daily = put(tmp_path, "d", DAILY, (5, 0, 1, 1, 11), (9, 0, 2, 2, 12), (7, 0, 3, 3, 13), (5, 0, 4, 4, 14))
    bucket = load_bucket(shelf_of([users], [daily]), ALL)
    # Users without a row are told, too.
    assert bucket.users.rows() == [(9, 10), (7, 20), (5, 30), (8, 99)]
    assert bucket.users.columns == ["user_key", "user_id"]
    assert dict(bucket.daily.schema) == {"user": pl.UInt32, **{name: DAILY[name] for name in list(DAILY)[1:]}}
    assert sorted(bucket.daily.rows()) == [(0, 0, 2, 2, 12), (1, 0, 3, 3, 13), (2, 0, 1, 1, 11), (2, 0, 4, 4, 14)]
    assert bucket.events is None


def test_types_are_positions_in_what_was_asked_for(tmp_path: Path) -> None:
    users = put(tmp_path, "u", USERS, (5, 1, 30))
    daily = put(tmp_path, "d", DAILY, *[(5, code, 1, code + 1, 0) for code in (0, 1, 2, 4_095)])
    bucket = load_bucket(shelf_of([users], [daily], codes=(4_095, 0, 3)), ALL)
    assert sorted(bucket.daily.select("type", "events").rows()) == [(0, 4_096), (1, 1)]


def test_days_at_or_after_the_end_are_not_used(tmp_path: Path) -> None:
    users = put(tmp_path, "u", USERS, (5, 1, 30))
    daily = put(tmp_path, "d", DAILY, *[(5, 0, day, 1, 0) for day in (-9, 9, 10, 11)])
    bucket = load_bucket(shelf_of([users], [daily], end_day=10), ALL)
    assert sorted(bucket.daily["day"]) == [-9, 9]


def test_single_events_of_the_types_that_are_wanted(tmp_path: Path) -> None:
    users = put(tmp_path, "u", USERS, (5, 1, 30))
    daily = put(tmp_path, "d", DAILY, (5, 0, 1, 1, 0))
    more = {**EVENTS, "page": pl.String}
    rows = [(5, code, day, day * 7, 1, f"c{code}") for code in (0, 1, 2) for day in (3, 12)]
    first = put(tmp_path, "e", EVENTS, *rows)
    second = put(tmp_path, "f", more, (5, 2, 4, 4, 0, "x", "not wanted"))
    for files in ([first, second], [second, first]):
        shelf = shelf_of(
            [users], [daily], files, event_columns=("category",), codes=(2, 1, 0), event_types=(0, 2), end_day=10
        )
        found = load_bucket(shelf, ALL).events
        assert found is not None
        assert found.columns == ["user", "type", "day", "time", "n", "category"]
        assert sorted(found.rows()) == [(0, 0, 3, 21, 1, "c2"), (0, 0, 4, 4, 0, "x"), (0, 2, 3, 21, 1, "c0")]


def test_a_user_is_told_once_however_often_it_is_written(tmp_path: Path) -> None:
    files = [put(tmp_path, name, USERS, (5, 1, 30), (6, 1, int(name))) for name in ("40", "40")]
    daily = put(tmp_path, "d", DAILY, (5, 0, 1, 1, 0))
    assert load_bucket(shelf_of(files, [daily]), ALL).users.rows() == [(5, 30), (6, 40)]


def test_two_ids_of_one_key_are_not_mixed_up(tmp_path: Path) -> None:
    users = [put(tmp_path, "u", USERS, (5, 1, 30), (6, 2, 31)), put(tmp_path, "v", USERS, (5, 3, 29), (5, 4, 33))]
    daily = put(tmp_path, "d", DAILY, (5, 0, 1, 1, 0))
    with pytest.raises(IntegrityError) as caught:
        load_bucket(shelf_of(users, [daily]), ALL)
    assert caught.value.code == "key-collision"
    # Ids are compared as text: all but the smallest get another key.
    assert colliding_ids(tuple(users), ALL) == ["30", "33"]
    assert colliding_ids(tuple(users), KeyRange(6, KEYS)) == []
    assert load_bucket(shelf_of(users, [daily]), KeyRange(6, KEYS)).users.rows() == [(6, 31)]


@pytest.mark.parametrize("known", [[], [(4, 1, 30)], [(6, 1, 30)]])
def test_rows_of_a_user_that_nobody_told_of(tmp_path: Path, known: list[tuple[object, ...]]) -> None:
    users = put(tmp_path, "u", USERS, *known)
    daily = put(tmp_path, "d", DAILY, (5, 0, 1, 1, 0))
    with pytest.raises(IntegrityError) as caught:
        load_bucket(shelf_of([users], [daily]), ALL)
    assert caught.value.code == "rollup-users"


@pytest.mark.parametrize("keys", [KeyRange(0, 5), KeyRange(6, KEYS)])
def test_a_range_without_users_gives_empty_frames_of_the_same_types(keys: KeyRange, tmp_path: Path) -> None:
    users = put(tmp_path, "u", USERS, (5, 1, 30))
    daily = put(tmp_path, "d", DAILY, (5, 0, 1, 1, 0))
    events = put(tmp_path, "e", EVENTS, (5, 0, 1, 1, 1, "x"))
    shelf = shelf_of([users], [daily], [events], event_columns=("category",), event_types=(0,))
    bucket, full = load_bucket(shelf, keys), load_bucket(shelf, ALL)
    assert bucket.events is not None
    assert full.events is not None
    assert (bucket.users.height, bucket.daily.height, bucket.events.height) == (0, 0, 0)
    assert (bucket.users.schema, bucket.daily.schema) == (full.users.schema, full.daily.schema)
    assert bucket.events.schema == full.events.schema


def test_buckets_together_are_the_whole(tmp_path: Path) -> None:
    rng = random.Random(3)
    ids = {rng.randrange(KEYS): number for number in range(50)}
    users = put(tmp_path, "u", USERS, *[(key, 1, number) for key, number in ids.items()])
    rows = [(rng.choice(list(ids)), rng.randrange(2), rng.randrange(9), 1, rng.randrange(99)) for _ in range(300)]
    files = [put(tmp_path, str(part), DAILY, *rows[part::3]) for part in range(3)]
    shelf = shelf_of([users], files, codes=(1, 0))

    def named(bucket: Bucket) -> pl.DataFrame:
        return bucket.daily.with_columns(bucket.users["user_id"].gather(bucket.daily["user"]).alias("user"))

    whole = named(load_bucket(shelf, ALL))
    parts = pl.concat([named(load_bucket(shelf, keys)) for keys in key_ranges(8)])
    assert whole.height == 300
    assert_frame_equal(parts.sort(pl.all()), whole.sort(pl.all()))


def test_files_of_other_users_are_not_opened(tmp_path: Path) -> None:
    low, high = key_ranges(2)
    users = put(tmp_path, "u", USERS, (5, 1, 30), (high.start + 5, 2, 40))
    daily = [str(tmp_path / portion_name("d", number, 2)) for number in (0, 1)]
    put(tmp_path, Path(daily[0]).stem, DAILY, (5, 0, 1, 1, 11))
    Path(daily[1]).write_bytes(b"not opened")
    shelf = shelf_of([users], daily)
    assert load_bucket(shelf, low).daily.rows() == [(0, 0, 1, 1, 11)]
    with pytest.raises(pl.exceptions.ComputeError):
        load_bucket(shelf, high)


def test_a_task_is_told_its_own_files() -> None:
    daily = tuple(portion_name("daily/a", number, 4) for number in range(4))
    forward = Forward(Terms((7,), (0,), (), None, 2), 5, ("t0", "t1"), (4,), (*daily, "daily/old"), daily)
    buckets = key_ranges(2)
    first, second = shelves(shelf_of(["users"], ["daily/b", *daily], list(daily), forward=forward), buckets)
    assert (first.daily, second.daily) == (("daily/b", *daily[:2]), ("daily/b", *daily[2:]))
    assert (first.events, second.events) == (daily[:2], daily[2:])
    assert (first.users, second.users) == (("users",), ("users",))
    assert first.forward is not None
    assert second.forward is not None
    assert (first.forward.old, second.forward.new) == ((*daily[:2], "daily/old"), daily[2:])
    assert [forward.of_bucket(number) for number in (0, 1)] == ["t0", "t1"]
    assert [shelf.forward.of_bucket(number) for number, shelf in enumerate((first, second)) if shelf.forward] == [
        "t0",
        "t1",
    ]
