from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path, PurePosixPath

import pytest

from engine.errors import ConfigError, IntegrityError
from engine.tables import disk, effects, layout
from engine.tables import publish as module
from engine.tables.durable import durable_parquet, durable_text
from engine.tables.manifest import Manifest, read_manifest
from engine.tables.publish import discard, publish, recover
from engine.tables.verify import verify_table
from tests.tables.samples import (
    AS_OF,
    RUN_A,
    RUN_B,
    Segments,
    as_read,
    read_segments,
    stage,
    stage_plain,
    tree,
    users,
)


class DiedError(BaseException):
    pass


def die(*_: object) -> None:
    raise DiedError


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTING_SECONDS", 0)
    monkeypatch.setattr(os, "fsync", lambda _: None)


def run(out: Path, run_id: str, segments: Segments, *, plain: tuple[str, ...] = ("features", "scores")) -> Manifest:
    manifest = stage(out, run_id, segments, plain=plain)
    publish(layout.work_folder(out, run_id), out, manifest)
    return manifest


def assert_published(out: Path, manifest: Manifest, segments: Segments) -> None:
    assert read_segments(out) == as_read(segments)
    assert read_manifest(layout.manifest_path(out, manifest.as_of)) == manifest
    for table in manifest.tables:
        verify_table(out, table, deep=True)
    names = {table.name for table in manifest.tables}
    assert {name for name in layout.TABLES if layout.table_folder(out, name, manifest.as_of).exists()} == names
    assert list((out / "_work").iterdir()) == []


def test_a_first_run_and_the_next(tmp_path: Path) -> None:
    assert_published(tmp_path, run(tmp_path, "a", RUN_A), RUN_A)
    assert_published(tmp_path, run(tmp_path, "b", RUN_B), RUN_B)


def test_the_same_run_twice_gives_the_same_tree(tmp_path: Path) -> None:
    run(tmp_path, "a", RUN_A)
    first = tree(tmp_path)
    run(tmp_path, "a", RUN_A)
    assert tree(tmp_path) == first


def test_a_rerun_repairs_a_damaged_table(tmp_path: Path) -> None:
    manifest = run(tmp_path, "a", RUN_A)
    path = tmp_path / manifest.tables[0].records[0].path
    path.write_bytes(bytes(path.stat().st_size))
    assert_published(tmp_path, run(tmp_path, "a", RUN_A), RUN_A)


def test_what_is_on_stable_storage_before_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "a", RUN_A)
    work = layout.work_folder(tmp_path, "b")
    manifest = stage(tmp_path, "b", RUN_B)
    steps: list[tuple[str, Path]] = []

    def note(name: str, effect: Callable[..., object]) -> Callable[..., object]:
        def noting(*arguments: Path) -> object:
            steps.append((name, arguments[-1]))
            return effect(*arguments)

        return noting

    for name in ("sync_folder", "rename", "remove_file", "remove_tree"):
        monkeypatch.setattr(disk, name, note(name, getattr(disk, name)))
    monkeypatch.setattr(effects, "swap", note("swap", effects.swap))
    publish(work, tmp_path, manifest)

    def live(table: str) -> Path:
        return layout.table_folder(tmp_path, table, AS_OF)

    sealed = work / "_sealed"
    folders = {sealed / PurePosixPath(file.path).parent for table in manifest.tables for file in table.records}
    intent = steps.index(("rename", work / "commit.json"))
    assert {path for name, path in steps[:intent] if name == "sync_folder"} >= {
        *folders,
        *(sealed / table.path for table in manifest.tables),
        *(sealed / table.name for table in manifest.tables),
        sealed,
        work,
        work.parent,
        tmp_path,
    }
    assert steps[intent:] == [
        ("rename", work / "commit.json"),
        ("sync_folder", work),
        ("sync_folder", live("segments")),
        ("swap", live("features")),
        ("sync_folder", sealed / "features"),
        ("sync_folder", live("features").parent),
        ("swap", live("scores")),
        ("sync_folder", sealed / "scores"),
        ("sync_folder", live("scores").parent),
        ("swap", live("segments")),
        ("sync_folder", sealed / "segments"),
        ("sync_folder", live("segments").parent),
        ("rename", layout.manifest_path(tmp_path, AS_OF)),
        ("sync_folder", layout.manifests_folder(tmp_path)),
        ("sync_folder", work),
        ("remove_tree", work),
    ]


def test_the_folders_of_a_first_publish_are_on_stable_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = stage(tmp_path, "a", RUN_A)
    durable: set[Path] = set()
    when_the_manifest_stood: set[Path] = set()

    def sync(folder: Path) -> None:
        durable.update(folder.iterdir())

    def rename(source: Path, target: Path) -> None:
        source.replace(target)
        if target == layout.manifest_path(tmp_path, AS_OF):
            when_the_manifest_stood.update(durable)

    monkeypatch.setattr(disk, "sync_folder", sync)
    monkeypatch.setattr(disk, "rename", rename)
    publish(layout.work_folder(tmp_path, "a"), tmp_path, manifest)
    tables = [layout.table_folder(tmp_path, table.name, AS_OF) for table in manifest.tables]
    expected = {layout.manifests_folder(tmp_path), *tables, *(folder.parent for folder in tables)}
    assert expected <= when_the_manifest_stood
    assert layout.manifest_path(tmp_path, AS_OF) in durable


def test_other_dates_and_files_stay(tmp_path: Path) -> None:
    other = stage(tmp_path, "other", RUN_B, as_of=date(2017, 12, 31))
    publish(layout.work_folder(tmp_path, "other"), tmp_path, other)
    durable_text("bundle", layout.bundles_folder(tmp_path) / "b1" / "bundle.json")
    before = tree(tmp_path)
    run(tmp_path, "a", RUN_A)
    assert before.items() <= tree(tmp_path).items()


def test_a_table_that_the_run_no_longer_has_is_removed(tmp_path: Path) -> None:
    run(tmp_path, "a", RUN_A, plain=("rejects", "features", "scores", "memberships"))
    assert_published(tmp_path, run(tmp_path, "b", RUN_B, plain=("features",)), RUN_B)
    assert_published(tmp_path, run(tmp_path, "c", RUN_A, plain=("features", "rejects")), RUN_A)


def test_segments_are_switched_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "a", RUN_A)
    switched: list[str] = []
    monkeypatch.setattr(module, "exchange", lambda staged, live: switched.append(live.parent.name))
    run(tmp_path, "b", RUN_B)
    assert switched == ["features", "scores", "segments"]


def test_what_killed_attempts_left_is_swept(tmp_path: Path) -> None:
    manifest = stage(tmp_path, "a", RUN_A)
    work = layout.work_folder(tmp_path, "a")
    temporary, handle = disk.create_temporary(work / manifest.tables[0].records[0].path)
    handle.close()
    publish(work, tmp_path, manifest)
    assert_published(tmp_path, manifest, RUN_A)
    assert not temporary.exists()


def late_file(out: Path, manifest: Manifest) -> Manifest:
    stage_plain(out, manifest.run_id, "features", [9])
    return manifest


def lost_file(out: Path, manifest: Manifest) -> Manifest:
    (layout.work_folder(out, manifest.run_id) / manifest.tables[0].records[0].path).unlink()
    return manifest


def wrong_date(out: Path, manifest: Manifest) -> Manifest:
    return replace(manifest, as_of=date(2018, 1, 2))


@pytest.mark.parametrize("fault", [late_file, lost_file, wrong_date])
def test_staged_tables_that_do_not_match_are_not_published(
    tmp_path: Path, fault: Callable[[Path, Manifest], Manifest]
) -> None:
    run(tmp_path, "a", RUN_A)
    published = tree(tmp_path)
    manifest = fault(tmp_path, stage(tmp_path, "b", RUN_B))
    with pytest.raises(IntegrityError):
        publish(layout.work_folder(tmp_path, "b"), tmp_path, manifest)
    assert recover(tmp_path) == ()
    assert tree(tmp_path) == published


def test_deep_reads_the_bytes(tmp_path: Path) -> None:
    manifest = stage(tmp_path, "a", RUN_A)
    work = layout.work_folder(tmp_path, "a")
    path = work / manifest.tables[0].records[0].path
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="SHA-256"):
        publish(work, tmp_path, manifest, deep=True)


def test_staging_must_be_where_recovery_looks(tmp_path: Path) -> None:
    manifest = stage(tmp_path, "a", RUN_A)
    with pytest.raises(ValueError, match="staging"):
        publish(tmp_path / "elsewhere", tmp_path, manifest)


def test_recover_with_nothing_to_do(tmp_path: Path) -> None:
    assert recover(tmp_path / "none") == ()
    assert not (tmp_path / "none").exists()
    run(tmp_path, "a", RUN_A)
    before = tree(tmp_path)
    assert recover(tmp_path) == ()
    assert tree(tmp_path) == before


def test_recover_removes_what_did_not_come_to_publish(tmp_path: Path) -> None:
    run(tmp_path, "a", RUN_A)
    before = tree(tmp_path)
    stage(tmp_path, "b", RUN_B)
    for folder in (tmp_path / "_work", tmp_path / "_manifests", tmp_path / "_work" / "b" / "segments"):
        disk.create_temporary(folder / "x.json")[1].close()
    assert recover(tmp_path) == ()
    assert tree(tmp_path) == before


def fail_at_segments(switch: Callable[..., None]) -> Callable[..., None]:
    def until_segments(work: Path, out: Path, table: object) -> None:
        if table.name == "segments":
            raise DiedError
        switch(work, out, table)

    return until_segments


def test_a_run_that_ends_early_discards_its_work_unless_it_is_being_published(tmp_path: Path) -> None:
    run(tmp_path, "a", RUN_A)
    new = stage(tmp_path, "b", RUN_B)
    work = layout.work_folder(tmp_path, "b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_switch", fail_at_segments(module._switch))
        with pytest.raises(DiedError):
            publish(work, tmp_path, new)
    stage(tmp_path, "c", RUN_A)
    assert discard(layout.work_folder(tmp_path, "c"))
    assert not discard(work)
    assert recover(tmp_path) == ("b",)
    assert_published(tmp_path, new, RUN_B)
    assert discard(work)


def test_a_publish_that_cannot_be_completed_is_named(tmp_path: Path) -> None:
    run(tmp_path, "a", RUN_A)
    new = stage(tmp_path, "b", RUN_B)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_switch", fail_at_segments(module._switch))
        with pytest.raises(DiedError):
            publish(layout.work_folder(tmp_path, "b"), tmp_path, new)
    (layout.work_folder(tmp_path, "b") / "_sealed" / new.tables[0].records[0].path).unlink()
    with pytest.raises(IntegrityError, match="missing: segments/") as caught:
        recover(tmp_path)
    assert caught.value.code == "publish-incomplete"
    assert read_segments(tmp_path) == as_read(RUN_A)


def test_an_intent_that_cannot_be_read_is_not_thrown_away(tmp_path: Path) -> None:
    durable_text("{", layout.work_folder(tmp_path, "b") / "commit.json")
    with pytest.raises(IntegrityError, match=r"commit\.json"):
        recover(tmp_path)
    assert (layout.work_folder(tmp_path, "b") / "commit.json").exists()


def test_a_read_only_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "a", RUN_A)
    manifest = stage(tmp_path, "b", RUN_B)

    def refuse(*_: Path) -> bool:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(effects, "swap", refuse)
        with pytest.raises(ConfigError, match="Read-only"):
            publish(layout.work_folder(tmp_path, "b"), tmp_path, manifest)
    assert recover(tmp_path) == ("b",)
    assert_published(tmp_path, manifest, RUN_B)


def test_a_zombie_attempt_changes_nothing(tmp_path: Path) -> None:
    manifest = run(tmp_path, "a", RUN_A)
    published = tree(tmp_path)
    root = layout.work_folder(tmp_path, "a")
    folder = layout.partition_folder(layout.table_folder(root, "segments", AS_OF), "segment", "loyal")
    durable_parquet(users([1, 2, 3]), folder, "part-0", root=root)
    assert read_segments(tmp_path) == as_read(RUN_A)
    recover(tmp_path)
    assert tree(tmp_path) == published
    assert_published(tmp_path, manifest, RUN_A)


def partitions(live: Path) -> set[str]:
    return {path.name for path in live.iterdir() if path.is_dir()}


def test_new_partitions_are_announced_before_the_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "a", RUN_A)
    folders: list[set[str]] = []
    live = layout.table_folder(tmp_path, "segments", AS_OF)
    monkeypatch.setattr(module.time, "sleep", lambda _: folders.append(partitions(live)))
    run(tmp_path, "b", RUN_B)
    assert folders == [as_read(RUN_A).keys() | as_read(RUN_B).keys(), as_read(RUN_B).keys()]
    run(tmp_path, "c", RUN_B)
    assert folders[2:] == [as_read(RUN_B).keys()], "nothing to announce, one folder to be left to its readers"


@pytest.mark.parametrize("dies", [False, True])
def test_who_has_the_old_folder_open_can_still_list_it(
    dies: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, "a", RUN_A)
    listed: list[set[str]] = []
    live = layout.table_folder(tmp_path, "segments", AS_OF)
    opened = os.scandir(live)
    if dies:
        with monkeypatch.context() as patch:
            patch.setattr(module, "_remove", die)
            with pytest.raises(DiedError):
                run(tmp_path, "b", RUN_A)
    monkeypatch.setattr(module.time, "sleep", lambda _: listed.append({entry.name for entry in opened}))
    if dies:
        recover(tmp_path)
    else:
        run(tmp_path, "b", RUN_A)
    assert listed == [as_read(RUN_A).keys() | {layout.SUCCESS}]


def test_a_reader_beside_many_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTING_SECONDS", 0.1)
    run(tmp_path, "a", RUN_A)
    stop = threading.Event()
    seen: list[dict[str, list[int]]] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(read_segments(tmp_path))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(8):
        run(tmp_path, f"r{number}", RUN_A if number % 2 else RUN_B)
    stop.set()
    reader.join()
    assert len(seen) > 20
    assert [one for one in seen if one not in (as_read(RUN_A), as_read(RUN_B))] == []
