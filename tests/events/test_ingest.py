from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from engine.config import Source, Sql, Value
from engine.errors import DataError, IntegrityError
from engine.events import ingest as module
from engine.events.ingest import (
    REJECT_SCHEMA,
    IngestRecord,
    IngestTask,
    Piece,
    RejectExample,
    TypeCount,
    first_examples,
    ingest,
)
from engine.events.mapping import stable_hash
from engine.events.schema import REJECT_RULES
from tests.events.logs import AS_OF_US, NOON, SCHEMA, log, source, write

DAY = 20_454  # 2026-01-01
LATE = datetime(9999, 12, 31, 12, tzinfo=UTC)


def read(
    folder: Path, *pieces: tuple[Source, int, int] | Source, types: tuple[str, ...] = ("a", "b"), **fields: Any
) -> IngestRecord:
    """Ingest whole files, or some rows of them, of sources that are numbered in the order given."""
    sliced = [(piece, 0, rows_of(str(piece.path))) if isinstance(piece, Source) else piece for piece in pieces]
    sources = list(dict.fromkeys(piece[0] for piece in sliced))
    task = IngestTask(
        index=3,
        sources=tuple(sources),
        pieces=tuple(Piece(sources.index(one), str(one.path), start, rows) for one, start, rows in sliced),
        types=types,
        extras=fields.pop("extras", ()),
        timezone=fields.pop("timezone", "UTC"),
        currency_digits=2,
        as_of_us=AS_OF_US,
        part=str(folder / "part.parquet"),
        rejects=str(folder / "work" / "rejects"),
        staging=str(folder / "work"),
        mark="m1",
    )
    record = ingest(task)
    total = record.left_out + sum(record.rejected.values()) + record.after_as_of + record.passed
    assert sum(record.read.values()) == total
    return record


def rows_of(file: str) -> int:
    return pq.ParquetFile(file).metadata.num_rows if Path(file).exists() else 1


def part(record: IngestRecord) -> pl.DataFrame:
    assert record.part is not None
    return pl.read_parquet(record.part)


def test_rows_become_integers_sorted_by_user(tmp_path: Path) -> None:
    rows = [(7, "b", NOON, "x", 12.5), (3, "a", NOON + timedelta(hours=13), None, None), (7, "a", NOON, "y", -1.0)]
    file = write(log(*rows), tmp_path / "log.parquet")
    record = read(tmp_path, source(file, columns={"event_id": "id", "amount": "amount"}))
    assert record == IngestRecord(
        read={"log": 3},
        passed=3,
        types=(TypeCount("log", "a", 2, 1, 0), TypeCount("log", "b", 1, 1, 0)),
        part=str(tmp_path / "part.parquet"),
        first_day=DAY,
        last_day=DAY + 1,
    )
    frame = part(record)
    assert dict(frame.schema) == {
        "user_key": pl.UInt64,
        "user_id": pl.Int64,
        "source": pl.UInt16,
        "type": pl.UInt16,
        "day": pl.Int32,
        "time": pl.Int64,
        "event_id": pl.UInt64,
        "amount": pl.Int64,
    }
    assert frame["user_key"].is_sorted()
    keys = dict(pl.DataFrame({"u": [3, 7]}).select("u", k=stable_hash(pl.col("u"))).iter_rows())
    noon = int(NOON.timestamp()) * 1_000_000
    assert sorted(frame.drop("event_id", "source").rows(), key=str) == sorted(
        [
            (keys[7], 7, 1, DAY, noon, 1250),
            (keys[3], 3, 0, DAY + 1, noon + 13 * 3_600_000_000, None),
            (keys[7], 7, 0, DAY, noon, -100),
        ],
        key=str,
    )
    assert frame["event_id"].null_count() == 1


def test_what_a_source_does_not_have_is_null(tmp_path: Path) -> None:
    record = read(tmp_path, source(write(log((1, "a", NOON)), tmp_path / "l")), extras=("category", "quantity"))
    frame = part(record)
    assert frame.select("event_id", "amount", "category", "quantity").rows() == [(None, None, None, None)]
    assert frame.schema["category"] == pl.String
    assert frame.schema["quantity"] == pl.Int64


def test_two_sources_in_one_part(tmp_path: Path) -> None:
    shop = source(write(log((1, "x", NOON, "i", 1.0)), tmp_path / "s"), "shop", {"amount": "amount"})
    mail = source(write(log((1, "b", NOON)), tmp_path / "m"), "mail")
    shop = shop.model_copy(update={"columns": shop.columns.model_copy(update={"event_type": Value(value="a")})})
    record = read(tmp_path, shop, mail)
    assert record.read == {"shop": 1, "mail": 1}
    assert sorted(part(record).select("source", "type", "amount").rows()) == [(0, 0, 100), (1, 1, None)]
    assert record.types == (TypeCount("mail", "b", 1, 0, 0), TypeCount("shop", "a", 1, 1, 0))


BROKEN: dict[str, tuple[object, ...]] = {
    "user_id_missing": (None, "a", NOON, None, 1.0),
    "event_type_missing": (1, "", NOON, None, 1.0),
    "event_time_missing": (1, "a", None, None, 1.0),
    "event_time_out_of_range": (1, "a", LATE, None, 1.0),
    "amount_not_finite": (1, "a", NOON, None, float("nan")),
    "amount_out_of_range": (1, "a", NOON, None, -1e15),
}


def test_rejected_rows_are_a_table(tmp_path: Path) -> None:
    rows = [(1, "a", NOON, None, 1.0), *BROKEN.values(), *BROKEN.values(), (2, "a", NOON)]
    file = write(log(*rows), tmp_path / "log.parquet")
    record = read(tmp_path, source(file, columns={"amount": "amount"}))
    assert [rule.name for rule in REJECT_RULES] == list(BROKEN)
    assert record.rejected == {("log", rule): 2 for rule in BROKEN}
    assert record.passed == 2
    [written] = record.reject_files
    assert written.rows == 12
    assert written.path.startswith("rejects/part-00003-m1-")
    table = pl.read_parquet(tmp_path / "work" / written.path)
    assert table.schema == REJECT_SCHEMA
    reasons = {rule.name: rule.reason for rule in REJECT_RULES}
    expected = [("log", str(file), 1 + n, rule, reasons[rule]) for n, rule in enumerate([*BROKEN, *BROKEN])]
    assert table.rows() == expected
    assert record.examples == tuple(
        RejectExample("log", str(file), n, rule) for n, rule in zip((1, 2, 3), BROKEN, strict=False)
    )


def test_row_numbers_count_from_the_start_of_the_file(tmp_path: Path) -> None:
    rows = [(None if number % 10 == 7 else 1, "a", NOON) for number in range(100)]
    first = source(write(log(*rows[:60]), tmp_path / "1.parquet"), "first")
    other = source(write(log(*rows[60:]), tmp_path / "2.parquet"), "other")
    # The first file is read in three portions, in another order; rows 40 to 49 are another task's.
    record = read(tmp_path, (first, 50, 10), (other, 0, 40), (first, 0, 25), (first, 25, 15))
    assert record.read == {"first": 50, "other": 40}
    [written] = record.reject_files
    table = pl.read_parquet(tmp_path / "work" / written.path)
    assert table["row"].to_list() == [7, 17, 27, 37, 57, 7, 17, 27, 37]
    assert table["source"].to_list() == ["first"] * 5 + ["other"] * 4
    assert [example.row for example in record.examples] == [57, 7, 17, 27, 7, 17]


def test_the_examples_of_one_source_leave_room_for_another() -> None:
    examples = [RejectExample("a", "f", row, "r") for row in range(9)] + [RejectExample("b", "g", 1, "r")]
    assert [(one.source, one.row) for one in first_examples(examples)] == [("a", 0), ("a", 1), ("a", 2), ("b", 1)]


def test_rejects_can_be_counted_only(tmp_path: Path) -> None:
    one = source(write(log((None, "a", NOON), (1, "a", NOON)), tmp_path / "l"))
    task = IngestTask(0, (one,), (Piece(0, str(one.path), 0, 2),), ("a",), (), "UTC", 2, AS_OF_US, None, None, None, "")
    record = ingest(task)
    assert (record.part, record.reject_files) == (None, ())
    assert (record.passed, record.rejected) == (1, {("log", "user_id_missing"): 1})
    assert [file.name for file in tmp_path.iterdir()] == ["l"]


def test_nothing_is_written_when_nothing_passes(tmp_path: Path) -> None:
    record = read(tmp_path, source(write(log((1, "a", LATE.replace(year=2030))), tmp_path / "l")))
    assert (record.part, record.first_day, record.after_as_of) == (None, None, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["l"]


def test_as_of_belongs_to_the_future(tmp_path: Path) -> None:
    instant = datetime.fromtimestamp(AS_OF_US // 1_000_000, UTC)
    rows = [(1, "a", instant - timedelta(microseconds=1)), (1, "a", instant), (1, "b", instant), (1, "c", instant)]
    record = read(tmp_path, source(write(log(*rows), tmp_path / "l")))
    assert (record.passed, record.after_as_of, record.left_out) == (1, 3, 0)
    assert record.types == (
        TypeCount("log", "a", 2, 0, 1),
        TypeCount("log", "b", 1, 0, 1),
        TypeCount("log", "c", 1, 0, 1),
    )


@pytest.mark.parametrize("same_id", ["duplicate", "lines"])
def test_amounts_of_the_future_do_not_count(tmp_path: Path, same_id: str) -> None:
    late = NOON + timedelta(days=60)
    rows = [
        (1, "a", NOON, "1"),
        (1, "a", late, "1", 5.0),
        (1, "b", NOON, "2", 5.0),
        (1, "b", late, "2"),
        (1, "b", late),
    ]
    one = source(write(log(*rows), tmp_path / "l"), columns={"event_id": "id", "amount": "amount"}, same_id=same_id)
    record = read(tmp_path, one)
    assert record.types == (TypeCount("log", "a", 2, 0, 1), TypeCount("log", "b", 3, 1, 2))
    assert record.after_as_of == (0 if same_id == "lines" else 3)


def test_lines_after_as_of_are_passed_on(tmp_path: Path) -> None:
    late = NOON + timedelta(days=60)
    rows = [
        (1, "a", NOON, "o1"),
        (1, "a", late, "o1"),
        (1, "a", late, None),
        (1, "c", NOON, "o2"),
        (1, "c", late, "o2"),
    ]
    one = source(write(log(*rows), tmp_path / "l"), columns={"event_id": "id"}, same_id="lines")
    record = read(tmp_path, one)
    # Of a type that is not used no order has to be put together.
    assert (record.passed, record.left_out, record.after_as_of) == (3, 1, 1)


def test_rows_outside_where_are_left_out_before_they_are_checked(tmp_path: Path) -> None:
    rows = [(1, "a", NOON, "k"), (None, "a", NOON, "x"), (None, "a", NOON, "k"), (2, "c", NOON, "k"), (3, "a", NOON)]
    record = read(tmp_path, source(write(log(*rows), tmp_path / "l"), where="id = 'k'"))
    assert (record.passed, record.left_out, record.rejected) == (1, 3, {("log", "user_id_missing"): 1})
    assert record.types == (TypeCount("log", "a", 1, 0, 0), TypeCount("log", "c", 1, 0, 0))


def test_types_that_are_too_many_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTED_TYPES", 2)
    rows = [(1, name, NOON) for name in ("z", "z", "z", "y", "y", "d", "d", "c", "a")]
    record = read(tmp_path, source(write(log(*rows), tmp_path / "l")))
    # A type in use is always named; of the others the most frequent ones, in alphabetical order when there is a tie.
    assert [(count.event_type, count.rows) for count in record.types] == [("a", 1), ("d", 2), ("z", 3)]
    assert (record.unlisted, record.left_out) == (3, 8)


@pytest.mark.parametrize("types", [(), ("z",), ("b", "a")])
def test_only_the_types_in_use_are_kept(tmp_path: Path, types: tuple[str, ...]) -> None:
    record = read(tmp_path, source(write(log((1, "a", NOON), (1, "é", NOON)), tmp_path / "l")), types=types)
    assert record.passed == ("a" in types)
    assert record.left_out == 2 - record.passed
    assert record.types == (TypeCount("log", "a", 1, 0, 0), TypeCount("log", "é", 1, 0, 0))
    if record.passed:
        assert part(record)["type"].to_list() == [1]


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("Europe/Paris", datetime(2026, 1, 1, 22, 59, 59), DAY),
        ("Europe/Paris", datetime(2026, 1, 1, 23), DAY + 1),
        ("America/New_York", datetime(2026, 1, 1, 4, 59, 59), DAY - 1),
        ("UTC", datetime(1969, 12, 31, 23, 59, 59, 999_999), -1),
    ],
)
def test_days_are_those_of_the_configured_zone(tmp_path: Path, zone: str, moment: datetime, day: int) -> None:
    file = write(log((1, "a", moment.replace(tzinfo=UTC))), tmp_path / "l")
    record = read(tmp_path, source(file), timezone=zone)
    assert (record.first_day, record.last_day) == (day, day)
    assert part(record)["day"].to_list() == [day]


# --- hive folders


def test_hive_keys_are_columns(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON)).drop("type", "time"), tmp_path / "day=2026-01-03" / "kind=b%2Fc" / "x.parquet")
    columns = {"event_type": "kind", "event_time": Sql(sql="STRPTIME(day, '%Y-%m-%d')")}
    record = read(tmp_path, source(file, columns=columns, where="day >= '2026-01-01'"), types=("b/c",))
    assert part(record).select("type", "day").rows() == [(0, DAY + 2)]


def test_the_file_wins_over_its_folder(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON)), tmp_path / "type=b" / "x.parquet")
    assert read(tmp_path, source(file)).types == (TypeCount("log", "a", 1, 0, 0),)


def test_hives_null_is_null(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON)).drop("type"), tmp_path / "type=__HIVE_DEFAULT_PARTITION__" / "x.parquet")
    assert read(tmp_path, source(file)).rejected == {("log", "event_type_missing"): 1}


# --- what goes wrong

CANARY = "zoe.canary@example.org"


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"user_id": Sql(sql="CAST(id AS BIGINT)")}, "events-values"),
        ({"event_time": Sql(sql="STRPTIME(id, '%Y-%m-%d')")}, "events-values"),
        ({"event_time": Sql(sql="DATE(id)")}, "events-values"),
        ({"event_type": "nosuch"}, "events-columns"),
        ({"amount": "id"}, "events-columns"),
    ],
)
def test_messages_name_the_file_and_no_value(tmp_path: Path, columns: dict[str, object], code: str) -> None:
    file = write(log((1, "a", NOON, CANARY), (2, "a", NOON, "5")), tmp_path / "log.parquet")
    with pytest.raises(DataError) as caught:
        read(tmp_path, source(file, columns=columns))
    assert caught.value.code == code
    assert str(file) in caught.value.message
    assert "source 'log'" in caught.value.message
    assert "canary" not in caught.value.message + caught.value.hint


def test_values_that_do_not_fit(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON, "x"), (2, "a", NOON, "5")), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"conversion from `str` to `i64` failed in column 'id'$"):
        read(tmp_path, source(file, columns={"user_id": Sql(sql="CAST(id AS BIGINT)")}))
    record = read(tmp_path, source(file, columns={"user_id": Sql(sql="TRY_CAST(id AS BIGINT)")}))
    assert (record.passed, record.rejected) == (1, {("log", "user_id_missing"): 1})


def test_a_file_that_vanished(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source 'log': cannot read .*gone\.parquet: FileNotFoundError") as caught:
        read(tmp_path, source(tmp_path / "gone.parquet"))
    assert caught.value.code == "input-unreadable"


@pytest.mark.parametrize(("start", "rows"), [(0, 4), (2, 2), (3, 1), (9, 1)])
def test_a_file_with_fewer_rows_than_its_footer_had(tmp_path: Path, start: int, rows: int) -> None:
    one = source(write(log(*[(user, "a", NOON) for user in range(3)]), tmp_path / "log.parquet"))
    with pytest.raises(IntegrityError, match=f"from row {start} on; its footer promised {rows}") as caught:
        read(tmp_path, (one, start, rows))
    assert caught.value.code == "input-changed"


def test_a_file_that_is_not_the_one_whose_footer_was_read(tmp_path: Path) -> None:
    one = source(write(log((1, "a", NOON)), tmp_path / "log.parquet"))
    status = (tmp_path / "log.parquet").stat()
    stamp = (status.st_size, status.st_mtime_ns)
    task = IngestTask(0, (one,), (), ("a",), (), "UTC", 2, AS_OF_US, None, None, None, "")
    assert ingest(replace(task, pieces=(Piece(0, str(one.path), 0, 1, stamp),))).passed == 1
    with pytest.raises(IntegrityError, match=r"log\.parquet was replaced or written to"):
        ingest(replace(task, pieces=(Piece(0, str(one.path), 0, 1, (stamp[0], stamp[1] - 1)),)))


def test_a_part_is_replaced_whole_by_a_second_attempt(tmp_path: Path) -> None:
    one = source(write(log(*[(user, "a", NOON) for user in range(300)]), tmp_path / "l"))
    first = Path(str(read(tmp_path, one).part))
    content = first.read_bytes()
    with first.open("rb") as reader:
        inode = first.stat().st_ino
        read(tmp_path, one)
        assert first.stat().st_ino != inode
        assert reader.read() == content == first.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["l", "part.parquet"]


def test_damaged_data_is_refused(tmp_path: Path) -> None:
    file = write(log(*[(number, "a", NOON, f"id{number}") for number in range(1000)]), tmp_path / "log.parquet")
    content = bytearray(file.read_bytes())
    content[4:204] = b"\xff" * 200
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path, source(file))
    assert caught.value.code == "input-unreadable"
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("extra", [{"id": 3}, {"amount": 1.0}])
def test_columns_of_the_same_meaning_in_other_types(tmp_path: Path, extra: dict[str, object]) -> None:
    frame = log((1, "a", NOON)).with_columns(**{name: pl.lit(value) for name, value in extra.items()})
    file = write(frame.cast({"type": pl.Categorical, "user": pl.Int16}), tmp_path / "l")
    record = read(tmp_path, source(file, columns={"event_id": "id", "amount": "amount"}))
    assert part(record).schema["user_id"] == SCHEMA["user"]
