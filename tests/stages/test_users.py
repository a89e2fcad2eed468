from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.contacts.history import VALID_DAY
from engine.events.mapping import stable_hash
from engine.features.spec import EventType
from engine.rollups.ranges import KEYS, KeyRange
from engine.stages.users import HAS_CONTACT, bucket_contacts, join_contacts, kept_events
from tests.features.specs import spec_of

ALL = KeyRange(0, KEYS)


def users_of(*ids: int | str, keys: list[int] | None = None) -> pl.DataFrame:
    frame = pl.DataFrame({"user_id": list(ids)}).with_row_index("user")
    key = stable_hash(pl.col("user_id")) if keys is None else pl.Series(keys, dtype=pl.UInt64)
    return frame.with_columns(user_key=key)


def contacts_of(folder: Path, rows: dict[str, str | None], keys: list[int] | None = None) -> str:
    ids = list(rows)
    frame = pl.DataFrame({"user_id": ids, "city": list(rows.values()), "other": ids})
    key = stable_hash(pl.col("user_id")) if keys is None else pl.Series(keys, dtype=pl.UInt64)
    frame.with_columns(user_key=key).sort("user_key").write_parquet(folder / "contacts.parquet")
    return str(folder / "contacts.parquet")


@pytest.mark.parametrize("ids", [(7, 10, 9), ("7", "10", "9")])
def test_attributes_are_found_and_the_order_of_users_is_kept(ids: tuple[int | str, ...], tmp_path: Path) -> None:
    contacts = contacts_of(tmp_path, {"10": "Évry", "9": None, "8": "Lyon"})
    users = join_contacts(users_of(*ids), contacts, ALL, ("city",), 0)
    assert users.columns == ["user", "user_id", "user_key", HAS_CONTACT, "city"]
    assert users["user_id"].to_list() == list(ids)
    assert users["city"].to_list() == [None, "Évry", None]
    assert users[HAS_CONTACT].to_list() == [False, True, True]


def test_ids_that_share_a_key_do_not_share_attributes(tmp_path: Path) -> None:
    contacts = contacts_of(tmp_path, {"a": "Paris", "b": "Nice"}, keys=[5, 5])
    users = join_contacts(users_of("b", "c", keys=[5, 5]), contacts, ALL, ("city",), 0)
    assert users["city"].to_list() == ["Nice", None]
    assert users[HAS_CONTACT].to_list() == [True, False]


def test_a_user_whose_key_was_changed_keeps_the_attributes(tmp_path: Path) -> None:
    contacts = contacts_of(tmp_path, {"a": "Paris", "b": "Nice"}, keys=[5, 5])
    users = join_contacts(users_of("b", keys=[70]), contacts, KeyRange(50, 100), ("city",), 0)
    assert users["city"].to_list() == ["Nice"]


@pytest.mark.parametrize(
    ("file", "columns", "matched"), [(False, ("city",), [False, False]), (True, (), [True, False])]
)
def test_without_contacts_or_attributes_users_come_back_as_they_are(
    file: bool, columns: tuple[str, ...], matched: list[bool], tmp_path: Path
) -> None:
    users = users_of(1, 2)
    contacts = contacts_of(tmp_path, {"1": "Paris"}) if file else None
    found = join_contacts(users, contacts, ALL, columns, 0)
    assert_frame_equal(found.drop(HAS_CONTACT), users)
    assert found[HAS_CONTACT].to_list() == matched


def test_contacts_of_other_ranges_are_not_read(tmp_path: Path) -> None:
    contacts = contacts_of(tmp_path, {"a": "Paris", "b": "Nice"}, keys=[5, 50])
    users = join_contacts(users_of("a", "c", keys=[5, 6]), contacts, KeyRange(0, 50), ("city",), 0)
    assert (users["city"].to_list(), users[HAS_CONTACT].to_list()) == (["Paris", None], [True, False])


def test_events_of_derived_types_and_conditions_are_not_counted_again() -> None:
    types = (EventType("a", "a", False), EventType("b", "b", False), EventType("c", "c", False, "a", "amount > 5"))
    daily = pl.DataFrame({"type": [0, 1, 2, 3, 0], "events": [1, 10, 100, 1000, 5]})
    assert kept_events(daily, replace(spec_of(), types=types)) == 16


@pytest.mark.parametrize(("day", "cities"), [(9, [None, None]), (10, ["Paris", None]), (12, ["Lyon", "Nice"])])
def test_of_a_history_the_row_of_the_day_counts(day: int, cities: list[str | None], tmp_path: Path) -> None:
    rows = [("a", 10, "Paris"), ("a", 12, "Lyon"), ("a", 15, "Lille"), ("b", 12, "Nice"), ("c", 1, "Brest")]
    frame = pl.DataFrame(rows, schema={"user_id": pl.String, VALID_DAY: pl.Int32, "city": pl.String}, orient="row")
    keyed = frame.with_columns(user_key=stable_hash(pl.col("user_id")))
    keyed.sort("user_key", VALID_DAY).write_parquet(tmp_path / "contacts.parquet")
    users = users_of("b", "a")
    contacts = bucket_contacts(users, str(tmp_path / "contacts.parquet"), ALL, ("city",))
    found = contacts.join(users, day)
    assert found.columns == ["user", "user_id", "user_key", HAS_CONTACT, "city"]
    assert found["city"].to_list() == cities[::-1]
    assert found[HAS_CONTACT].to_list() == [city is not None for city in cities[::-1]]
    assert_frame_equal(join_contacts(users, str(tmp_path / "contacts.parquet"), ALL, ("city",), day), found)
