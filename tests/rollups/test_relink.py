from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.config import Config, Exclude, Identity
from engine.rollups.update import Updated
from tests.rollups.stores import (
    BUYS,
    at,
    bring,
    bucket_of,
    config_of,
    features,
    label,
    partials,
    put,
    source_of,
    stored,
    totals,
)

IDENTITY = Identity(path="links", anonymous_id="a", user_id="b")


def linked_config(log: Path, dedup_days: int = 2, **fields: object) -> Config:
    return config_of(source_of(log, dedup_days=dedup_days), identity=IDENTITY, **fields)


def links(**ids: str) -> pl.DataFrame:
    schema = {"from_id": pl.String, "to_id": pl.String}
    return pl.DataFrame(sorted(ids.items()), schema, orient="row")


def buys(log: Path, day: int, *users: str, number: str | None = None) -> None:
    put(log, f"{label(day)}/a", *[(user, "buy", at(day), number or f"{day}", 1.0) for user in users])


def moved(config: Config, store: Path, before: Updated | None, now: pl.DataFrame) -> tuple[Updated, list[str]]:
    """The store with other links, and the labels of the units that were rolled up for them; it equals a new one."""
    known = {} if before is None else {entry.label: entry.daily for entry in before.index.entries}
    updated = bring(config, store, links=now)
    new = store.with_name(f"new-{now.write_csv().encode().hex()[:80]}")
    fresh = bring(config, new, links=now)
    assert_frame_equal(features(bucket_of(updated, store)), features(bucket_of(fresh, new)))
    assert totals(updated) == totals(fresh)
    assert bring(config, store, links=now).rolled == 0
    changed = [entry.label for entry in updated.index.entries if known.get(entry.label) != entry.daily]
    assert len(changed) == updated.rolled
    return updated, changed


def test_a_new_link_reaches_back_and_only_where_the_id_is(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = linked_config(log, dedup_days=0)
    for day, users in enumerate(["ua", "u", "av", "v"]):
        buys(log, day, *users)
    updated, _ = moved(config, store, None, links())
    updated, changed = moved(config, store, updated, links(a="u"))
    assert changed == [label(0), label(2)]
    assert {user for user, _, _ in partials(bucket_of(updated, store))} == {"u", "v"}
    # The link is given another end, follows a chain, and is taken back.
    updated, changed = moved(config, store, updated, links(a="v"))
    # Day 1 has the user to whom the events belonged, and cannot tell that none of them were the visitor's.
    assert changed == [label(0), label(1), label(2)]
    updated, changed = moved(config, store, updated, links(a="new", v="new"))
    assert changed == [label(0), label(2), label(3)]
    updated, changed = moved(config, store, updated, links())
    assert changed == [label(0), label(2), label(3)]


def test_a_link_of_nobody_changes_nothing(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    buys(log, 0, "u")
    updated, _ = moved(linked_config(log), store, None, links())
    _, changed = moved(linked_config(log), store, updated, links(stranger="other"))
    assert changed == []


def test_an_event_that_two_ids_had_becomes_one(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = linked_config(log)
    buys(log, 0, "a", number="1")
    buys(log, 1, "u", number="1")
    buys(log, 2, "v", number="1")
    updated, _ = moved(config, store, None, links())
    # Day 1 has no event of the linked id, and repeats one all the same.
    updated, changed = moved(config, store, updated, links(a="u"))
    assert changed == [label(0), label(1)]
    assert totals(updated).duplicates == 1
    # Now day 1 has no event of it left, and the id is there.
    updated, changed = moved(config, store, updated, links())
    assert changed == [label(0), label(1)]
    assert totals(updated).duplicates == 0


def test_ids_that_were_dropped_from_unit_to_unit(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = linked_config(log, dedup_days=1)
    for day in range(3):
        buys(log, day, "a", number="1")
    buys(log, 3, "u", number="1")
    updated, _ = moved(config, store, None, links())
    assert totals(updated).duplicates == 2
    # The last day that kept an event of the id is three days before the one that repeats it.
    updated, changed = moved(config, store, updated, links(a="u"))
    assert changed == [label(day) for day in range(4)]
    assert totals(updated).duplicates == 3


@pytest.mark.parametrize("kind", ["buy", "never used"])
def test_links_to_users_who_do_not_count(tmp_path: Path, kind: str) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = linked_config(log, exclude=Exclude(user_ids=("out",)))
    put(log, f"{label(0)}/a", ("a", kind, at(0)), ("u", "buy", at(0)))
    buys(log, 1, "u")
    updated, _ = moved(config, store, None, links())
    updated, _ = moved(config, store, updated, links(a="out"))
    assert totals(updated).excluded == 1
    updated, _ = moved(config, store, updated, links())
    assert totals(updated).excluded == 0


def test_a_back_filled_day_and_a_link_at_once(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = linked_config(log)
    buys(log, 1, "a", number="1")
    buys(log, 2, "u", number="1")
    updated, _ = moved(config, store, None, links())
    buys(log, 0, "a", number="1")
    (log / label(1) / "a.parquet").unlink()
    updated, _ = moved(config, store, updated, links(a="u"))
    assert totals(updated).duplicates == 1


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_links_that_were_damaged(tmp_path: Path, damage: str) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = linked_config(log)
    buys(log, 0, "a", "u")
    buys(log, 1, "u")
    updated, _ = moved(config, store, None, links(a="u"))
    [file] = (store / "links").iterdir()
    if damage == "flip":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    for now in (links(a="u"), links(u="a")):
        updated = bring(config, store, links=now)
        assert features(bucket_of(updated, store)).height == 1
    assert {name.partition("/")[0] for name in stored(store)} >= {"links", "daily", "users"}


def test_a_store_without_links_and_one_with(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    buys(log, 0, "a", "u")
    plain = config_of(source_of(log, dedup_days=2))
    assert features(bucket_of(bring(plain, store, BUYS), store)).height == 2
    updated, _ = moved(linked_config(log), store, None, links(a="u"))
    assert features(bucket_of(updated, store)).height == 1
    updated = bring(plain, store)
    assert features(bucket_of(updated, store)).height == 2
    assert updated.index.links is None
    assert not any(name.startswith("links/") for name in stored(store))


def test_merges_without_an_identity_table_come_and_go(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log, dedup_days=0))
    for day, users in enumerate(["au", "u", "v"]):
        buys(log, day, *users)
    before = bring(config, store)
    alone = features(bucket_of(before, store))
    merged, changed = moved(config, store, before, links(u="a"))
    assert changed == [label(0), label(1)]
    assert features(bucket_of(merged, store)).height == 2
    undone = bring(config, store)
    assert undone.rolled == 2
    assert undone.index.links is None
    assert_frame_equal(features(bucket_of(undone, store)), alone)
    assert totals(undone) == totals(before)
    assert bring(config, store).rolled == 0
