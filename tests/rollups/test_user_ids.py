from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rollups import user_ids as module
from engine.rollups.user_ids import UserIds

SCHEMA = {"user_key": pl.UInt64, "check": pl.UInt32, "user_id": pl.String}
User = tuple[int, int]


def frame_of(users: Sequence[User]) -> pl.DataFrame:
    return pl.DataFrame([(*user, "{}-{}".format(*user)) for user in users], SCHEMA, orient="row")


def add(known: UserIds, *users: User) -> None:
    rows = frame_of(users)
    known.add(rows.select("user_key", "check").sort("user_key", "check"), rows.reverse())


def told(store: Path, *names: str) -> list[tuple[object, ...]]:
    return [row for name in names for row in pl.read_parquet(store / name).rows()]


def test_users_are_told_once(tmp_path: Path) -> None:
    first = UserIds.read(str(tmp_path), ["gone.parquet"])
    add(first, (7, 1), (3, 1), (7, 1))
    add(first, (3, 1), (5, 1))
    [record] = first.write("users/a.parquet")
    assert (record.path, record.rows) == ("users/a.parquet", 3)
    assert told(tmp_path, record.path) == [(3, 1, "3-1"), (5, 1, "5-1"), (7, 1, "7-1")]
    second = UserIds.read(str(tmp_path), ["gone.parquet", record.path])
    add(second, (7, 1), (2**64 - 1, 1), (0, 1))
    [record] = second.write("users/b.parquet")
    assert told(tmp_path, record.path) == [(0, 1, "0-1"), (2**64 - 1, 1, f"{2**64 - 1}-1")]
    nobody = UserIds.read(str(tmp_path), ["users/a.parquet", "users/b.parquet"])
    add(nobody, (7, 1), (0, 1))
    add(nobody)
    assert nobody.write("users/c.parquet") == ()
    assert not (tmp_path / "users" / "c.parquet").exists()


def test_another_id_of_a_known_key_is_told(tmp_path: Path) -> None:
    first = UserIds.read(str(tmp_path), [])
    add(first, (7, 1), (7, 2))
    first.write("a.parquet")
    assert told(tmp_path, "a.parquet") == [(7, 1, "7-1"), (7, 2, "7-2")]
    second = UserIds.read(str(tmp_path), ["a.parquet"])
    add(second, (7, 3), (8, 2))
    second.write("b.parquet")
    assert (7, 3, "7-3") in told(tmp_path, "b.parquet")


def test_of_too_many_users_nobody_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = UserIds.read(str(tmp_path), [])
    add(first, (7, 1), (8, 1))
    first.write("a.parquet")
    monkeypatch.setattr(module, "MOST_KNOWN", 1)
    second = UserIds.read(str(tmp_path), ["a.parquet"])
    add(second, (7, 1))
    add(second, (7, 1))
    second.write("b.parquet")
    assert told(tmp_path, "b.parquet") == [(7, 1, "7-1")]


users = st.lists(st.tuples(st.integers(0, 6) | st.just(2**64 - 1), st.integers(0, 1)), max_size=9)


@settings(max_examples=40)
@given(st.lists(users, max_size=4))
def test_whoever_was_seen_is_told(tmp_path_factory: pytest.TempPathFactory, units: list[list[User]]) -> None:
    store = tmp_path_factory.mktemp("store")
    names: list[str] = []
    for number, unit in enumerate(units):
        known = UserIds.read(str(store), names)
        add(known, *unit[:4])
        add(known, *unit[4:])
        names += [record.path for record in known.write(f"{number}.parquet")]
    seen = {(key, check) for key, check, _ in told(store, *names)}
    assert seen == {user for unit in units for user in unit}
