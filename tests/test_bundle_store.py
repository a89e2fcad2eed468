from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import permutations
from pathlib import Path

import pytest

from engine import bundle_store as module
from engine.bundle import Bundle, bundle_files, bundle_id, load_bundle
from engine.bundle_store import Conditions, check_bundle, current_bundle, find_bundle, write_bundle
from engine.config import Config
from engine.errors import ConfigError, IntegrityError
from engine.features.choice import feature_spec
from engine.tables import disk
from engine.tables.layout import bundles_folder

DAY = date(2026, 3, 1)
CONDITIONS = Conditions({"seed": "1", "model": "2"}, "Int64", {"region": "String", "age": "Int64", "more": "Boolean"})


def bundle(number: int = 1, **changes: object) -> Bundle:
    """A small bundle; another number is what another log would give."""
    source = {"name": "shop", "path": "a", "columns": {"user_id": "u", "event_type": "k", "event_time": "t"}}
    made = Bundle(
        as_of=DAY,
        learnt_from=(("model", "2"), ("seed", "1")),
        spec=feature_spec(Config.model_validate({"sources": [source]}), ("view",), frozenset()),
        user_dtype="Int64",
        rfm_edges=None,
        segment_map="rf_10",
        engagement_full_at=number,
        contacts=(("region", "String"), ("age", "Int64")),
        clustering=None,
        cluster_curve=(),
        models=(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def written(out: Path, *bundles: Bundle) -> list[Path]:
    """The bundles, one after the other, as their folders."""
    return [
        write_bundle(made, out / "_work" / f"{index}-{made.engagement_full_at}", out)
        for index, made in enumerate(bundles)
    ]


def damage(folder: Path) -> None:
    (folder / "bundle.json").write_bytes((folder / "bundle.json").read_bytes().replace(b'"Int64"', b'"Int32"', 1))


# -------------------------------------------------------------------------------------------------------------- writing


def test_writing_a_bundle_again_keeps_its_files_and_makes_it_current(tmp_path: Path) -> None:
    [first] = written(tmp_path, bundle(1))
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    [other] = written(tmp_path, bundle(2))
    assert other != first
    assert current_bundle(tmp_path) == other
    assert written(tmp_path, bundle(1)) == [first]
    assert current_bundle(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    assert load_bundle(first) == bundle(1)


def test_the_pointer_keeps_the_order_of_writing_of_what_is_there(tmp_path: Path) -> None:
    folders = written(tmp_path, bundle(1), bundle(2), bundle(3), bundle(2))
    for path in folders[0].iterdir():
        path.unlink()
    folders[0].rmdir()
    [last] = written(tmp_path, bundle(4))
    pointer = json.loads((bundles_folder(tmp_path) / "current").read_bytes())
    assert pointer == {"bundle": last.name, "as_of": "2026-03-01", "before": [folders[2].name, folders[3].name]}


@pytest.mark.parametrize(
    "spoil",
    [
        damage,
        lambda folder: (folder / "bundle.json").unlink(),
        lambda folder: (folder / "evil.pkl").write_bytes(b"x"),
        lambda folder: (folder / "files.json").write_bytes(b"{"),
        lambda folder: (folder / "files.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "files.json").write_text("[]"),
    ],
)
def test_a_whole_bundle_takes_the_place_of_a_damaged_one(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    [first] = written(tmp_path, bundle())
    spoil(first)
    assert find_bundle(tmp_path, DAY, CONDITIONS) is None
    assert write_bundle(bundle(), tmp_path / "_work" / "again", tmp_path) == first
    assert load_bundle(first) == bundle()
    assert find_bundle(tmp_path, DAY, CONDITIONS) == first
    assert [path.name for path in bundles_folder(tmp_path).iterdir() if path.is_dir()] == [first.name]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'"x"',
        b"\xff",
        b'{"bundle": ',
        b'{"bundle": "0123456789ab"}',
        b'{"bundle": "../elsewhere", "before": []}',
        b'{"bundle": "0123456789ab", "before": [5]}',
        b'{"bundle": "0123456789ab", "before": "x"}',
    ],
)
def test_a_damaged_pointer_is_refused_until_the_next_fit(content: bytes, tmp_path: Path) -> None:
    [first, second] = written(tmp_path, bundle(1), bundle(2))
    pointer = bundles_folder(tmp_path) / "current"
    pointer.write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        current_bundle(tmp_path)
    assert caught.value.code == "bundle-pointer"
    assert str(pointer) in caught.value.message
    # Nothing tells which of the two was written last.
    assert find_bundle(tmp_path, DAY, CONDITIONS) is None
    assert written(tmp_path, bundle(1)) == [first]
    assert current_bundle(tmp_path) == find_bundle(tmp_path, DAY, CONDITIONS) == first
    assert second.exists()


def test_nothing_was_written(tmp_path: Path) -> None:
    assert current_bundle(tmp_path) is None
    assert find_bundle(tmp_path, DAY, CONDITIONS) is None


@pytest.mark.parametrize(
    ("step", "after"), [("durable_text", 0), ("durable_text", 1), ("disk.rename", 0), ("durable_json", 0)]
)
def test_a_write_that_is_cut_short_leaves_the_bundle_before_it_current(
    step: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [first] = written(tmp_path, bundle(1))
    owner = disk if "." in step else module
    name = step.rpartition(".")[2]
    real, calls = getattr(owner, name), []

    def stop(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > after:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, stop)
        with pytest.raises(KeyboardInterrupt):
            write_bundle(bundle(2), tmp_path / "_work" / "cut", tmp_path)
    assert current_bundle(tmp_path) == find_bundle(tmp_path, DAY, CONDITIONS) == first
    for folder in bundles_folder(tmp_path).iterdir():
        if folder.is_dir():
            load_bundle(folder)
    again = write_bundle(bundle(2), tmp_path / "_work" / "again", tmp_path)
    assert current_bundle(tmp_path) == find_bundle(tmp_path, DAY, CONDITIONS) == again
    assert load_bundle(again) == bundle(2)


def test_every_name_is_on_stable_storage_before_the_bundle_is_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "out"
    steps: list[tuple[str, Path]] = []
    rename, sync = disk.rename, disk.sync_folder

    def naming(source: Path, target: Path) -> None:
        rename(source, target)
        steps.append(("named", target))

    def syncing(folder: Path) -> None:
        sync(folder)
        steps.append(("synced", folder))

    monkeypatch.setattr(disk, "rename", naming)
    monkeypatch.setattr(disk, "sync_folder", syncing)
    files = bundle_files(bundle())
    monkeypatch.setattr(
        module, "bundle_files", lambda _: {**files, "targets/buys/model.txt": "x", "targets/a.txt": "y"}
    )
    folder = write_bundle(bundle(), out / "_work" / "fit" / "bundle", out)
    staging = out / "_work" / "fit" / "bundle"
    moved, current = steps.index(("named", folder)), steps.index(("named", folder.parent / "current"))
    assert moved < current < len(steps)

    def last(step: tuple[str, Path], end: int) -> int:
        return max((at for at, taken in enumerate(steps[:end]) if taken == step), default=-1)

    # A name is safe when its folder was synced after it was given.
    for inner in (staging, staging / "targets", staging / "targets" / "buys"):
        names = [at for at, (kind, path) in enumerate(steps[:moved]) if kind == "named" and path.parent == inner]
        assert last(("synced", inner), moved) > max(names, default=-1), inner
    for outer in (folder.parent, out, out.parent, tmp_path):
        assert last(("synced", outer), current) >= 0, outer
    assert last(("synced", folder.parent), current) > moved
    assert steps[-1] == ("synced", folder.parent)


# ------------------------------------------------------------------------------------------------------------- choosing


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_of_several_fits_of_a_day_the_last_counts(order: tuple[int, ...], tmp_path: Path) -> None:
    folders = written(tmp_path, *(bundle(number) for number in order))
    assert find_bundle(tmp_path, DAY, CONDITIONS) == folders[-1]
    # A back-fill of another day, or a fit with another configuration, changes nothing in it.
    written(tmp_path, bundle(as_of=DAY - timedelta(days=30)), bundle(9, learnt_from=(("seed", "5"),)))
    assert find_bundle(tmp_path, DAY, CONDITIONS) == folders[-1]
    written(tmp_path, bundle(order[0]))
    assert find_bundle(tmp_path, DAY, CONDITIONS) == folders[0]


def test_a_back_fill_takes_the_bundle_of_its_time(tmp_path: Path) -> None:
    march, may, january = written(
        tmp_path, bundle(), bundle(as_of=date(2026, 5, 1)), bundle(as_of=date(2026, 1, 1), engagement_full_at=7)
    )
    assert current_bundle(tmp_path) == january
    for day, found in [
        (date(2025, 12, 31), None),
        (date(2026, 1, 1), january),
        (date(2026, 2, 28), january),
        (DAY, march),
        (date(2026, 4, 30), march),
        (date(2030, 1, 1), may),
    ]:
        assert find_bundle(tmp_path, day, CONDITIONS) == found, day


@pytest.mark.parametrize(("days", "limit", "found"), [(-1, 7, False), (0, 1, True), (6, 7, True), (7, 7, False)])
def test_a_bundle_is_used_up_to_an_age(days: int, limit: int, found: bool, tmp_path: Path) -> None:
    written(tmp_path, bundle())
    assert (find_bundle(tmp_path, DAY + timedelta(days=days), CONDITIONS, limit) is not None) is found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, True),
        ({"learnt_from": {"seed": "1", "model": "3"}}, False),
        ({"learnt_from": {"seed": "1"}}, False),
        ({"user_dtype": "String"}, False),
        ({"contacts": {"region": "String", "age": "Float64"}}, False),
        ({"contacts": {"region": "String"}}, False),
        ({"contacts": {"region": "String", "age": "Int64", "other": "Date"}}, True),
    ],
)
def test_a_bundle_fits_what_it_was_fitted_with(changes: dict[str, object], found: bool, tmp_path: Path) -> None:
    written(tmp_path, bundle())
    conditions = replace(CONDITIONS, **changes)  # type: ignore[arg-type]
    assert (find_bundle(tmp_path, DAY, conditions) is not None) is found


def test_a_damaged_bundle_gives_way_to_the_next(tmp_path: Path) -> None:
    older, same_day, last = written(tmp_path, bundle(1, as_of=DAY - timedelta(days=2)), bundle(2), bundle(3))
    for folder, following in ((last, same_day), (same_day, older), (older, None)):
        assert find_bundle(tmp_path, DAY, CONDITIONS) == folder
        (folder / "more.txt").write_text("x")
        assert find_bundle(tmp_path, DAY, CONDITIONS) == following


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"format": 2, "versions": {}}'])
def test_a_description_that_cannot_be_read_does_not_count(content: bytes, tmp_path: Path) -> None:
    first, second = written(tmp_path, bundle(1), bundle(2))
    (second / "bundle.json").write_bytes(content)
    assert find_bundle(tmp_path, DAY, CONDITIONS) == first


def test_a_folder_that_was_never_current_does_not_count(tmp_path: Path) -> None:
    [first] = written(tmp_path, bundle())
    stranger = bundles_folder(tmp_path) / "0123456789ab"
    written(tmp_path / "elsewhere", bundle(2))[0].rename(stranger)
    assert find_bundle(tmp_path, DAY, CONDITIONS) == first
    assert bundle_id(stranger) != stranger.name


# ------------------------------------------------------------------------------------------------------------- refusing


@pytest.mark.parametrize(
    ("learnt_from", "days", "code", "named"),
    [
        ({"seed": "1", "model": "3"}, 0, "bundle-other-configuration", "model differ"),
        ({"seed": "0", "model": "3", "rfm": "1"}, -1, "bundle-other-configuration", "seed, model, rfm differ"),
        (CONDITIONS.learnt_from, -1, "bundle-later", "as of 2026-03-01, after 2026-02-28"),
    ],
)
def test_what_a_bundle_cannot_score_is_refused(
    learnt_from: dict[str, str], days: int, code: str, named: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_bundle(bundle(), tmp_path / "b", DAY + timedelta(days=days), learnt_from)
    assert caught.value.code == code
    assert named in caught.value.message
    assert str(tmp_path / "b") in caught.value.message
    check_bundle(bundle(), tmp_path / "b", DAY, CONDITIONS.learnt_from)
