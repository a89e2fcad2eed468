from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.errors import DataError, IntegrityError
from engine.execution.local import LocalExecutor
from engine.ledger import cascade
from engine.ledger.cascade import correct_later
from engine.ledger.previous import check_user_type, find_previous
from engine.tables import disk
from engine.tables import publish as publishing
from engine.tables.layout import TABLES, manifest_path, work_folder
from engine.tables.manifest import read_manifest
from engine.tables.publish import recover
from engine.tables.verify import verify_table
from engine.tables.workspace import workspace
from tests.ledger.publishing import Day, Defined, publish_day, read, reasons
from tests.tables.samples import tree

DEFINED = [
    Defined("fresh", rule="days_since_purchase <= 10"),
    Defined("recent", rule="days_since_purchase <= 30"),
    Defined("champions", kind="fallback"),
    Defined("others", kind="fallback"),
    Defined("opens", None, rule="open_rate_90d > 0.5"),
]
DATES = [date(2018, 1, 1) + timedelta(days=30 * place) for place in range(4)]


def a_day(as_of: date, seed: int, buckets: int, users: int = 40) -> Day:
    """Users at random; a tenth of them vanish or are new on each date."""
    draw = random.Random(f"{as_of} {seed}")
    columns, sets = {}, {}
    for user in range(users):
        if draw.random() < 0.1:
            continue
        days, opens = draw.randrange(60), draw.randrange(5) / 4
        r_score = draw.randrange(1, 6)
        columns[user] = {"days_since_purchase": days, "open_rate_90d": opens, "r_score": r_score}
        low = "champions" if r_score == 5 else "others"
        sets[user] = ["fresh" if days <= 10 else "recent" if days <= 30 else low, *(["opens"] if opens > 0.5 else [])]
    return Day(as_of, columns, sets, DEFINED, buckets, note=str(seed))


DAYS = [a_day(as_of, 0, buckets) for as_of, buckets in zip(DATES, (2, 1, 4, 2), strict=True)]


def published(out: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree(out).items() if not name.startswith("_work")}


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("in_order")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "LISTING_SECONDS", 0)
        for day in DAYS:
            publish_day(out, day)
    return out


def test_entries_less_exits_are_the_change_in_size(in_order: Path) -> None:
    sizes: dict[str, int] = {}
    for day in DAYS:
        members, changes = read(in_order, "memberships", day.as_of), read(in_order, "membership_changes", day.as_of)
        ledger = read_manifest(manifest_path(in_order, day.as_of)).counts["ledger"]
        for defined in DEFINED:
            rows = changes.filter(pl.col("segment") == defined.name)
            entries, exits = ((rows["change"] == change).sum() for change in ("enter", "exit"))
            size = int((members["segment"] == defined.name).sum())
            assert size - sizes.get(defined.name, 0) == entries - exits
            assert ledger["entries"].get(defined.name, 0) == entries
            assert ledger["exits"].get(defined.name, 0) == exits
            sizes[defined.name] = size
        assert {user: sorted(members.filter(pl.col("user_id") == user)["segment"]) for user in day.users} == {
            user: sorted(names) for user, names in day.sets.items()
        }
        assert not any("cause unknown" in reason for reason in reasons(in_order, day.as_of).values())


@pytest.mark.parametrize(
    "order", [(3, 2, 1, 0), *(pytest.param(order, marks=pytest.mark.slow) for order in ((2, 0, 3, 1), (1, 3, 0, 2)))]
)
def test_dates_in_any_order_give_the_same_files(tmp_path: Path, in_order: Path, order: Sequence[int]) -> None:
    for place in order:
        publish_day(tmp_path, DAYS[place])
    assert published(tmp_path) == published(in_order)
    for day, table in itertools.product(DAYS, TABLES):
        manifest = read_manifest(manifest_path(tmp_path, day.as_of))
        for record in manifest.tables:
            if record.name == table:
                verify_table(tmp_path, record, deep=True)


def test_the_number_of_buckets_changes_no_row(tmp_path: Path, in_order: Path) -> None:
    for day, buckets in zip(DAYS, (4, 8, 1, 1), strict=True):
        publish_day(tmp_path, Day(day.as_of, day.users, day.sets, day.defined, buckets, note=day.note))
    for day, name in itertools.product(DAYS, ("memberships", "membership_changes", "membership_history")):
        assert read(tmp_path, name, day.as_of).equals(read(in_order, name, day.as_of))


@pytest.fixture
def out(tmp_path: Path, in_order: Path) -> Path:
    return Path(shutil.copytree(in_order, tmp_path / "out"))


def test_a_date_that_is_run_again_changes_nothing(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = published(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob(f"*/as_of={DATES[2]}/*")}
    assert publish_day(out, DAYS[1]) == ()
    assert published(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob(f"*/as_of={DATES[2]}/*")} == times


def test_an_intact_chain_is_not_touched(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    for name in ("rename", "create_temporary", "make_folder", "remove_tree"):
        monkeypatch.setattr(disk, name, refuse)
    assert correct_later(out, DATES[0], LocalExecutor(threads=1)) == ()


@pytest.mark.slow
def test_another_run_of_a_date_corrects_the_next_and_stops_where_nothing_changes(out: Path) -> None:
    other = a_day(DATES[0], 1, 2)
    assert publish_day(out, other) == tuple(DATES[1:])
    alone = out.with_name("alone")
    for day in (other, *DAYS[1:]):
        publish_day(alone, day)
    assert published(out) == published(alone)
    # The same users in the same segments: only what names the run differs, and the ledger of the next date stays.
    again = Day(DATES[0], other.users, other.sets, other.defined, 2, note="again")
    assert publish_day(out, again) == (DATES[1],)


def test_a_removed_date_leaves_later_ones_as_they_are(out: Path) -> None:
    for path in list(out.rglob(f"as_of={DATES[0]}*")):
        disk.remove_tree(path) if path.is_dir() else disk.remove_file(path)
    before = published(out)
    with workspace(out, "mend"):
        assert correct_later(out, DATES[1], LocalExecutor(threads=1)) == ()
    assert published(out) == before


class DiedError(BaseException):
    pass


@pytest.mark.parametrize(
    "moment",
    ["intent", *(pytest.param(name, marks=pytest.mark.slow) for name in ("publish_part", "ledger_bucket", "manifest"))],
)
def test_a_run_that_dies_before_all_is_corrected_is_mended_by_the_next(
    out: Path, in_order: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    shutil.rmtree(out)
    for place in (0, 2, 3):
        publish_day(out, DAYS[place])

    def die(*_: object, **__: object) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        if moment == "publish_part":
            patch.setattr(cascade, moment, die)
        elif moment == "ledger_bucket":
            patch.setattr(LocalExecutor, "map", dying_call(LocalExecutor.map, [3]))
        else:
            # The first manifest is that of the date itself; then comes the one of the corrected date.
            name = "_carry_out" if moment == "intent" else "_record"
            patch.setattr(publishing, name, dying_call(getattr(publishing, name), [1]))
        with pytest.raises(DiedError):
            publish_day(out, DAYS[1])
    assert published(out) != published(in_order)
    # Any later date: here the last one, which comes once more.
    publish_day(out, DAYS[3])
    assert published(out) == published(in_order)
    assert [path.name for path in (out / "_work").iterdir()] == ["lock"]


def dying_call(whole: Callable[..., object], left: list[int]) -> Callable[..., object]:
    def call(*arguments: object, **options: object) -> object:
        if not left[0]:
            raise DiedError
        left[0] -= 1
        return whole(*arguments, **options)

    return call


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_dies_at_any_effect_of_the_correction_is_mended(
    out: Path, in_order: Path, monkeypatch: pytest.MonkeyPatch, stride: int
) -> None:
    shutil.rmtree(out)
    small = [a_day(as_of, 0, 1, users=6) for as_of in DATES[:3]]
    publish_day(out, small[0])
    publish_day(out, small[2])
    publish_day(out, small[1], correct=False)
    broken = out.with_name("broken")
    shutil.copytree(out, broken)
    publish_day(out, small[1])
    expected = published(out)
    effects = ("sync_folder", "rename", "remove_file", "remove_tree")
    for step in itertools.count(step=stride):
        shutil.rmtree(out)
        shutil.copytree(broken, out)
        left = [step]
        with monkeypatch.context() as patch:
            for name in effects:
                patch.setattr(disk, name, dying_call(getattr(disk, name), left))
            try:
                correct_later(out, DATES[1], LocalExecutor(threads=1))
                died = False
            except DiedError:
                died = True
        recover(out)
        correct_later(out, DATES[1], LocalExecutor(threads=1))
        assert published(out) == expected, step
        if not died:
            break
    assert step > 20


def test_users_of_one_key_keep_their_memberships(tmp_path: Path) -> None:
    users = {f"u{number}": {"days_since_purchase": 5} for number in range(12)}
    sets = {user: ["fresh"] for user in users}
    rekeyed = {"u3": 1, "u5": 1}
    publish_day(tmp_path, Day(DATES[0], users, sets, DEFINED, 4))
    publish_day(tmp_path, Day(DATES[1], users, sets, DEFINED, 8, rekeyed))
    assert read(tmp_path, "memberships", DATES[1])["days_in"].unique().to_list() == [30]
    without = {user: row for user, row in users.items() if user not in rekeyed}
    publish_day(tmp_path, Day(DATES[2], without, sets, DEFINED, 2))
    members = read(tmp_path, "memberships", DATES[2])
    assert members["days_in"].to_list() == [60] * len(without)
    assert reasons(tmp_path, DATES[2]) == {(user, "fresh", "exit"): "user is gone" for user in rekeyed}


def test_ids_of_another_type_are_refused_beforehand(tmp_path: Path) -> None:
    publish_day(tmp_path, Day(DATES[1], {1: {}}, {1: ["fresh"]}, DEFINED))
    check_user_type(tmp_path, DATES[1], "String")
    for day in (DATES[0], DATES[2]):
        check_user_type(tmp_path, day, "Int64")
        with pytest.raises(DataError) as refused:
            check_user_type(tmp_path, day, "String")
        assert refused.value.code == "ledger-user-id-type"
        assert str(DATES[1]) in refused.value.message


def test_a_damaged_date_before_is_refused(tmp_path: Path) -> None:
    publish_day(tmp_path, DAYS[0])
    for file in tmp_path.glob("memberships/*/*.parquet"):
        file.unlink()
    with pytest.raises(IntegrityError) as refused:
        find_previous(tmp_path, DATES[1])
    assert refused.value.code == "ledger-previous"
    assert "part-00001" in refused.value.message
    assert find_previous(tmp_path, DATES[0]) is None
    assert not work_folder(tmp_path, "any").exists()
