from __future__ import annotations

import os
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Checks, Config, Contacts, Events, Exclude, Execution, Sql
from engine.errors import ConfigError, DataError, IntegrityError
from engine.events import keys
from engine.events.checks import rows_read
from engine.events.files import find_files
from engine.events.ingest import Piece
from engine.execution.local import LocalExecutor
from engine.pipeline import check_run
from engine.privacy.ids import IdRules
from engine.privacy.key import KeySource, load_key
from engine.rollups.bucket import load_bucket
from engine.rollups.rolling import Found
from engine.rollups.units import source_file, units_of
from engine.rollups.update import Wanted, find_units
from engine.stages import input as input_module
from engine.stages import preparation
from engine.stages.input import Input, input_fingerprint, open_input
from engine.stages.preparation import Prepared, count_rows, prepare
from tests.events.logs import AS_OF, NOON, config, log, source, write

HERE = LocalExecutor("local", 1)
ALL = {"event_id": "id", "amount": "amount"}


def with_pieces(found: Found) -> Found:
    pieces = []
    for file in found.unit.files:
        rows = pl.scan_parquet(file.path, glob=False).select(pl.len()).collect().item()
        pieces.append(Piece(found.unit.source, file.path, 0, rows, (file.size, file.modified_ns)))
    return replace(found, pieces=tuple(pieces), user_dtype="Int64")


def opened(settings_: Config) -> Input:
    """What `open_input` finds, without the process it starts."""
    units = []
    for position, one in enumerate(settings_.sources):
        files = [source_file(file) for file in find_files(one.name, one.path)]
        units += units_of(position, files, apart=one.columns.event_id is None)
    return Input(tuple(map(with_pieces, find_units(settings_, units))), {}, "Int64")


def prepared(settings_: Config, work: Path, **fields: Any) -> Prepared:
    work.mkdir(exist_ok=True)
    settings_ = settings_.model_copy(update={"out": str(work.with_name(f"out of {work.name}"))})
    return prepare(settings_, opened(settings_), AS_OF, work=work, executor=HERE, progress=None, **fields)


def stored(ready: Prepared) -> list[tuple[object, ...]]:
    """What the rollups of a run have in all buckets: user id, type, day, events, amount."""
    rows: list[tuple[object, ...]] = []
    for portion in ready.buckets:
        bucket = load_bucket(ready.shelf, portion)
        ids = bucket.users["user_id"].gather(bucket.daily["user"]).alias("id")
        sums = bucket.daily.select(ids, "type", "day", "events", "amount_minor")
        rows += sums.group_by("id", "type", "day").agg(pl.col("events").sum(), pl.col("amount_minor").sum()).rows()
    return sorted(rows)


def day_of(moment: datetime) -> int:
    return int(moment.timestamp()) // 86_400


# --- opening


def test_open_input(tmp_path: Path) -> None:
    write(log((1, "a", NOON), (2, "a", NOON)), tmp_path / "shop" / "x.parquet")
    write(log().clear(), tmp_path / "shop" / "y.parquet")
    write(log((1, "b", NOON)), tmp_path / "mail" / "z.parquet")
    both = config(source(tmp_path / "shop", "shop"), source(tmp_path / "mail", "mail"))
    given_ = open_input(both)
    assert [(piece.source, Path(piece.file).name, piece.rows) for item in given_.units for piece in item.pieces] == [
        (0, "x.parquet", 2),
        (0, "y.parquet", 0),
        (1, "z.parquet", 1),
    ]
    assert (given_.rows(both), given_.user_dtype) == (3, "Int64")


def test_what_the_store_has_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "log"
    write(log((1, "a", NOON)), folder / "2026-01-01.parquet")
    changed = write(log((1, "a", NOON)), folder / "2026-01-02.parquet")
    one = config(source(folder), out=str(tmp_path / "out of work"))
    prepared(one, tmp_path / "work")
    write(log((2, "a", NOON), (3, "b", NOON)), changed)
    new = write(log((4, "c", NOON)), folder / "2026-01-03.parquet")
    asked: list[Path] = []
    read_footers = input_module.read_footers
    monkeypatch.setattr(input_module, "read_footers", lambda files, _: asked.extend(files) or read_footers(files))
    given_ = open_input(one)
    assert asked == [changed, new]
    assert [len(item.pieces) for item in given_.units] == [0, 1, 1]
    assert (given_.rows(one), given_.user_dtype) == (4, "Int64")
    assert preparation.types_in_use(one, given_, AS_OF, HERE, None) == ("a", "b", "c")
    del asked[:]
    assert all(item.pieces for item in open_input(one, cache=tmp_path / "cache").units)
    assert len(asked) == 3


def test_every_unreadable_file_is_named(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / "shop").mkdir(exist_ok=True)
        (tmp_path / "shop" / f"{number:02d}.parquet").write_bytes(b"")
    write(log((1, "a", NOON)), tmp_path / "mail.parquet")
    with pytest.raises(DataError) as caught:
        open_input(config(source(tmp_path / "mail.parquet", "mail"), source(tmp_path / "shop", "shop")))
    lines = caught.value.message.splitlines()
    assert caught.value.code == "input-unreadable"
    assert lines[0] == "25 of 26 files cannot be read"
    assert lines[1] == f"  source 'shop': {tmp_path / 'shop' / '00.parquet'}: it is empty (0 bytes)"
    assert len(lines) == 22
    assert lines[-1] == "  and 5 more"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"time": pl.col("time").cast(pl.String)}, "event_time: expected a timestamp, got String"),
        ({"user": pl.col("user").cast(pl.Float64)}, "user_id: expected an integer or a string, got Float64"),
        ({"type": pl.col("time")}, "event_type: expected a string or an integer, got Datetime"),
    ],
)
def test_each_schema_among_the_files_is_checked(tmp_path: Path, changes: dict[str, pl.Expr], problem: str) -> None:
    frame = log((1, "a", NOON))
    write(frame, tmp_path / "1.parquet")
    file = write(frame.with_columns(**changes), tmp_path / "2.parquet")
    with pytest.raises(DataError) as caught:
        open_input(config(source(tmp_path)))
    assert caught.value.code == "events-columns"
    assert caught.value.message.startswith(f"{file}: source 'log'")
    assert problem in caught.value.message


def test_a_folder_without_the_key_of_the_others(tmp_path: Path) -> None:
    frame = log((1, "a", NOON)).drop("type")
    write(frame, tmp_path / "type=a" / "1.parquet")
    file = write(frame, tmp_path / "other" / "2.parquet")
    with pytest.raises(DataError, match="event_type: no column 'type'") as caught:
        open_input(config(source(tmp_path)))
    assert str(file) in caught.value.message


@pytest.mark.parametrize(
    ("dtype", "fits"), [(pl.Int32, True), (pl.UInt8, True), (pl.String, False), (pl.Categorical, False)]
)
def test_ids_have_one_type_over_all_sources(tmp_path: Path, dtype: type[pl.DataType], fits: bool) -> None:
    frame = log((1, "a", NOON))
    write(frame, tmp_path / "1.parquet")
    write(frame.cast({"user": pl.String}).cast({"user": dtype}), tmp_path / "2.parquet")
    both = config(source(tmp_path / "1.parquet", "shop"), source(tmp_path / "2.parquet", "mail"))
    if fits:
        assert open_input(both).user_dtype == "Int64"
        return
    with pytest.raises(DataError) as caught:
        open_input(both)
    assert caught.value.code == "user-id-types"
    assert caught.value.message == "user ids have different types: Int64 in source 'shop', String in source 'mail'"
    cast = source(tmp_path / "1.parquet", "shop", {"user_id": Sql(sql='CAST("user" AS VARCHAR)')})
    assert open_input(config(cast, both.sources[1])).user_dtype == "String"


def test_input_fingerprint(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON)), tmp_path / "log" / "1.parquet")
    contacts = write(pl.DataFrame({"id": [1]}), tmp_path / "c.parquet")
    plain = config(source(tmp_path / "log"))
    joined = config(source(tmp_path / "log"), contacts=Contacts(path=str(contacts), user_id="id"))

    def now(settings_: Config) -> str:
        return input_fingerprint(settings_, opened(settings_))

    seen = [now(plain), now(joined)]
    assert now(plain) == seen[0]
    os.utime(file, ns=(1, 1))
    seen += [now(plain), now(joined)]
    os.utime(contacts, ns=(1, 1))
    assert now(plain) == seen[2]
    seen.append(now(joined))
    write(log((1, "a", NOON)), tmp_path / "log" / "2.parquet")
    seen.append(now(plain))
    assert len(set(seen)) == len(seen)


# --- the whole stage


@pytest.mark.parametrize(
    ("frame", "fields", "what"),
    [
        (log(), {}, "0 rows were read, 0 left out, 0 rejected, 0 at or after as_of"),
        (log((1, "a", NOON.replace(year=2027))), {}, "1 rows were read, 0 left out, 0 rejected, 1 at or after as_of"),
        (log((None, "a", NOON)), {"checks": Checks(max_reject_share=1)}, "0 left out, 1 rejected, 0 at"),
        (log((1, None, NOON)), {"checks": Checks(max_reject_share=1)}, "0 left out, 1 rejected, 0 at"),
    ],
)
def test_a_log_without_events(tmp_path: Path, frame: pl.DataFrame, fields: dict[str, Any], what: str) -> None:
    empty = config(source(write(frame, tmp_path / "log.parquet")), **fields)
    for run in (
        lambda: prepared(empty, tmp_path / "work"),
        lambda: count_rows(empty, opened(empty), AS_OF, executor=HERE, progress=None),
    ):
        with pytest.raises(DataError) as caught:
            run()
        assert caught.value.code == "events-empty"
        assert what in caught.value.message
    assert not (tmp_path / "out of work" / "_rollups").exists()


def test_one_user_with_one_event(tmp_path: Path) -> None:
    single = config(source(write(log((1, "a", NOON, None, 3.0)), tmp_path / "log.parquet"), columns=ALL))
    ready = prepared(single, tmp_path / "work")
    assert (ready.ingested.passed, ready.types) == (1, ("a",))
    assert stored(ready) == [(1, 0, day_of(NOON), 1, 300)]


def test_an_event_is_kept_once_across_files_and_tasks(tmp_path: Path) -> None:
    rows = [(user, "a", NOON + timedelta(minutes=user), f"e{user}", 1.0) for user in range(20)]
    for number in range(3):
        write(log(*rows, *rows[:5]), tmp_path / "log" / f"{number}.parquet")
    twice = config(source(tmp_path / "log", columns=ALL), execution=Execution(rows_per_task=7))
    ready = prepared(twice, tmp_path / "work")
    assert len(ready.buckets) == 16
    assert (ready.ingested.kept, ready.ingested.duplicates) == (20, 55)
    assert stored(ready) == [(user, 0, day_of(NOON), 1, 100) for user in range(20)]


def test_orders_whose_lines_lie_in_several_files(tmp_path: Path) -> None:
    last, next_ = datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, 0, 1, tzinfo=UTC)
    write(log((1, "a", last, "o1", 5.0), (1, "a", NOON, "o2", None), (2, "a", next_, "o3", 1.0)), tmp_path / "l" / "1")
    write(log((1, "a", next_, "o1", 2.5), (1, "a", NOON, "o2", -1.0), (2, "a", next_, "o3", 1.0)), tmp_path / "l" / "2")
    write(log((1, "a", NOON, "o4", None), (1, "a", NOON, "o4", None), (1, "a", next_, None, 9.0)), tmp_path / "l" / "3")
    paths = tuple(str(tmp_path / "l" / name) for name in "123")
    lines = source("x", columns=ALL, same_id="lines").model_copy(update={"path": paths})
    orders = config(lines, execution=Execution(rows_per_task=2))
    ready = prepared(orders, tmp_path / "work")
    # An order belongs to the time of its first line; its other lines count even when they came later.
    assert stored(ready) == [(1, 0, day_of(NOON), 2, -100), (1, 0, day_of(last), 1, 750)]
    assert (ready.ingested.kept, ready.ingested.lines, ready.ingested.after_as_of) == (3, 3, 3)


def test_ids_that_share_a_key_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stable_hash = keys.stable_hash

    def collide(expression: pl.Expr) -> pl.Expr:
        salted = expression.cast(pl.String).str.contains("\x1f", literal=True)
        return pl.when(salted).then(stable_hash(expression)).otherwise(pl.lit(7, pl.UInt64))

    monkeypatch.setattr(keys, "stable_hash", collide)
    rows = [(user, "a", NOON, "same", float(user)) for user in (5, 3, 9)]
    shared = config(source(write(log(*rows, *rows), tmp_path / "log.parquet"), columns=ALL))
    ready = prepared(shared, tmp_path / "work")
    assert ready.ingested.duplicates == 3
    assert stored(ready) == [(user, 0, day_of(NOON), 1, 100 * user) for user in (3, 5, 9)]


def test_as_of_is_midnight_of_the_configured_zone(tmp_path: Path) -> None:
    before = datetime(2026, 1, 31, 22, 59, 59, tzinfo=UTC)
    rows = [(1, "a", before), (1, "a", before + timedelta(seconds=1))]
    local = config(source(write(log(*rows), tmp_path / "log.parquet")), timezone="Europe/Paris")
    assert prepared(local, tmp_path / "work").ingested.after_as_of == 1
    utc = config(source(tmp_path / "log.parquet"))
    assert prepared(utc, tmp_path / "work").ingested.after_as_of == 0


def test_single_events_and_rejects(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON, "x"), (None, "a", NOON, "y")), tmp_path / "log.parquet")
    loose = config(source(file, columns={"category": "id"}), checks=Checks(max_reject_share=0.5))
    work = tmp_path / "score-2026-02-01-abc"
    work.mkdir()
    ready = prepared(loose, work, wanted=Wanted((), ("a",), ("category",)), rejects=work / "rejects")
    events = load_bucket(ready.shelf, ready.buckets[0]).events
    assert events is not None
    assert events.select("user", "type", "n", "category").rows() == [(0, 0, 1, "x")]
    [rejects] = ready.rejects
    assert rejects.path.startswith("rejects/part-00000-abc-")
    assert pl.read_parquet(work / rejects.path)["rule"].to_list() == ["user_id_missing"]
    # The rejects of days that are not read again are published, too.
    (work / rejects.path).unlink()
    again = prepared(loose, work, wanted=Wanted((), ("a",), ("category",)), rejects=work / "rejects")
    assert (again.rolled, again.rejects) == ((0, 0), (rejects,))


def test_users_who_are_excluded_are_counted_apart(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON), (2, "a", NOON), (2, "b", NOON)), tmp_path / "log.parquet")
    ready = prepared(config(source(file), exclude=Exclude(user_ids=(2,))), tmp_path / "work")
    assert (ready.ingested.excluded, ready.ingested.kept) == (2, 1)
    assert [user for user, *_ in stored(ready)] == [1]


@pytest.mark.parametrize("same_id", ["duplicate", "lines"])
@pytest.mark.parametrize("types", [(), ("a", "b")])
def test_rows_of_the_future_change_nothing_that_is_learnt_from(
    tmp_path: Path, same_id: str, types: tuple[str, ...]
) -> None:
    late = datetime(2026, 2, 1, tzinfo=UTC)
    past = [(1, "a", NOON, "1"), (2, "b", NOON, "2", 3.0)]
    future = [(1, "a", late, "3", 9.0), (1, "new", late, "4", 9.0)]
    found = []
    for name, rows in (("past", past), ("both", past + future)):
        one = source(write(log(*rows), tmp_path / name), columns=ALL, same_id=same_id)
        ready = prepared(config(one, events=Events(types=types)), tmp_path / f"work-{name}")
        found.append((ready.types, [count.event_type for count in ready.ingested.types if count.priced]))
    assert found == [(("a", "b"), ["b"])] * 2


def test_a_type_that_only_the_future_has_is_unknown(tmp_path: Path) -> None:
    rows = [(1, "a", NOON), (1, "buy", NOON.replace(year=2027))]
    named = config(source(write(log(*rows), tmp_path / "log")), events=Events(purchase="buy"))
    with pytest.raises(ConfigError) as caught:
        prepared(named, tmp_path / "work")
    assert caught.value.message.splitlines()[1:] == [
        "  events.purchase: every row of the event type 'buy' is at or after as_of"
    ]
    assert caught.value.hint == "Before as_of the data has: a (1)."


def test_types_of_the_bundle_that_the_log_lacks(tmp_path: Path) -> None:
    one = config(source(write(log((1, "a", NOON), (1, "view", NOON.replace(year=2027))), tmp_path / "log")))
    ready = prepared(one, tmp_path / "work", types=("a", "open", "view"))
    assert ready.ingested.missing_types == ("open", "view")
    assert prepared(one, tmp_path / "work", types=("a",)).ingested.missing_types == ()


@pytest.mark.parametrize("types", [(), ("a",)])
@pytest.mark.parametrize(
    "change",
    [
        # More rows, as many, fewer, none; and another file of the same size.
        lambda file: write(log(*[(user, "a", NOON) for user in range(9)]), file),
        lambda file: write(log(*[(user, "ä", NOON) for user in range(5)]), file),
        lambda file: write(log((1, "a", NOON)), file),
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: os.utime(file, ns=(1, 1)),
    ],
)
def test_a_file_that_changes_after_it_was_opened(tmp_path: Path, change: Any, types: tuple[str, ...]) -> None:
    write(log((1, "a", NOON)), tmp_path / "log" / "0.parquet")
    file = write(log(*[(user, "a", NOON) for user in range(5)]), tmp_path / "log" / "1.parquet")
    one = config(source(tmp_path / "log"), events=Events(types=types), out=str(tmp_path / "out"))
    given_ = open_input(one)
    change(file)
    (tmp_path / "work").mkdir()
    for run in (
        lambda: prepare(one, given_, AS_OF, work=tmp_path / "work", executor=HERE, progress=None),
        lambda: count_rows(one, given_, AS_OF, executor=HERE, progress=None),
    ):
        with pytest.raises(IntegrityError) as caught:
            run()
        assert caught.value.code == "input-changed"
        assert f"source 'log': {file} was " in caught.value.message


def test_rows_that_no_task_read(tmp_path: Path) -> None:
    class Losing(LocalExecutor):
        def map(self, function: Any, tasks: Any, *, on_done: Any = None, **more: Any) -> Any:
            return super().map(function, tasks[:-1], on_done=on_done)

    file = write(log(*[(user, "a", NOON) for user in range(5)]), tmp_path / "log")
    one = config(source(file), events=Events(types=("a",)), execution=Execution(rows_per_task=2))
    with pytest.raises(IntegrityError, match="4 rows were read; the footers of the files promised 5"):
        count_rows(one, opened(one), AS_OF, executor=Losing("local", 1), progress=None)


# --- conservation

moments = st.sampled_from(
    [
        None,
        NOON,
        NOON + timedelta(days=20),
        datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 2, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 1, tzinfo=UTC),
    ]
)
row = st.tuples(
    st.sampled_from([None, 1, 2, 3]),
    st.sampled_from([None, "", "a", "b", "other"]),
    moments,
    st.sampled_from([None, "", "x", "y"]),
    st.sampled_from([None, 0.0, 1.25, float("nan"), float("inf"), 1e14]),
)


rows_of_a_source = st.lists(row, max_size=12)
portions = st.sampled_from([3, 5, 8, 40])


@settings(max_examples=6)
@given(rows_of_a_source, rows_of_a_source, portions, portions, st.randoms(use_true_random=False))
def test_every_row_is_accounted_for_in_any_order_and_portions(
    tmp_path_factory: pytest.TempPathFactory,
    shop: list[tuple[object, ...]],
    mail: list[tuple[object, ...]],
    portion: int,
    other_portion: int,
    rng: random.Random,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    shop = [(1, "a", NOON, None, 1.0), (1, "b", NOON, None, 1.0), *shop]

    def run(name: str, rows: tuple[list[Any], list[Any]], rows_per_task: int) -> tuple[dict[str, int], list[Any]]:
        files = [write(log(*one), folder / name / f"{number}.parquet") for number, one in enumerate(rows)]
        both = config(
            source(files[0], "shop", ALL, where="type IS NULL OR type <> 'b' OR amount IS NOT NULL"),
            source(files[1], "mail", ALL, same_id="lines"),
            events=Events(types=("a", "b")),
            checks=Checks(max_reject_share=1),
            execution=Execution(rows_per_task=rows_per_task),
        )
        ready = prepared(both, folder / name)
        total, rollups = ready.ingested, stored(ready)
        counts = {
            "kept": total.kept,
            "duplicate": total.duplicates,
            "merged": total.lines,
            "after_as_of": total.after_as_of,
            "left_out": total.left_out,
            "rejected": sum(total.rejected.values()),
        }
        assert rows_read(total) == len(rows[0]) + len(rows[1]) == sum(counts.values())
        assert sum(events for _, _, _, events, _ in rollups) == counts["kept"]
        counted, _ = count_rows(both, opened(both), AS_OF, executor=HERE, progress=None)
        assert (counted.read, counted.rejected) == (total.read, total.rejected)
        # An order belongs to the day of its first line, a row to its own.
        assert counted.left_out + counted.after_as_of + counted.passed == rows_read(total) - counts["rejected"]
        return counts, rollups

    first = run("one", (shop, mail), portion)
    shuffled = rng.sample(shop, len(shop)), mail[::-1]
    assert run("two", shuffled, other_portion) == first


def test_check_reads_the_ids_of_contacts_as_a_run_does(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 4)
    key.chmod(0o600)
    rules = IdRules(KeySource("", str(key)), load_key(KeySource("", str(key))).id, pseudonyms=True)
    people = write(pl.DataFrame({"id": ["am\u00e9lie", "ame\u0301lie"], "x": [1, 2]}), tmp_path / "contacts.parquet")
    checked = config(
        source(write(log((1, "a", NOON)), tmp_path / "log.parquet")),
        contacts=Contacts(path=str(people), user_id="id"),
    )
    given_ = opened(checked)
    count_rows(checked, given_, AS_OF, executor=HERE, progress=None)
    with pytest.raises(DataError) as caught:
        count_rows(checked, replace(given_, ids=rules), AS_OF, executor=HERE, progress=None)
    assert caught.value.code == "contacts-repeated"


def test_check_counts_the_rows_that_prepare_reads(tmp_path: Path) -> None:
    rows = [(1, "a", NOON), (None, "a", NOON), (1, "b", NOON.replace(year=2027)), (1, "c", NOON), (2, "a", NOON)]
    checked = config(
        source(write(log(*rows), tmp_path / "log.parquet"), where="type <> 'c'"),
        checks=Checks(max_reject_share=0.5),
        segment_fallback="rest",
    )
    counts = check_run(checked, AS_OF, executor=HERE).counts
    # Type b has no row before as_of: it is none of the types in use, and its row belongs to the future all the same.
    assert counts["rows"] == {"read": 5, "left_out": 1, "rejected": 1, "after_as_of": 1, "passed": 2}
    assert counts["rejected"] == {"log": {"user_id_missing": 1}}
    assert counts["event_types"] == {"a": 2, "b": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["log.parquet"]
