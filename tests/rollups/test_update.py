from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.config import Config, Exclude, Machines
from engine.errors import DataError, IntegrityError
from engine.events import keys
from engine.rollups import update as module
from engine.rollups.index import Code, Index, read_index
from engine.rollups.update import Wanted, find_units, open_index, settings_hash, store_folder
from tests.rollups.stores import (
    BUYS,
    HERE,
    at,
    bring,
    bucket_of,
    config_of,
    features,
    found_in,
    label,
    opened,
    partials,
    put,
    singles,
    source_of,
    stored,
    totals,
)

OPENS = Wanted((Code("open"), Code("buy")))


def days_of(log: Path, *days: int) -> None:
    for day in days:
        put(log, f"{label(day)}/a", ("u", "buy", at(day), f"{day}", 1.0), ("v", "open", at(day), f"{day}", 2.0))


def rolled(config: Config, store: Path, wanted: Wanted = BUYS, **fields: Any) -> list[str]:
    """The labels of the units that an update opens."""
    seen: list[str] = []

    def note(found: Any) -> Any:
        seen.append(found.unit.label)
        return opened(found)

    work = store.with_name("work")
    work.mkdir(exist_ok=True)
    found = found_in(config)
    updated = module.update(
        config, found, wanted, store=store, work=work, executor=HERE, open_unit=note, progress=None, **fields
    )
    entries = {entry.name: entry.fingerprint for entry in updated.index.entries}
    assert entries == {(config.sources[one.unit.source].name, one.unit.label): one.fingerprint for one in found}
    return seen


# --------------------------------------------------------------------------------------- what is rolled up, and when


def test_only_what_is_new_is_rolled_up(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log, dedup_days=0))
    days_of(log, 0, 1)
    assert rolled(config, store) == [label(0), label(1)]
    before = stored(store)
    assert rolled(config, store) == []
    assert stored(store) == before
    days_of(log, 5)
    assert rolled(config, store) == [label(5)]
    # A day that comes late, a file that comes late, a correction, a deletion.
    days_of(log, 3)
    assert rolled(config, store) == [label(3)]
    put(log, f"{label(0)}/b", ("u", "buy", at(0), "late", 1.0))
    assert rolled(config, store) == [label(0)]
    put(log, f"{label(1)}/a", ("u", "buy", at(1), "other", 9.0))
    assert rolled(config, store) == [label(1)]
    (log / label(0) / "b.parquet").unlink()
    assert rolled(config, store) == [label(0)]
    (log / label(5) / "a.parquet").unlink()
    assert rolled(config, store) == []
    assert [entry.label for entry in read_index(store).entries] == [label(0), label(1), label(3)]


def test_units_that_look_back_to_a_change_are_rolled_up_with_it(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log, dedup_days=2))
    days_of(log, 0, 1, 2, 3, 4)
    rolled(config, store)
    put(log, f"{label(1)}/b", ("u", "buy", at(1), "2", 1.0))
    # Day 0 is looked back to, and its ids were given up.
    assert sorted(set(rolled(config, store))) == [label(0), label(1), label(2), label(3)]
    assert partials(bucket_of(bring(config, store), store)) == {
        ("u", "buy", 0): (1, 100),
        ("u", "buy", 1): (2, 200),
        ("u", "buy", 3): (1, 100),
        ("u", "buy", 4): (1, 100),
    }


def test_files_that_name_no_day(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    put(log, "a", ("u", "buy", at(0), "1", 1.0))
    put(log, "b", ("u", "buy", at(1), "2", 1.0))
    together = config_of(source_of(log))
    assert rolled(together, store) == [""]
    put(log, "b", ("u", "buy", at(1), "3", 1.0))
    assert rolled(together, store) == [""]
    # Where no event can be in two files, each is a unit.
    apart = config_of(source_of(log, columns={"event_id": None}))
    assert rolled(apart, store) == [str(log / "a.parquet"), str(log / "b.parquet")]
    put(log, "b", ("v", "buy", at(1), "3", 1.0))
    assert rolled(apart, store) == [str(log / "b.parquet")]


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"seed": 9}, True),
        ({"rows_per_task": 1}, True),
        ({"timezone": "Asia/Tokyo"}, False),
        ({"currency_digits": 0}, False),
        ({"exclude": Exclude(user_ids=("x",))}, False),
        # No event of this source can be a machine's.
        ({"machines": Machines(open_within_seconds=5)}, True),
    ],
)
def test_settings_that_decide_the_numbers(tmp_path: Path, changes: dict[str, Any], same: bool) -> None:
    source = source_of(tmp_path)
    assert (settings_hash(config_of(source), source) == settings_hash(config_of(source, **changes), source)) == same
    config = config_of(source, **changes)
    days_of(tmp_path, 0)
    assert (find_units(config, [one.unit for one in found_in(config)]) == found_in(config_of(source))) == same


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"path": "elsewhere"}, True),
        ({"where": "amount > 0"}, False),
        ({"dedup_days": 9}, False),
        ({"same_id": "lines"}, False),
        ({"timezone": "Asia/Tokyo"}, False),
        ({"name": "other"}, False),
    ],
)
def test_settings_of_a_source(tmp_path: Path, changes: dict[str, Any], same: bool) -> None:
    source = source_of(tmp_path)
    other = source.model_copy(update=changes)
    assert (settings_hash(config_of(source), source) == settings_hash(config_of(other), other)) == same


# ---------------------------------------------------------------------------------------------- what is wanted of it


def test_what_another_run_wanted_is_kept(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log))
    days_of(log, 0, 1)
    more = Wanted((Code("buy"), Code("buy", "amount > 5")), ("buy",), ("amount",))
    columns = Wanted((Code("open"),), ("open",), ("category",))
    for wanted, units in (
        (BUYS, 2),
        (OPENS, 2),
        (BUYS, 0),
        (more, 2),
        (columns, 2),
        (OPENS, 0),
        (more, 0),
        (columns, 0),
    ):
        assert len(rolled(config, store, wanted)) == units, wanted
    assert len(read_index(store).codes) == 3
    # A new day has what the run wants; the day before has more.
    days_of(log, 2)
    assert rolled(config, store, more) == [label(2)]
    updated = bring(config, store, more)
    assert [(entry.event_types, entry.event_columns) for entry in updated.index.entries] == [
        (("buy", "open"), ("amount", "category")),
        (("buy", "open"), ("amount", "category")),
        (("buy",), ("amount",)),
    ]
    assert singles(bucket_of(updated, store, more), more) == [("u", "buy", at(day), 1, 100) for day in range(3)]


def test_a_type_that_a_unit_does_not_have_is_no_reason_to_roll_it_up(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log))
    days_of(log, 0)
    put(log, f"{label(1)}/a", ("u", "buy", at(1)))
    rolled(config, store)
    assert rolled(config, store, Wanted((Code("buy"), Code("never")))) == []
    assert rolled(config, store, OPENS) == [label(0)]


def test_new_users_of_an_old_unit_do_not_take_the_place_of_those_before(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log))
    put(log, "all", ("u", "buy", at(0)), ("v", "open", at(0)))
    bring(config, store)
    updated = bring(config, store, OPENS)
    assert len(updated.index.users) == 2
    assert bucket_of(updated, store, OPENS).users["user_id"].to_list() == ["u", "v"]


def test_types_too_many_to_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.rollups.roll.LISTED_TYPES", 2)
    log, store = tmp_path / "log", tmp_path / "out"
    put(log, "all", *[("u", name, at(0)) for name in ("z", "z", "z", "y", "y", "d", "d", "c", "buy")])
    updated = bring(config_of(source_of(log)), store)
    total = totals(updated)
    # A type in use is always listed; of the others the most frequent ones, in alphabetical order when there is a tie.
    assert [(count.event_type, count.rows) for count in total.types] == [("buy", 1), ("d", 2), ("z", 3)]
    assert (total.unlisted, total.left_out) == (3, 8)
    # What is not listed may be there.
    wanted = Wanted((Code("buy"), Code("c")))
    assert partials(bucket_of(bring(config_of(source_of(log)), store, wanted), store, wanted), wanted) == {
        ("u", "buy", 0): (1, 0),
        ("u", "c", 0): (1, 0),
    }


def test_codes_that_are_used_up_are_given_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CODES", 3)
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log))
    days_of(log, 0, 1)
    wants = [Wanted((Code("buy"), Code("buy", f"amount > {limit}"))) for limit in range(3)]
    assert [len(rolled(config, store, wanted)) for wanted in (*wants[:2], wants[0])] == [2, 2, 0]
    assert len(rolled(config, store, wants[2])) == 2
    assert read_index(store).codes == wants[2].codes
    bucket = bucket_of(bring(config, store, wants[2]), store, wants[2])
    assert partials(bucket, wants[2]) == {("u", "buy", 0): (1, 100), ("u", "buy", 1): (1, 100)}


# -------------------------------------------------------------------------------------------------- exactness, by hand


def test_events_of_one_unit_thousands_of_years_apart(tmp_path: Path) -> None:
    days = [-700_000, 0, 1, 2**20 - 700_000, 2**20, 2_900_000]
    put(tmp_path / "log", "all", *[("u", "buy", at(day), None, 1.0) for day in days if day > -1], ("u", "open", at(0)))
    updated = bring(config_of(source_of(tmp_path / "log")), tmp_path / "out", OPENS)
    found = partials(bucket_of(updated, tmp_path / "out", OPENS, at(2_900_001).date()), OPENS)
    assert found == {("u", "buy", day): (1, 100) for day in days if day > -1} | {("u", "open", 0): (1, 0)}


def test_an_order_whose_lines_come_day_by_day(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log, same_id="lines"))
    for day in range(3):
        put(log, f"{label(day)}/a", ("u", "buy", at(day), "order", 1.0 + day))
        updated = bring(config, store)
        assert partials(bucket_of(updated, store)) == {("u", "buy", 0): (1, sum(100 + 100 * d for d in range(day + 1)))}
    total = totals(updated)
    assert (total.kept, total.lines, total.first_day, total.last_day) == (1, 2, total.first_day, total.first_day)


def test_size_of_the_tasks_changes_nothing(tmp_path: Path) -> None:
    rng = random.Random(1)
    for day in range(3):
        given = [
            (
                f"u{rng.randrange(9)}",
                rng.choice(["buy", "open"]),
                at(day + rng.randrange(2)),
                f"{rng.randrange(30)}",
                1.0,
            )
            for _ in range(25)
        ]
        put(tmp_path / "log", f"{label(day)}/a", *given)
    wanted = Wanted((Code("buy"), Code("open")), ("buy",), ("order", "category"))
    found = []
    for size in (1000, 30, 5):
        store = tmp_path / f"out-{size}"
        updated = bring(config_of(source_of(tmp_path / "log"), rows_per_task=size), store, wanted)
        bucket = bucket_of(updated, store, wanted)
        found.append((partials(bucket, wanted), singles(bucket, wanted), totals(updated, wanted)))
        assert bring(config_of(source_of(tmp_path / "log")), store, wanted).rolled == 0
    assert found[1:] == found[:1] * 2


def test_machines_are_told_the_same_in_portions(tmp_path: Path) -> None:
    given = [(f"u{user}", "sent", at(0, user), "m") for user in range(6)]
    given += [(f"u{user}", "open", at(0, user + late), "m") for user in range(6) for late in (0, 5)]
    random.Random(2).shuffle(given)
    put(tmp_path / "log", "all", *given)
    put(tmp_path / "log", label(3), *given[:9])
    source = source_of(tmp_path / "log", columns={"event_id": None, "message_id": "id"})
    fields: dict[str, Any] = {
        "machines": Machines(open_within_seconds=60),
        "events": {"send": "sent", "open": "open"},
    }
    wanted = Wanted((Code("open_machine"), Code("sent")))
    found = []
    for size in (1000, 4):
        config = Config.model_validate(config_of(source, rows_per_task=size).model_dump() | fields)
        updated = bring(config, tmp_path / f"out-{size}", wanted)
        found.append((partials(bucket_of(updated, tmp_path / f"out-{size}", wanted), wanted), totals(updated, wanted)))
    assert found[0] == found[1]
    assert sum(events for (_, kind, _), (events, _) in found[0][0].items() if kind == "open_machine") > 6


# ----------------------------------------------------------------------------------------------------------- collisions


def colliding(monkeypatch: pytest.MonkeyPatch, *groups: Sequence[str]) -> None:
    """Give the ids of each group one key; an id with a salt has the key of its text."""
    real = keys.stable_hash

    def shared(user: pl.Expr) -> pl.Expr:
        text = user.cast(pl.String)
        return real(text.replace({name: group[0] for group in groups for name in group}))

    monkeypatch.setattr(keys, "stable_hash", shared)


def test_two_ids_of_one_key_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log))
    put(log, f"{label(0)}/a", ("u", "buy", at(0), "1", 1.0), ("x", "buy", at(0), "1", 7.0))
    put(log, f"{label(1)}/a", ("v", "buy", at(1), "1", 2.0), ("w", "buy", at(1), "1", 4.0))
    plain = bring(config, store)
    expected = features(bucket_of(plain, store))
    colliding(monkeypatch, "uvw")
    apart = bring(config, tmp_path / "collided")
    assert apart.index.rekeyed == {"v": 1, "w": 1}
    assert apart.rolled == 2
    assert_frame_equal(features(bucket_of(apart, tmp_path / "collided")), expected)
    assert totals(apart) == totals(plain)
    # They stay apart, and nothing is rolled up again.
    assert rolled(config, tmp_path / "collided") == []
    put(log, f"{label(2)}/a", ("w", "buy", at(2), "1", 8.0), ("z", "buy", at(2), "1", 8.0))
    assert rolled(config, tmp_path / "collided") == [label(2)]


def test_a_new_id_with_the_key_of_an_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colliding(monkeypatch, "uv", "ab")
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log), rows_per_task=2)
    put(log, f"{label(0)}/a", ("v", "buy", at(0), "1", 1.0), ("a", "buy", at(0), "1", 1.0))
    assert bring(config, store).index.rekeyed == {}
    put(log, f"{label(1)}/a", ("u", "buy", at(1), "1", 2.0))
    updated = bring(config, store)
    assert (updated.index.rekeyed, updated.rolled) == ({"v": 1}, 2)
    put(log, f"{label(1)}/b", *[("b", "buy", at(1), "1", 2.0)] * 5)
    updated = bring(config, store)
    assert updated.index.rekeyed == {"b": 1, "v": 1}
    assert partials(bucket_of(updated, store)) == {
        ("v", "buy", 0): (1, 100),
        ("a", "buy", 0): (1, 100),
        ("u", "buy", 1): (1, 200),
        ("b", "buy", 1): (1, 200),
    }


def test_keys_that_cannot_be_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "stable_hash", lambda user: pl.when(user.is_not_null()).then(pl.lit(7, pl.UInt64)))
    put(tmp_path / "log", "all", ("u", "buy", at(0)), ("v", "buy", at(0)))
    with pytest.raises(IntegrityError) as caught:
        bring(config_of(source_of(tmp_path / "log")), tmp_path / "out")
    assert caught.value.code == "key-collision"
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------------------ the rest


def test_several_sources(tmp_path: Path) -> None:
    for name in ("shop", "shop-2"):
        put(tmp_path / name, "all", ("u", "buy", at(0), "1", 1.0))
    # Their names are one in the names of files, and the ids of events are those of a source.
    config = config_of(source_of(tmp_path / "shop", "my shop"), source_of(tmp_path / "shop-2", "my-shop"))
    updated = bring(config, tmp_path / "out")
    assert partials(bucket_of(updated, tmp_path / "out")) == {("u", "buy", 0): (2, 200)}
    assert totals(updated).read == {"my shop": 1, "my-shop": 1}


@pytest.mark.parametrize("code", ["rejects-too-many", None])
def test_a_check_that_fails_leaves_the_store_as_it_was(tmp_path: Path, code: str | None) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log))

    def refuse(index: Index) -> None:
        assert [entry.label for entry in index.entries] == labels
        raise DataError("no", code=code) if code else KeyboardInterrupt

    labels = [label(0)]
    days_of(log, 0)
    with pytest.raises((DataError, KeyboardInterrupt)):
        bring(config, store, check=refuse)
    assert not store.exists()
    bring(config, store)
    before = stored(store)
    labels.append(label(1))
    days_of(log, 1)
    with pytest.raises((DataError, KeyboardInterrupt)):
        bring(config, store, check=refuse)
    assert stored(store) == before
    assert bring(config, store).rolled == 1


def test_ids_are_kept_as_long_as_a_day_to_come_looks_back_to_them(tmp_path: Path) -> None:
    log, store = tmp_path / "log", tmp_path / "out"
    config = config_of(source_of(log, dedup_days=2))
    days_of(log, 0, 1, 2, 3)
    put(log, "all", ("u", "buy", at(0)))
    updated = bring(config, store)
    assert {entry.label: bool(entry.ids) for entry in updated.index.entries} == {
        "": True,
        label(0): False,
        label(1): False,
        label(2): True,
        label(3): True,
    }
    assert sorted(path.name for path in (store / "ids").iterdir()) == sorted(
        Path(file.path).name for entry in updated.index.entries for file in entry.ids
    )


def test_where_the_store_is(tmp_path: Path) -> None:
    assert store_folder(tmp_path) == tmp_path / "_rollups"
    assert open_index(tmp_path / "none") == (Index(), None)


def test_rows_that_are_not_the_number_that_was_promised(tmp_path: Path) -> None:
    put(tmp_path / "log", "all", ("u", "buy", at(0)), ("u", "buy", at(0)))
    config = config_of(source_of(tmp_path / "log"))
    [found] = [opened(one) for one in found_in(config)]
    longer = replace(found.pieces[0], rows=3)
    with pytest.raises(IntegrityError, match="promised 3") as caught:
        bring(config, tmp_path / "out", found=[replace(found, pieces=(longer,))])
    assert caught.value.code == "input-changed"
