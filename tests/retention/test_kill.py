from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engine.errors import IntegrityError
from engine.execution.local import LocalExecutor
from engine.formats import erasure_uploaded
from engine.retention import kept
from engine.retention.kept import find_old
from engine.retention.retain import apply_retention, plan_retention
from engine.stages.verifying import verify_output
from engine.tables.layout import manifest_path
from tests.erasure.dying import DiedError, Effects
from tests.ledger.publishing import Day, Defined, publish_day
from tests.retention.test_kept import DATES, LAST, apply, config_of, problems, publish_dates, tables_of

STORE = {"format": "parquet", "url": "s3://bucket/tables", "tables": ["memberships"]}


class Store:
    """What is left in a store of tables of dates, after each of them was uploaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, dies: set[str]) -> None:
        self.folders = {("memberships", day) for day in DATES}
        self.dies = dies
        monkeypatch.setattr(kept, "commit_published", self._commit)
        monkeypatch.setattr(erasure_uploaded, "remove_tables", self._remove)

    def _die(self, at: str) -> None:
        if at in self.dies:
            self.dies.remove(at)
            raise DiedError

    def _commit(self, *_: Any) -> None:
        self._die("commit")

    def _remove(self, _: str, dropped: tuple[Any, ...]) -> None:
        self._die("remove")
        self.folders -= set(dropped)


@pytest.mark.parametrize("at", ["commit", "remove"])
def test_gd10_what_a_killed_retention_left_in_a_store_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    config, out = config_of(tmp_path, STORE, tables={"memberships": 30}), tmp_path / "out"
    publish_dates(out)
    store = Store(monkeypatch, {at})
    with pytest.raises(DiedError):
        apply(config)
    # The manifest is without the table already, and the files are still there.
    assert "memberships" not in tables_of(out, DATES[0])
    assert ("memberships", DATES[0]) in store.folders
    plan = plan_retention(config, LAST, executor=LocalExecutor())
    assert (plan.is_empty, plan.old.tables, plan.old.begun) == (False, (), (("memberships", DATES[0]),))
    assert problems(out) == ()
    assert not verify_output(out, deep=True, executor=LocalExecutor()).leftovers
    [receipt] = apply_retention(config, plan).receipts
    assert store.folders == {("memberships", day) for day in DATES[1:]}
    assert json.loads((out / receipt).read_bytes())["begun"] == 1
    assert not (out / "_work" / "retention.json").exists()
    assert apply(config) == ()


@pytest.mark.slow
def test_gd10_a_retention_can_be_killed_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(monkeypatch, set())
    deaths = 0
    while True:
        folder = tmp_path / str(deaths)
        out = folder / "out"
        publish_dates(out)
        names = tables_of(out, DATES[0])
        config = config_of(folder, STORE, tables=dict.fromkeys(sorted(names), 30))
        store.folders = {("memberships", day) for day in DATES}
        dying = Effects(deaths)
        with dying.patched(), suppress(DiedError):
            apply(config)
        apply(config)
        assert not manifest_path(out, DATES[0]).exists(), deaths
        assert store.folders == {("memberships", day) for day in DATES[1:]}, deaths
        assert not (out / "_work" / "retention.json").exists(), deaths
        assert apply(config) == (), deaths
        assert problems(out) == (), deaths
        if not dying.dead:
            break
        deaths += 4
    assert deaths > 8


def test_a_date_that_was_run_again_since_keeps_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, out = config_of(tmp_path, STORE, tables={"memberships": 30}), tmp_path / "out"
    publish_dates(out)
    store = Store(monkeypatch, {"remove"})
    with suppress(DiedError):
        apply(config)
    publish_day(out, Day(DATES[0], {1: {}, 2: {}}, {1: {"a"}, 2: {"b"}}, [Defined("a"), Defined("b")], note="again"))
    assert find_old(out, config.retention, LAST).begun == ()
    assert ("memberships", DATES[0]) in store.folders


@pytest.mark.parametrize("content", ["{", "[]", '{"tables": [["memberships"]]}', '{"tables": [["memberships", "x"]]}'])
def test_a_damaged_note_is_told(tmp_path: Path, content: str) -> None:
    config, out = config_of(tmp_path, tables={"memberships": 30}), tmp_path / "out"
    publish_dates(out)
    (out / "_work" / "retention.json").write_text(content, encoding="utf-8")
    with pytest.raises(IntegrityError) as raised:
        find_old(out, config.retention, LAST)
    assert raised.value.code == "retention-note"
