from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import IntegrityError
from engine.tables import disk, layout
from engine.tables import publish as module
from engine.tables.manifest import Manifest, read_manifest
from engine.tables.publish import publish, publish_part, recover
from engine.tables.verify import verify_table
from tests.tables.samples import AS_OF, RUN_A, stage, stage_plain, tree

EFFECTS = ("make_folder", "create_temporary", "sync_file", "sync_folder", "rename", "remove_file", "remove_tree")


class DiedError(BaseException):
    pass


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTING_SECONDS", 0)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def published(tmp_path: Path) -> Manifest:
    manifest = stage(tmp_path, "a", RUN_A, plain=("features", "scores", "memberships", "membership_history"))
    publish(layout.work_folder(tmp_path, "a"), tmp_path, manifest)
    return manifest


def part(out: Path, published: Manifest) -> tuple[Path, Manifest]:
    """Other scores and memberships, changes that were not there, and no history."""
    replaced = {name: stage_plain(out, "a", name, [7, 8, 9]) for name in ("memberships", "membership_changes")}
    kept = {table.name: table for table in published.tables if table.name != "membership_history"}
    tables = kept | replaced
    return layout.work_folder(out, "a"), replace(published, counts={"part": 1}, tables=tuple(tables.values()))


NAMES = ("membership_history", "membership_changes", "memberships")


def test_only_the_named_tables_change(tmp_path: Path, published: Manifest) -> None:
    untouched = {
        path: path.stat().st_ino
        for name in ("segments", "features", "scores")
        for path in tmp_path.glob(f"{name}/**/*")
    }
    staging, manifest = part(tmp_path, published)
    publish_part(staging, tmp_path, manifest, NAMES)
    assert read_manifest(layout.manifest_path(tmp_path, AS_OF)) == manifest
    for table in manifest.tables:
        verify_table(tmp_path, table, deep=True)
    assert not layout.table_folder(tmp_path, "membership_history", AS_OF).exists()
    assert {path: path.stat().st_ino for path in untouched} == untouched
    assert not staging.exists()


def test_what_was_staged_is_checked_first(tmp_path: Path, published: Manifest) -> None:
    before = tree(tmp_path)
    staging, manifest = part(tmp_path, published)
    next((staging / "memberships").rglob("*.parquet")).write_bytes(b"cut")
    with pytest.raises(IntegrityError):
        publish_part(staging, tmp_path, manifest, NAMES)
    disk.remove_tree(staging)
    assert tree(tmp_path) == before


def dying_call(whole: Callable[..., object], left: list[int]) -> Callable[..., object]:
    def call(*arguments: object, **options: object) -> object:
        if not left[0]:
            raise DiedError
        left[0] -= 1
        return whole(*arguments, **options)

    return call


def test_a_death_at_any_effect_leaves_the_old_tables_or_the_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for step in range(200):
        out = tmp_path / str(step)
        first = stage(out, "a", {"loyal": [1]}, plain=("features", "memberships", "membership_history"))
        publish(layout.work_folder(out, "a"), out, first)
        staging, manifest = part(out, first)
        left = [step]
        with monkeypatch.context() as patch:
            for name in EFFECTS:
                patch.setattr(disk, name, dying_call(getattr(disk, name), left))
            try:
                publish_part(staging, out, manifest, NAMES)
                died = False
            except DiedError:
                died = True
        recover(out)
        now = read_manifest(layout.manifest_path(out, AS_OF))
        assert now in (first, manifest)
        for table in now.tables:
            verify_table(out, table, deep=True)
        found = {name for name in layout.TABLES if layout.table_folder(out, name, AS_OF).exists()}
        assert found == {table.name for table in now.tables}
        seen.add((died, now == manifest))
        if not died:
            break
    assert seen == {(True, False), (True, True), (False, True)}
