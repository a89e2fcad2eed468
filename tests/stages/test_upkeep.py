from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.config_file import load_config
from engine.errors import ConfigError, ConflictError, DataError, IntegrityError
from engine.events import probe
from engine.execution.local import LocalExecutor
from engine.pipeline import features_run
from engine.rollups.index import INDEX_NAME, Code, read_index
from engine.rollups.maintain import Dropped, Selection, verify_store
from engine.rollups.update import Wanted
from engine.stages import upkeep
from engine.stages.upkeep import drop_units, list_units, rebuild, store_of
from engine.tables.lock import writer_lock
from tests.rollups.stores import stored

HERE = LocalExecutor(threads=1)
ZERO = datetime(2026, 3, 1, 12, tzinfo=UTC)
AS_OF = date(2026, 4, 1)
TOML = """\
[[sources]]
name = "shop"
path = "log"
[sources.columns]
user_id = "user"
event_type = "kind"
event_time = "at"
event_id = "id"
amount = "amount"
[events]
purchase = "buy"
"""
DERIVED = """
[[features.events]]
name = "dear"
event = "buy"
where = "amount > 2"
"""


def put(folder: Path, day: int, name: str = "a", users: int = 4) -> None:
    moment = ZERO + timedelta(days=day)
    file = folder / "log" / f"{moment.date()}" / f"{name}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [(f"u{user}", "buy", moment, f"{name} {day} {user}", float(user)) for user in range(users)]
    pl.DataFrame(rows, ["user", "kind", "at", "id", "amount"], orient="row").write_parquet(file)


def configured(folder: Path, toml: str = TOML) -> Config:
    (folder / "tamis.toml").write_text(toml, encoding="utf-8")
    return load_config(folder / "tamis.toml").config


def on(first: int, last: int | None = None) -> Selection:
    days = [None if day is None else (ZERO + timedelta(days=day)).date() for day in (first, last)]
    return Selection(start=days[0], end=days[1])


def features(config: Config, name: str) -> pl.DataFrame:
    folder = Path(config.out).parent / name
    features_run(config, AS_OF, folder, executor=HERE)
    return pl.read_parquet(folder / "*.parquet")


@pytest.fixture(autouse=True)
def footers_without_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_child_lines", lambda files, _: (json.dumps(probe._probe(file)) for file in files))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A log of four days, and the store of a run over it."""
    for day in range(4):
        put(tmp_path, day)
    made = configured(tmp_path)
    features(made, "features")
    return made


def states(config: Config, selection: Selection = Selection()) -> list[str]:  # noqa: B008 - it is frozen
    return [unit.state for unit in list_units(config, selection).units]


# ------------------------------------------------------------------------------------------------------------- listing


def test_list(config: Config, tmp_path: Path) -> None:
    before = stored(tmp_path / "out")
    put(tmp_path, 3, "late")
    put(tmp_path, 8)
    assert states(config) == ["current", "current", "current", "changed", "new"]
    assert states(config, on(2, 8)) == ["current", "changed"]
    listed = list_units(config, on(2, 8))
    assert listed.store == store_of(config)
    sizes = [len(content) for name, content in before.items() if name.startswith("_rollups/")]
    assert (listed.files, listed.bytes, listed.problem) == (len(sizes), sum(sizes), None)
    assert stored(tmp_path / "out") == before


def test_list_takes_no_lock(config: Config) -> None:
    with writer_lock(Path(config.out), "other"):
        assert states(config) == ["current"] * 4


def test_list_with_settings_that_change_the_numbers(config: Config) -> None:
    [source] = config.sources
    other = config.model_copy(update={"sources": (source.model_copy(update={"where": "amount > 1"}),)})
    assert states(other) == ["changed"] * 4


def test_list_a_store_whose_index_is_damaged(config: Config) -> None:
    (store_of(config) / INDEX_NAME).write_text("{", encoding="utf-8")
    listed = list_units(config, Selection())
    assert {unit.state for unit in listed.units} == {"new"}
    assert listed.problem is not None
    assert INDEX_NAME in listed.problem


def test_text_files_are_current_without_being_converted_again(tmp_path: Path) -> None:
    file = tmp_path / "log" / "2026-03-01.csv"
    file.parent.mkdir()
    file.write_text("user,kind,at,id,amount\nu1,buy,2026-03-01 10:00,1,2.5\n", encoding="utf-8")
    config = configured(tmp_path)
    assert states(config) == ["new"]
    assert not (tmp_path / "out").exists()
    features(config, "features")
    assert states(config) == ["current"]
    file.write_text(file.read_text(encoding="utf-8") + "u2,buy,2026-03-01 11:00,2,2.5\n", encoding="utf-8")
    before = stored(tmp_path / "out")
    assert states(config) == ["changed"]
    assert stored(tmp_path / "out") == before


@pytest.mark.parametrize("call", [list_units, lambda config, what: drop_units(config, what, confirmed=True)])
def test_a_source_that_nobody_knows(config: Config, call: object) -> None:
    assert callable(call)
    with pytest.raises(ConfigError) as caught:
        call(config, Selection("shap"))
    assert caught.value.code == "rollup-source"


# ---------------------------------------------------------------------------------------------------------- rebuilding


@pytest.mark.parametrize(("selection", "days"), [(Selection(), [0, 1, 2, 3]), (on(1, 3), [1, 2]), (on(9), [])])
def test_rebuild(config: Config, selection: Selection, days: list[int]) -> None:
    store = store_of(config)
    before, index = stored(store), read_index(store)
    # Files that are whole are not what it goes by: it writes them again.
    stamps = {name: (store / name).stat().st_mtime_ns for name in before}
    rebuilt = rebuild(config, selection, executor=HERE)
    assert [label for _, label in rebuilt.units] == [f"2026-03-{1 + day:02}" for day in days]
    assert (rebuilt.others, rebuilt.gone, rebuilt.rows, rebuilt.problem) == (0, (), 4 * len(days), None)
    assert read_index(store).entries == index.entries
    assert (rebuilt.files, rebuilt.bytes) == (len(stored(store)), sum(map(len, stored(store).values())))
    daily = {file.path: entry.label for entry in index.entries for file in entry.daily}
    written = {label for name, label in daily.items() if (store / name).stat().st_mtime_ns != stamps[name]}
    assert written == {label for _, label in rebuilt.units}
    assert states(config) == ["current"] * 4


def test_rebuild_brings_the_others_up_to_date(config: Config, tmp_path: Path) -> None:
    put(tmp_path, 8)
    (tmp_path / "log" / "2026-03-01" / "a.parquet").unlink()
    (tmp_path / "log" / "2026-03-01").rmdir()
    rebuilt = rebuild(config, on(3, 4), executor=HERE)
    assert rebuilt.units == (("shop", "2026-03-04"),)
    assert rebuilt.gone == (("shop", "2026-03-01"),)
    # The new day, and the two that looked back to the one that is gone.
    assert rebuilt.others == 3
    assert states(config) == ["current"] * 4


@pytest.mark.parametrize("content", ["{", json.dumps({"format": 0}), json.dumps({"format": 99})])
def test_rebuild_a_store_whose_index_cannot_be_used(config: Config, content: str) -> None:
    expected = features(config, "before")
    (store_of(config) / INDEX_NAME).write_text(content, encoding="utf-8")
    rebuilt = rebuild(config, on(0, 1), executor=HERE)
    assert rebuilt.problem is not None
    assert (len(rebuilt.units), rebuilt.others) == (1, 3)
    verify_store(store_of(config))
    assert features(config, "after").equals(expected)


def test_rebuild_mends_what_is_damaged(config: Config) -> None:
    store = store_of(config)
    index = read_index(store)
    for file in (index.users[0], index.entries[1].daily[0]):
        (store / file.path).write_bytes(b"nothing")
    with pytest.raises(IntegrityError):
        verify_store(store)
    rebuild(config, Selection(), executor=HERE)
    verify_store(store)


def test_rebuild_keeps_what_other_runs_wanted_of_a_unit(config: Config, tmp_path: Path) -> None:
    other = configured(tmp_path, TOML + DERIVED)
    features(other, "other")
    dear = Code("buy", "amount > 2")
    index = read_index(store_of(config))
    assert dear in index.codes
    rebuild(configured(tmp_path), on(0, 2), executor=HERE)
    again = read_index(store_of(config))
    assert [entry.coded for entry in again.entries] == [entry.coded for entry in index.entries]
    assert features_run(other, AS_OF, tmp_path / "again", executor=HERE).counts["rolled_up"]["units"] == 0


def test_a_rebuild_that_fails_leaves_the_store_as_it_was(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(config)
    before = stored(store)
    monkeypatch.setattr(upkeep, "provisional_wants", lambda *_: Wanted((Code("buy", "no sql ("),)))
    with pytest.raises(Exception, match="no sql"):
        rebuild(config, Selection(), executor=HERE)
    assert stored(store) == before


def test_rebuild_of_a_log_that_cannot_be_read(config: Config, tmp_path: Path) -> None:
    before = stored(store_of(config))
    (tmp_path / "log" / "2026-03-02" / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError):
        rebuild(config, Selection(), executor=HERE)
    assert stored(store_of(config)) == before


def test_rebuild_from_nothing(tmp_path: Path) -> None:
    put(tmp_path, 0)
    config = configured(tmp_path)
    assert len(rebuild(config, Selection(), executor=HERE).units) == 1
    assert features_run(config, AS_OF, tmp_path / "f", executor=HERE).counts["rolled_up"]["units"] == 0


# ------------------------------------------------------------------------------------------------------------ dropping


def test_drop(config: Config) -> None:
    before = stored(store_of(config))
    promised = drop_units(config, on(1, 3), confirmed=False)
    assert len(promised.units) == 2
    assert stored(store_of(config)) == before
    assert drop_units(config, on(1, 3), confirmed=True) == promised
    assert states(config) == ["current", "new", "new", "current"]
    drop_units(config, Selection(), confirmed=True)
    assert not store_of(config).exists()
    assert drop_units(config, Selection(), confirmed=True) == Dropped((), 0, 0)


def test_a_source_that_only_the_store_knows_can_be_dropped(config: Config) -> None:
    [source] = config.sources
    other = config.model_copy(update={"sources": (source.model_copy(update={"name": "web"}),)})
    assert len(drop_units(other, Selection("shop"), confirmed=True).units) == 4


@pytest.mark.parametrize(
    "call",
    [
        lambda config: rebuild(config, Selection(), executor=HERE),
        lambda config: drop_units(config, Selection(), confirmed=True),
    ],
)
def test_the_lock_is_held(config: Config, call: object) -> None:
    assert callable(call)
    before = stored(store_of(config))
    with writer_lock(Path(config.out), "other"), pytest.raises(ConflictError):
        call(config)
    assert stored(store_of(config)) == before


def test_changed_links_reach_what_looked_back_to_a_unit_that_was_dropped(tmp_path: Path) -> None:
    same = [("a", "buy", ZERO, "same", 5.0)], [("b", "buy", ZERO + timedelta(days=1), "same", 5.0)]
    for number, rows in enumerate(same):
        file = tmp_path / "log" / f"2026-03-0{1 + number}" / "a.parquet"
        file.parent.mkdir(parents=True)
        pl.DataFrame(rows, ["user", "kind", "at", "id", "amount"], orient="row").write_parquet(file)

    def link(to: str) -> None:
        pl.DataFrame({"from": ["a"], "to": [to]}).write_parquet(tmp_path / "links.parquet")

    toml = TOML + '\n[identity]\npath = "links.parquet"\nanonymous_id = "from"\nuser_id = "to"\n'
    link("b")
    config = configured(tmp_path, toml)
    assert features(config, "linked")["user_id"].to_list() == ["b"]
    drop_units(config, replace(on(0, 1), source="shop"), confirmed=True)
    link("c")
    incremental = features(config, "incremental")
    drop_units(config, Selection(), confirmed=True)
    assert incremental.equals(features(config, "full"))
    assert incremental["user_id"].to_list() == ["b", "c"]
