from __future__ import annotations

import json
import os
import shutil
import socket
from datetime import date, timedelta
from pathlib import Path

import pytest

from engine.bundle_pointer import Act, read_acts, write_acts
from engine.errors import ConflictError
from engine.execution.local import LocalExecutor
from engine.stages.collecting import Collected, Item, collect, plan_collection
from engine.stages.verifying import verify_output
from engine.tables import collect as collect_module
from engine.tables import disk
from engine.tables.layout import manifest_path
from engine.tables.lock import writer_lock
from engine.tables.manifest import read_manifest
from tests.ledger.publishing import Day, Defined, publish_day

FIRST = date(2026, 1, 1)
DATES = [FIRST + timedelta(days=number) for number in (0, 1, 2, 10)]


def day(as_of: date) -> Day:
    return Day(as_of, {1: {}, 2: {}}, {1: {"a"}, 2: {"b"} if as_of.day % 2 else {"a"}}, [Defined("a"), Defined("b")])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gc") / "out"
    for as_of in DATES:
        publish_day(out, day(as_of))
    return out


@pytest.fixture
def out(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "out"))


def names(found: Collected) -> list[str]:
    return [item.name for item in found.items]


def state(out: Path) -> dict[str, int]:
    return {name: size for name, size in disk.list_files(out).items() if not name.startswith("_work/")}


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        ({}, 0),
        ({"keep_dates": 1}, 3),
        ({"keep_dates": 2}, 2),
        ({"keep_dates": 9}, 0),
        ({"keep_days": 0}, 3),
        ({"keep_days": 8}, 2),
        ({"keep_days": 10}, 0),
        ({"keep_days": 8, "keep_dates": 1}, 2),
        ({"keep_days": 0, "keep_dates": 3}, 1),
    ],
)
def test_dates_beyond_every_limit_go(out: Path, limits: dict[str, int], gone: int) -> None:
    before = state(out)
    plan = plan_collection(out, **limits)
    assert names(plan) == [as_of.isoformat() for as_of in DATES[:gone]]
    assert plan.kept == tuple(DATES[gone:])
    assert state(out) == before
    done = collect(out, **limits)
    assert done == plan
    after = state(out)
    assert sum(item.bytes for item in plan.items) == sum(before.values()) - sum(after.values())
    assert sum(item.files for item in plan.items) == len(before) - len(after)
    assert {name: size for name, size in before.items() if name in after} == after
    assert verify_output(out, executor=LocalExecutor(threads=1)).problems == ()
    assert names(collect(out, **limits)) == []


def test_the_ledger_goes_on_after_the_dates_before_are_gone(out: Path, tmp_path: Path) -> None:
    later = DATES[-1] + timedelta(days=1)
    whole = Path(shutil.copytree(out, tmp_path / "whole"))
    collect(out, keep_dates=1)
    for root in (out, whole):
        assert publish_day(root, day(later)) == ()
    assert state(out).items() <= state(whole).items()


def test_a_pending_correction_keeps_every_date(out: Path) -> None:
    (out / "_work" / "ledger.json").write_text(json.dumps({"since": "2026-01-02"}), encoding="utf-8")
    done = collect(out, keep_dates=1)
    assert (done.items, done.kept) == ((), tuple(DATES))
    assert "ledgers to be corrected" in done.notes[0]


def test_what_killed_runs_left_goes(out: Path) -> None:
    whole = state(out)
    (out / "_work" / "score-x" / "segments").mkdir(parents=True)
    (out / "_work" / "score-x" / "segments" / "part.parquet").write_bytes(b"x" * 10)
    shutil.copytree(out / "scores" / "as_of=2026-01-02", out / "scores" / "as_of=2026-01-09")
    (out / "features" / "as_of=2026-01-02" / "stray.parquet").write_bytes(b"xx")
    (out / "mine" / "as_of=2026-01-09").mkdir(parents=True)
    (out / "mine" / "as_of=2026-01-09" / "own.parquet").write_bytes(b"xxx")
    expected = ["features/as_of=2026-01-02/stray.parquet", "scores/as_of=2026-01-09", "_work/score-x"]
    plan = plan_collection(out)
    assert sorted(names(plan)) == sorted(expected)
    assert [item.bytes for item in plan.items if item.kind == "work"] == [10]
    assert sorted(names(collect(out))) == sorted(expected)
    assert state(out) == {**whole, "mine/as_of=2026-01-09/own.parquet": 3}
    assert not (out / "_work" / "score-x").exists()


def test_copies_of_remote_files_that_a_killed_run_left_go(out: Path) -> None:
    whole, cache = state(out), out / "_remote"
    killed = cache / "use" / f"{socket.gethostname()}-{2**22 + 1}-0a0a0a0a0a0a" / "a-b"
    at_work = cache / "use" / f"{socket.gethostname()}-{os.getpid()}-0b0b0b0b0b0b" / "a-b"
    (cache / "files").mkdir(parents=True)
    (cache / "files" / "a-b").write_bytes(b"x" * 10)
    for link in (killed, at_work):
        link.parent.mkdir(parents=True)
        os.link(cache / "files" / "a-b", link)
    (killed.parent / "c-d").write_bytes(b"x" * 5)
    expected = (Item("fetched", "_remote", 2, 15),)
    assert plan_collection(out).items == expected
    assert killed.exists()
    assert collect(out).items == expected
    assert state(out) == {**whole, at_work.relative_to(out).as_posix(): 10}
    shutil.rmtree(at_work.parent)
    assert collect(out).items == ()
    assert not cache.exists()


def test_nothing_of_a_date_whose_manifest_cannot_be_read(out: Path) -> None:
    manifest_path(out, DATES[1]).write_text("{", encoding="utf-8")
    (out / "features" / "as_of=2026-01-02" / "stray.parquet").write_bytes(b"xx")
    done = collect(out)
    assert done.items == ()
    assert "2026-01-02" in done.notes[0]


def test_bundles_that_nothing_uses(out: Path) -> None:
    acts = {
        "a" * 12: ("fitted", FIRST - timedelta(days=30)),
        "b" * 12: ("held", FIRST - timedelta(days=20)),
        "c" * 12: ("withdrawn", FIRST - timedelta(days=20)),
        "d" * 12: ("held", DATES[-1]),
        "e" * 12: ("fitted", FIRST),
    }
    for name in [*acts, "f" * 12, "notes"]:
        folder = out / "_bundles" / name
        folder.mkdir(parents=True)
        (folder / "files.json").write_text("{}", encoding="utf-8")
    write_acts(out, [Act(act, name, as_of) for name, (act, as_of) in acts.items()])  # type: ignore[arg-type]
    expected = [f"_bundles/{letter * 12}" for letter in "bcf"]
    assert names(plan_collection(out)) == expected
    assert names(collect(out)) == expected
    left = sorted(path.name for path in (out / "_bundles").iterdir() if path.is_dir())
    assert left == ["a" * 12, "d" * 12, "e" * 12, "notes"]
    assert [act.bundle[0] for act in read_acts(out)] == ["a", "d", "e"]


def test_another_run_is_writing(out: Path) -> None:
    with writer_lock(out, "score-x"), pytest.raises(ConflictError):
        collect(out, keep_dates=1)
    assert plan_collection(out, keep_dates=1).items


def test_no_reader_finds_a_part_of_a_date(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every effect of a removal: a manifest has all its files, and a table's folder is whole or not there."""
    whole = {path: disk.list_files(path) for path in out.glob("*/as_of=*") if path.is_dir()}
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        for file in (out / "_manifests").glob("*.json"):
            for table in read_manifest(file).tables:
                assert all((out / record.path).exists() for record in table.records)
        for path, files in whole.items():
            assert not path.exists() or disk.list_files(path) == files

    for name in ("remove_file", "rename", "remove_tree", "sync_folder", "make_folder"):
        effect = getattr(disk, name)

        def seen(*arguments: object, effect: object = effect) -> None:
            effect(*arguments)  # type: ignore[operator]
            look()

        monkeypatch.setattr(disk, name, seen)
    collect(out, keep_dates=1)
    assert looks > 30


class Killed(BaseException):
    pass


def test_a_removal_that_is_cut_short_is_carried_on(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Path(shutil.copytree(out, tmp_path / "done"))
    collect(done, keep_dates=2)
    move_away, cuts = collect_module.move_away, 0
    for stop in range(1, 30, 3):
        root = Path(shutil.copytree(out, tmp_path / f"cut{stop}"))
        calls = 0

        def cut(folder: Path, to: Path, stop: int = stop) -> None:
            nonlocal calls
            calls += 1
            if calls == stop:
                raise Killed
            move_away(folder, to)

        monkeypatch.setattr(collect_module, "move_away", cut)
        try:
            collect(root, keep_dates=2)
        except Killed:
            cuts += 1
        monkeypatch.setattr(collect_module, "move_away", move_away)
        collect(root, keep_dates=2)
        assert state(root) == state(done)
    assert cuts > 5
