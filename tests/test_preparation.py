from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Checks, Config, Contacts, Engagement, Events, Execution, Sql, Target, Value
from engine.errors import ConfigError, DataError
from engine.events.files import find_files
from engine.events.ingest import IngestRecord, RejectExample, TypeCount
from engine.events.probe import Footer
from engine.execution.local import LocalExecutor
from engine.pipeline import check_run
from engine.preparation import (
    Input,
    Prepared,
    add_records,
    check_rejects,
    check_types,
    count_rows,
    discover_types,
    input_fingerprint,
    line_sources,
    open_input,
    prepare,
    rows_read,
)
from engine.rollups.bucket import load_bucket
from tests.events.logs import AS_OF, NOON, config, log, source, write

HERE = LocalExecutor("local", 1)
ALL = {"event_id": "id", "amount": "amount"}


def opened(settings_: Config) -> Input:
    """What `open_input` finds, without the process it starts."""
    files = [(n, file) for n, one in enumerate(settings_.sources) for file in find_files(one.name, one.path)]
    rows = [pl.scan_parquet(file, glob=False).select(pl.len()).collect().item() for _, file in files]
    footers = [(n, Footer(file, rows=count)) for (n, file), count in zip(files, rows, strict=True)]
    return Input(tuple(footers), "Int64")


def prepared(settings_: Config, work: Path, **fields: Any) -> Prepared:
    work.mkdir(exist_ok=True)
    return prepare(settings_, opened(settings_), AS_OF, work=work, executor=HERE, progress=None, **fields)


def after_merge(settings_: Config, ready: Prepared) -> tuple[Counter[str], list[tuple[object, ...]]]:
    """What became of the rows that passed, over all buckets, and the events that are kept."""
    counts: Counter[str] = Counter()
    events: list[tuple[object, ...]] = []
    for keys in ready.buckets:
        bucket = load_bucket(ready.parts, keys, line_sources(settings_), ready.as_of_us)
        counts.update(
            kept=bucket.events.height,
            duplicate=bucket.duplicates,
            merged=bucket.lines,
            after_as_of=bucket.after_as_of,
            users=bucket.users.height,
        )
        ids = bucket.users["user_id"].gather(bucket.events["user"]).alias("id")
        events += bucket.events.select(ids, "type", "time", "amount").rows()
    return counts, sorted(events, key=repr)


# --- opening


def test_open_input(tmp_path: Path) -> None:
    write(log((1, "a", NOON), (2, "a", NOON)), tmp_path / "shop" / "x.parquet")
    write(log().clear(), tmp_path / "shop" / "y.parquet")
    write(log((1, "b", NOON)), tmp_path / "mail" / "z.parquet")
    given_ = open_input(config(source(tmp_path / "shop", "shop"), source(tmp_path / "mail", "mail")))
    assert [(index, footer.file.name, footer.rows) for index, footer in given_.footers] == [
        (0, "x.parquet", 2),
        (0, "y.parquet", 0),
        (1, "z.parquet", 1),
    ]
    assert (given_.rows, given_.user_dtype) == (3, "Int64")


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


# --- event types


def test_types_are_discovered(tmp_path: Path) -> None:
    one = source(write(log((1, "b", NOON), (1, None, NOON), (1, "", NOON), (1, "x", NOON)), tmp_path / "1"), "one")
    two = source(write(log((1, "é/ü", NOON), (1, "b", NOON)), tmp_path / "2"), "two", where="type <> 'x'")
    constant = source(tmp_path / "1", "three", {"event_type": Value(value="send")})
    nothing = source(tmp_path / "1", "four", {"event_type": Value(value="never")}, where='"user" > 1')
    assert discover_types(config(one), opened(config(one))) == ("b", "x")
    everything = config(one, two, constant, nothing)
    assert discover_types(everything, opened(everything)) == ("b", "send", "x", "é/ü")


def test_too_many_types(tmp_path: Path) -> None:
    rows = [(1, f"type {number:03d}", NOON) for number in range(201)]
    wide = config(source(write(log(*rows), tmp_path / "1")))
    with pytest.raises(DataError, match=r"201 different event types, such as 'type 000', 'type 001'") as caught:
        discover_types(wide, opened(wide))
    assert caught.value.code == "event-types-too-many"
    fitting = config(source(write(log(*rows[1:]), tmp_path / "1")))
    assert len(discover_types(fitting, opened(fitting))) == 200


def test_damaged_data_while_types_are_discovered(tmp_path: Path) -> None:
    file = write(log(*[(number, f"t{number % 7}", NOON) for number in range(1000)]), tmp_path / "1.parquet")
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(1)
    start, size = chunk.dictionary_page_offset, chunk.total_compressed_size
    content = bytearray(file.read_bytes())
    content[start : start + size] = b"\xff" * size
    file.write_bytes(content)
    damaged = config(source(file))
    with pytest.raises(DataError) as caught:
        discover_types(damaged, opened(damaged))
    assert caught.value.code == "input-unreadable"
    assert str(file) in caught.value.message


TYPES = IngestRecord(types=(TypeCount("log", "buy", 1200, 0, 0), TypeCount("log", "sent", 30, 0, 0)))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"events": Events(types=("buy", "sentt"))},
            "  events.types: no row has the event type 'sentt' (did you mean 'sent'?)",
        ),
        (
            {"events": Events(purchase="Buy")},
            "  events.purchase: no row has the event type 'Buy' (did you mean 'buy'?)",
        ),
        ({"events": Events(send="zzz")}, "  events.send: no row has the event type 'zzz'"),
        ({"events": Events(open="zzz")}, "  events.open: no row has the event type 'zzz'"),
        ({"events": Events(click="zzz")}, "  events.click: no row has the event type 'zzz'"),
        ({"engagement": Engagement(weights={"zzz": 1})}, "  engagement.weights: no row has the event type 'zzz'"),
        ({"targets": (Target(name="t", event="zzz"),)}, "  targets.t.event: no row has the event type 'zzz'"),
        ({"events": Events(types=("buy",), send="sent")}, "  events.send: 'sent' is not listed in events.types"),
    ],
)
def test_types_of_the_configuration_that_the_data_does_not_have(fields: dict[str, Any], problem: str) -> None:
    named = config(source("x"), **fields)
    with pytest.raises(ConfigError) as caught:
        check_types(named, TYPES, named.events.types or ("buy", "sent"))
    assert caught.value.code == "event-type-unknown"
    assert caught.value.message.splitlines()[1:] == [problem]
    assert caught.value.hint == "The data has: buy (1,200), sent (30)."


def test_every_unknown_type_is_named_at_once() -> None:
    named = config(
        source("x"),
        events=Events(purchase="a", send="b"),
        engagement=Engagement(weights={"c": 1, "buy": 2}),
        targets=(Target(name="t", event="d"),),
    )
    with pytest.raises(ConfigError) as caught:
        check_types(named, TYPES, ("buy", "sent"))
    assert len(caught.value.message.splitlines()) == 5
    with pytest.raises(ConfigError) as empty:
        check_types(named, IngestRecord(), ())
    assert empty.value.hint == "The data has: no event at all."


def test_types_that_are_there_pass() -> None:
    check_types(config(source("x"), events=Events(types=("sent", "buy"), purchase="buy")), TYPES, ("sent", "buy"))


# --- rejects


@pytest.mark.parametrize(
    ("limit", "rows", "rejected", "stops"),
    [
        (0.01, 100, 1, False),
        (0.01, 100, 2, True),
        (0.01, 99, 1, True),
        # 0.29 * 100 is a little less than 29 in floating point.
        (0.29, 100, 29, False),
        (0.07, 100, 7, False),
        (0.57, 100, 57, False),
        (0.0, 10, 0, False),
        (0.0, 10**9, 1, True),
        (1.0, 10, 10, False),
        (0.5, 0, 0, False),
    ],
)
def test_share_of_rejects(limit: float, rows: int, rejected: int, stops: bool) -> None:
    total = IngestRecord(read={"log": rows}, rejected={("log", "user_id_missing"): rejected} if rejected else {})
    limited = config(source("x"), checks=Checks(max_reject_share=limit))
    if not stops:
        check_rejects(limited, total)
        return
    with pytest.raises(DataError) as caught:
        check_rejects(limited, total)
    assert caught.value.code == "rejects-too-many"


def test_rejects_are_counted_per_source_and_rule() -> None:
    total = IngestRecord(
        read={"shop": 1000, "mail": 50},
        rejected={("shop", "amount_not_finite"): 2, ("mail", "user_id_missing"): 7, ("mail", "event_time_missing"): 3},
        examples=(
            *(RejectExample("shop", "s.parquet", row, "amount_not_finite") for row in (1, 2)),
            RejectExample("mail", "m.parquet", 4, "user_id_missing"),
        ),
    )
    with pytest.raises(DataError) as caught:
        check_rejects(config(source("x", "shop"), source("y", "mail")), total)
    assert caught.value.message.splitlines() == [
        "more than 1.00% of the rows are rejected",
        "  source 'mail': 10 of 50 rows (20.00%): event_time_missing 3, user_id_missing 7",
        "  first: m.parquet row 4 (user_id_missing)",
    ]


def test_records_add_up() -> None:
    example = RejectExample("log", "f", 1, "r")
    one = IngestRecord(
        read={"log": 5},
        left_out=1,
        after_as_of=1,
        passed=2,
        rejected={("log", "r"): 1},
        examples=(example,),
        types=(TypeCount("log", "b", 3, 1, 1),),
        first_day=7,
    )
    two = replace(one, read={"log": 2, "mail": 3}, types=(TypeCount("mail", "b", 1, 0, 0), *one.types), first_day=-2)
    total = add_records([one, IngestRecord(), two])
    assert total == IngestRecord(
        read={"log": 7, "mail": 3},
        left_out=2,
        after_as_of=2,
        passed=4,
        rejected={("log", "r"): 2},
        examples=(example, example),
        types=(TypeCount("log", "b", 6, 2, 2), TypeCount("mail", "b", 1, 0, 0)),
        first_day=-2,
    )
    assert rows_read(total) == 10
    assert add_records([]) == IngestRecord()


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


def test_one_user_with_one_event(tmp_path: Path) -> None:
    single = config(source(write(log((1, "a", NOON, None, 3.0)), tmp_path / "log.parquet"), columns=ALL))
    ready = prepared(single, tmp_path / "work")
    counts, events = after_merge(single, ready)
    assert (ready.ingested.passed, ready.types, counts["users"]) == (1, ("a",), 1)
    assert events == [(1, 0, int(NOON.timestamp()) * 10**6, 300)]


def test_an_event_is_kept_once_across_files_and_tasks(tmp_path: Path) -> None:
    rows = [(user, "a", NOON + timedelta(minutes=user), f"e{user}", 1.0) for user in range(20)]
    for number in range(3):
        write(log(*rows, *rows[:5]), tmp_path / "log" / f"{number}.parquet")
    twice = config(source(tmp_path / "log", columns=ALL), execution=Execution(rows_per_task=7))
    ready = prepared(twice, tmp_path / "work")
    counts, events = after_merge(twice, ready)
    assert len(ready.parts) == 11
    assert len(ready.buckets) == 16
    assert (counts["kept"], counts["duplicate"], len(events)) == (20, 55, 20)


def test_orders_whose_lines_lie_in_several_files(tmp_path: Path) -> None:
    last, next_ = datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, 0, 1, tzinfo=UTC)
    write(log((1, "a", last, "o1", 5.0), (1, "a", NOON, "o2", None), (2, "a", next_, "o3", 1.0)), tmp_path / "l" / "1")
    write(log((1, "a", next_, "o1", 2.5), (1, "a", NOON, "o2", -1.0), (2, "a", next_, "o3", 1.0)), tmp_path / "l" / "2")
    write(log((1, "a", NOON, "o4", None), (1, "a", NOON, "o4", None), (1, "a", next_, None, 9.0)), tmp_path / "l" / "3")
    paths = tuple(str(tmp_path / "l" / name) for name in "123")
    lines = source("x", columns=ALL, same_id="lines").model_copy(update={"path": paths})
    orders = config(lines, execution=Execution(rows_per_task=2))
    ready = prepared(orders, tmp_path / "work")
    counts, events = after_merge(orders, ready)
    # An order belongs to the time of its first line; its other lines count even when they came later.
    assert {user for user, *_ in events} == {1}
    assert sorted((amount for *_, amount in events), key=repr) == [-100, 750, None]
    assert (counts["kept"], counts["merged"], counts["after_as_of"]) == (3, 4, 2)


def test_ids_that_share_a_key_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def collide(expression: pl.Expr) -> pl.Expr:
        return pl.when(expression.is_not_null()).then(pl.lit(7, pl.UInt64))

    monkeypatch.setattr("engine.events.ingest.stable_hash", collide)
    rows = [(user, "a", NOON, "same", float(user)) for user in (5, 3, 9)]
    shared = config(source(write(log(*rows, *rows), tmp_path / "log.parquet"), columns=ALL))
    counts, events = after_merge(shared, prepared(shared, tmp_path / "work"))
    assert (counts["users"], counts["duplicate"]) == (3, 3)
    assert [(user, amount) for user, _, _, amount in events] == [(3, 300), (5, 500), (9, 900)]


def test_as_of_is_midnight_of_the_configured_zone(tmp_path: Path) -> None:
    before = datetime(2026, 1, 31, 22, 59, 59, tzinfo=UTC)
    rows = [(1, "a", before), (1, "a", before + timedelta(seconds=1))]
    local = config(source(write(log(*rows), tmp_path / "log.parquet")), timezone="Europe/Paris")
    assert prepared(local, tmp_path / "work").ingested.after_as_of == 1
    utc = config(source(tmp_path / "log.parquet"))
    assert prepared(utc, tmp_path / "work").ingested.after_as_of == 0


def test_extras_and_rejects(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON, "x"), (None, "a", NOON, "y")), tmp_path / "log.parquet")
    loose = config(source(file, columns={"category": "id"}), checks=Checks(max_reject_share=0.5))
    work = tmp_path / "work" / "score-2026-02-01-abc"
    work.mkdir(parents=True)
    ready = prepared(loose, work, extras=("category",), rejects=work / "rejects")
    assert pl.read_parquet(ready.parts[0])["category"].to_list() == ["x"]
    [rejects] = ready.ingested.reject_files
    assert rejects.path.startswith("rejects/part-00000-abc-")
    assert (work / rejects.path).is_file()


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


@settings(max_examples=20)
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

    def run(name: str, rows: tuple[list[Any], list[Any]], rows_per_task: int) -> tuple[Counter[str], list[Any]]:
        files = [write(log(*one), folder / name / f"{number}.parquet") for number, one in enumerate(rows)]
        both = config(
            source(files[0], "shop", ALL, where="type IS NULL OR type <> 'b' OR amount IS NOT NULL"),
            source(files[1], "mail", ALL, same_id="lines"),
            events=Events(types=("a", "b")),
            checks=Checks(max_reject_share=1),
            execution=Execution(rows_per_task=rows_per_task),
        )
        given_ = opened(both)
        ready = prepare(both, given_, AS_OF, work=folder / name, executor=HERE, progress=None)
        counts, events = after_merge(both, ready)
        total = ready.ingested
        assert rows_read(total) == len(rows[0]) + len(rows[1])
        del counts["users"]
        counts.update(after_as_of=total.after_as_of, left_out=total.left_out, rejected=sum(total.rejected.values()))
        assert rows_read(total) == counts.total()
        assert counts["kept"] == len(events)
        counted, _ = count_rows(both, given_, AS_OF, executor=HERE, progress=None)
        assert counted == replace(total, reject_files=())
        return counts, events

    first = run("one", (shop, mail), portion)
    shuffled = rng.sample(shop, len(shop)), mail[::-1]
    assert run("two", shuffled, other_portion) == first


def test_check_counts_the_rows_that_prepare_reads(tmp_path: Path) -> None:
    rows = [(1, "a", NOON), (None, "a", NOON), (1, "b", NOON.replace(year=2027)), (1, "c", NOON), (2, "a", NOON)]
    checked = config(
        source(write(log(*rows), tmp_path / "log.parquet"), where="type <> 'c'"),
        checks=Checks(max_reject_share=0.5),
        segment_fallback="rest",
    )
    counts = check_run(checked, AS_OF, executor=HERE).counts
    assert counts["rows"] == {"read": 5, "left_out": 1, "rejected": 1, "after_as_of": 1, "passed": 2}
    assert counts["rejected"] == {"log": {"user_id_missing": 1}}
    assert counts["event_types"] == {"a": 2, "b": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["log.parquet"]
