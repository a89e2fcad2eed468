from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import permutations
from pathlib import Path

import pytest

from engine import bundle_pointer, bundle_store
from engine.bundle import Bundle, bundle_files, bundle_id, load_bundle
from engine.bundle_pointer import read_acts, state_of
from engine.bundle_store import (
    Conditions,
    bundle_before,
    check_bundle,
    current_bundle,
    find_bundle,
    nothing_promoted,
    promote_bundle,
    rollback_bundle,
    write_bundle,
)
from engine.errors import ConfigError, ConflictError, IntegrityError
from engine.tables import disk
from engine.tables.layout import bundles_folder
from engine.tables.lock import writer_lock
from tests.bundles import DAY, bundle, full_bundle

CONDITIONS = Conditions({"seed": "1", "model": "2"}, "Int64", {"region": "String", "age": "Int64", "more": "Boolean"})


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


def test_the_pointer_keeps_what_was_done_with_what_is_there(tmp_path: Path) -> None:
    folders = written(tmp_path, bundle(1), bundle(2), bundle(3), bundle(2))
    for path in folders[0].iterdir():
        path.unlink()
    folders[0].rmdir()
    [last] = written(tmp_path, bundle(4))
    pointer = json.loads((bundles_folder(tmp_path) / "current").read_bytes())
    acts = [
        {"act": "fitted", "bundle": folder.name, "as_of": "2026-03-01"} for folder in (folders[2], folders[3], last)
    ]
    assert pointer == {"format": 2, "bundle": last.name, "acts": acts}


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
        b'"x"',
        b"\xff",
        b'{"format": ',
        b'{"format": 2}',
        b'{"format": 2, "bundle": null, "acts": 5}',
        b'{"format": 2, "bundle": "0123456789ab", "acts": []}',
        b'{"format": 2, "bundle": null, "acts": [5]}',
        b'{"format": 2, "bundle": null, "acts": [{"act": "held", "bundle": "../elsewhere", "as_of": "2026-03-01"}]}',
        b'{"format": 2, "bundle": null, "acts": [{"act": "liked", "bundle": "0123456789ab", "as_of": "2026-03-01"}]}',
        b'{"format": 2, "bundle": null, "acts": [{"act": "held", "bundle": "0123456789ab", "as_of": "soon"}]}',
        b'{"format": 2, "bundle": null, "acts": ' + b"[" * 100_000,
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


def test_a_pointer_of_format_1_is_refused_until_the_next_fit(tmp_path: Path) -> None:
    [first] = written(tmp_path, bundle(1))
    pointer = bundles_folder(tmp_path) / "current"
    pointer.write_text(json.dumps({"bundle": first.name, "as_of": "2026-03-01", "before": []}))
    for read in (current_bundle, rollback_bundle):
        with pytest.raises(IntegrityError, match="format 1, expected 2") as caught:
            read(tmp_path)
        assert caught.value.code == "bundle-version"
        assert "tamis fit" in caught.value.hint
    assert find_bundle(tmp_path, DAY, CONDITIONS) is None
    [second] = written(tmp_path, bundle(2))
    assert current_bundle(tmp_path) == find_bundle(tmp_path, DAY, CONDITIONS) == second


def test_nothing_was_written(tmp_path: Path) -> None:
    assert current_bundle(tmp_path) is None
    assert find_bundle(tmp_path, DAY, CONDITIONS) is None
    assert "nothing was fitted yet" in nothing_promoted(tmp_path).message


@pytest.mark.parametrize(
    ("step", "after"), [("durable_text", 0), ("durable_text", 1), ("disk.rename", 0), ("pointer.durable_json", 0)]
)
def test_a_write_that_is_cut_short_leaves_the_bundle_before_it_current(
    step: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [first] = written(tmp_path, bundle(1))
    prefix, _, name = step.rpartition(".")
    owner = {"disk": disk, "pointer": bundle_pointer}.get(prefix, bundle_store)
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
        bundle_store, "bundle_files", lambda _: {**files, "targets/buys/model.txt": "x", "targets/a.txt": "y"}
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
    assert current_bundle(tmp_path) == may
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


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"format": 4, "versions": {}}'])
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


def test_a_fit_is_due_by_the_age_of_the_last_fit_whatever_became_of_it(tmp_path: Path) -> None:
    [old] = written(tmp_path, bundle())
    week = DAY + timedelta(days=7)
    assert find_bundle(tmp_path, week, CONDITIONS, 7) is None
    held = write_bundle(bundle(2, as_of=week), tmp_path / "_work" / "held", tmp_path, promote=False)
    for day, found in [(week, old), (week + timedelta(days=6), old), (week + timedelta(days=7), None)]:
        assert find_bundle(tmp_path, day, CONDITIONS, 7) == found, day
    # A damaged fit is none.
    damage(held)
    assert find_bundle(tmp_path, week, CONDITIONS, 7) is None
    assert find_bundle(tmp_path, week, CONDITIONS) == old


# ------------------------------------------------------------------------------------------------------------ promoting


def hold(out: Path, made: Bundle) -> Path:
    return write_bundle(made, out / "_work" / "hold", out, promote=False)


def test_a_bundle_that_is_held_is_kept_and_never_chosen(tmp_path: Path) -> None:
    held = hold(tmp_path, bundle(1))
    assert load_bundle(held) == bundle(1)
    assert current_bundle(tmp_path) is None
    assert find_bundle(tmp_path, DAY, CONDITIONS) is None
    assert f"{held.name} is held" in nothing_promoted(tmp_path).message
    [promoted] = written(tmp_path, bundle(2))
    later = hold(tmp_path, bundle(3))
    assert current_bundle(tmp_path) == find_bundle(tmp_path, DAY, CONDITIONS) == promoted
    acts = read_acts(tmp_path)
    assert [state_of(acts, each.name) for each in (held, promoted, later)] == ["held", "current", "held"]


def test_a_gate_that_passes_later_promotes_and_one_that_fails_later_holds_nothing_back(tmp_path: Path) -> None:
    hold(tmp_path, bundle())
    [promoted] = written(tmp_path, bundle())
    assert current_bundle(tmp_path) == promoted == hold(tmp_path, bundle())
    assert current_bundle(tmp_path) == promoted


def test_what_is_promoted_by_hand_wins_on_every_day_that_it_can_score(tmp_path: Path) -> None:
    january, march, may = written(tmp_path, *(bundle(number, as_of=date(2026, number, 1)) for number in (1, 3, 5)))
    promote_bundle(tmp_path, march.name)
    assert current_bundle(tmp_path) == march
    # A back-fill still finds the bundle of its time.
    for day, found in [
        (date(2025, 12, 31), None),
        (date(2026, 1, 1), january),
        (date(2026, 2, 28), january),
        (date(2026, 3, 1), march),
        (date(2026, 5, 1), march),
        (date(2030, 1, 1), march),
    ]:
        assert find_bundle(tmp_path, day, CONDITIONS) == found, day
    # What is fitted after that act competes by its day, as ever.
    april, june = written(tmp_path, *(bundle(number, as_of=date(2026, number, 1)) for number in (4, 6)))
    for day, found in [(date(2026, 3, 31), march), (date(2026, 5, 1), april), (date(2026, 6, 1), june)]:
        assert find_bundle(tmp_path, day, CONDITIONS) == found, day
    # To fit it again is no word of a person: it takes nothing back.
    assert written(tmp_path, bundle(3, as_of=date(2026, 3, 1))) == [march]
    assert find_bundle(tmp_path, date(2026, 5, 1), CONDITIONS) == april
    promote_bundle(tmp_path, january.name)
    assert find_bundle(tmp_path, date(2030, 1, 1), CONDITIONS) == january
    assert may.exists()


def test_what_is_promoted_for_one_configuration_leaves_the_others_alone(tmp_path: Path) -> None:
    mine, theirs = written(tmp_path, bundle(1), bundle(2, learnt_from=(("seed", "5"),)))
    promote_bundle(tmp_path, theirs.name)
    assert current_bundle(tmp_path) == theirs
    assert find_bundle(tmp_path, DAY, CONDITIONS) == mine


def test_going_back_step_by_step(tmp_path: Path) -> None:
    first, second, third = written(tmp_path, bundle(1), bundle(2), bundle(3))
    promote_bundle(tmp_path, first.name)
    assert rollback_bundle(tmp_path) == (first.name, third.name)
    assert find_bundle(tmp_path, DAY, CONDITIONS) == third
    assert rollback_bundle(tmp_path) == (third.name, second.name)
    before = read_acts(tmp_path)
    with pytest.raises(ConfigError) as caught:
        rollback_bundle(tmp_path)
    assert caught.value.code == "bundle-rollback"
    assert second.name in caught.value.message
    assert read_acts(tmp_path) == before
    assert current_bundle(tmp_path) == find_bundle(tmp_path, DAY, CONDITIONS) == second


def test_what_was_withdrawn_comes_back_by_hand_only(tmp_path: Path) -> None:
    first, second = written(tmp_path, bundle(1), bundle(2))
    rollback_bundle(tmp_path)
    assert written(tmp_path, bundle(2)) == [second]
    assert hold(tmp_path, bundle(2)) == second
    assert state_of(read_acts(tmp_path), second.name) == "withdrawn"
    assert current_bundle(tmp_path) == find_bundle(tmp_path, DAY, CONDITIONS) == first
    # The fit of that day was made: none is due.
    assert find_bundle(tmp_path, DAY + timedelta(days=6), CONDITIONS, 7) == first
    promote_bundle(tmp_path, second.name)
    assert current_bundle(tmp_path) == find_bundle(tmp_path, DAY, CONDITIONS) == second


def test_the_bundle_in_use_before_a_day(tmp_path: Path) -> None:
    assert bundle_before(tmp_path, DAY) is None
    days = [DAY, DAY + timedelta(days=7), DAY + timedelta(days=14)]
    first, second, held = (
        write_bundle(bundle(as_of=day), tmp_path / "_work" / str(day), tmp_path, promote=day != days[2]) for day in days
    )
    late = days[2] + timedelta(days=1)
    for day, found in [(DAY, None), (days[1], first), (days[2], second), (late, second)]:
        assert bundle_before(tmp_path, day) == found, day
    promote_bundle(tmp_path, held.name)
    assert bundle_before(tmp_path, late) == held
    # To fit a day again has the same opponent as the first time.
    assert bundle_before(tmp_path, days[2]) == second
    rollback_bundle(tmp_path)
    rollback_bundle(tmp_path)
    assert bundle_before(tmp_path, late) == first
    (tmp_path / "_bundles" / "current").write_text("{")
    assert bundle_before(tmp_path, late) is None


def test_a_held_bundle_is_promoted_by_hand(tmp_path: Path) -> None:
    [first] = written(tmp_path, bundle(1))
    held = hold(tmp_path, bundle(2, as_of=DAY - timedelta(days=3)))
    promote_bundle(tmp_path, held.name)
    assert find_bundle(tmp_path, DAY, CONDITIONS) == held
    assert rollback_bundle(tmp_path) == (held.name, first.name)


def another_version(folder: Path) -> None:
    meta = (folder / "bundle.json").read_text().replace('"format": 3', '"format": 1')
    (folder / "bundle.json").write_text(meta)
    files = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    (folder / "files.json").write_text(json.dumps(resigned(files)))
    folder.rename(folder.with_name(bundle_id(folder)))


def resigned(files: dict[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items() if name != "files.json"}


@pytest.mark.parametrize(
    ("spoil", "code"), [(damage, "bundle-damaged"), (another_version, "bundle-version"), (None, "bundle-unknown")]
)
def test_what_cannot_be_used_is_not_promoted(spoil: Callable[[Path], object] | None, code: str, tmp_path: Path) -> None:
    spoiled, good = written(tmp_path, bundle(1), bundle(2))
    if spoil is not None:
        spoil(spoiled)
    others = [path.name for path in bundles_folder(tmp_path).iterdir() if path.is_dir() and path != good]
    before = read_acts(tmp_path)
    with pytest.raises((ConfigError, IntegrityError)) as caught:
        promote_bundle(tmp_path, others[0] if spoil else "0123456789ab")
    assert caught.value.code == code
    assert read_acts(tmp_path) == before
    assert current_bundle(tmp_path) == good


def test_nobody_goes_back_to_a_damaged_bundle(tmp_path: Path) -> None:
    _, second, third = written(tmp_path, bundle(1), bundle(2), bundle(3))
    damage(second)
    with pytest.raises(IntegrityError) as caught:
        rollback_bundle(tmp_path)
    assert caught.value.code == "bundle-damaged"
    assert f"cannot go back to the bundle {second.name}" in caught.value.message
    assert "tamis bundle promote" in caught.value.hint
    assert current_bundle(tmp_path) == third


def test_a_model_that_was_edited_is_not_promoted(tmp_path: Path) -> None:
    made = full_bundle()
    [model] = made.models
    edited = replace(made, models=(replace(model, text=model.text.replace("leaf_value=", "leaf_value=9", 1)),))
    folder = hold(tmp_path, edited)
    with pytest.raises(IntegrityError) as caught:
        promote_bundle(tmp_path, folder.name)
    assert caught.value.code == "model-sha256"


def test_another_run_is_not_disturbed(tmp_path: Path) -> None:
    first, _ = written(tmp_path, bundle(1), bundle(2))
    before = read_acts(tmp_path)
    for act in (lambda: promote_bundle(tmp_path, first.name), lambda: rollback_bundle(tmp_path)):
        with writer_lock(tmp_path, "the other run"), pytest.raises(ConflictError, match="the other run"):
            act()
    assert read_acts(tmp_path) == before


def test_a_wrong_root_is_not_written_to(tmp_path: Path) -> None:
    for act in (lambda: promote_bundle(tmp_path / "no", "0123456789ab"), lambda: rollback_bundle(tmp_path / "no")):
        with pytest.raises(ConfigError):
            act()
    assert list(tmp_path.iterdir()) == []


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
