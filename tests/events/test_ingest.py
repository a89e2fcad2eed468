from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from engine.config import Exclude, Machines, Source, Sql, Value
from engine.errors import DataError, IntegrityError
from engine.events.ingest import REJECT_SCHEMA, Piece, Reading, Roles, Rows, read_rows, tells_machines
from engine.events.mapping import stable_hash
from engine.events.schema import REJECT_RULES
from tests.events.logs import NOON, SCHEMA, log, source, write

DAY = 20_454  # 2026-01-01
NOON_US = round(NOON.timestamp()) * 1_000_000
LATE = datetime(9999, 12, 31, 12, tzinfo=UTC)
IDS = {"event_id": "id", "amount": "amount"}


def reading(one: Source, types: tuple[str, ...] = ("a", "b"), **fields: Any) -> Reading:
    codes = tuple((name, code) for code, name in enumerate(types))
    values: dict[str, Any] = {"timezone": "UTC", "currency_digits": 2, "columns": ("event_id", "amount"), **fields}
    return Reading(source=one, codes=codes, **values)


def read(one: Source, *portions: tuple[int, int], types: tuple[str, ...] = ("a", "b"), **fields: Any) -> Rows:
    """Read a whole file, or some portions of it (first row and number)."""
    file = str(one.path)
    whole = [(0, pq.ParquetFile(file).metadata.num_rows if Path(file).exists() else 1)]
    rows = read_rows(reading(one, types, **fields), [Piece(0, file, *portion) for portion in portions or whole])
    unused = rows.unused["rows"].sum()
    assert rows.read == rows.left_out + rows.excluded + rows.rejects.height + unused + rows.good.height
    return rows


# ------------------------------------------------------------------------------------------------------------ good rows


def test_rows_become_integers(tmp_path: Path) -> None:
    rows = [(7, "b", NOON, "x", 12.5), (3, "a", NOON + timedelta(hours=13), None, None), (7, "a", NOON, "y", -1.0)]
    found = read(source(write(log(*rows), tmp_path / "log.parquet"), columns=IDS))
    assert dict(found.good.schema) == {
        "user_id": pl.Int64,
        "event_id": pl.UInt64,
        "amount": pl.Int64,
        "time": pl.Int64,
        "type": pl.UInt16,
        "day": pl.Int32,
    }
    hashes = pl.select(stable_hash(pl.lit(pl.Series(["x", "y"])))).to_series().to_list()
    assert found.good.rows() == [
        (7, hashes[0], 1250, NOON_US, 1, DAY),
        (3, None, None, NOON_US + 13 * 3_600_000_000, 0, DAY + 1),
        (7, hashes[1], -100, NOON_US, 0, DAY),
    ]
    assert (found.read, found.left_out, found.excluded) == (3, 0, 0)
    assert found.rejects.schema == REJECT_SCHEMA
    assert found.unused.schema == {"event_type": pl.String, "day": pl.Int32, "rows": pl.Int64}


def test_what_a_source_does_not_have_is_null(tmp_path: Path) -> None:
    columns = ("event_id", "amount", "category", "quantity", "machine")
    good = read(source(write(log((1, "a", NOON)), tmp_path / "l")), columns=columns).good
    # Nobody said that a machine did it.
    assert good.select(columns).rows() == [(None, None, None, None, False)]
    assert good.select("category", "quantity").schema == {"category": pl.String, "quantity": pl.Int64}


def test_a_constant_has_as_many_rows_as_the_file(tmp_path: Path) -> None:
    one = source(write(log((1, "x", NOON), (2, "y", NOON)), tmp_path / "l"), columns={"event_type": Value(value="b")})
    assert read(one).good["type"].to_list() == [1, 1]


@pytest.mark.parametrize("codes", [(), (("a", 7),), (("é", 3), ("a", 4_095)), (("a", 0), ("é", 1), ("zzz", 2))])
def test_types_have_their_codes_and_the_others_are_counted(tmp_path: Path, codes: tuple[tuple[str, int], ...]) -> None:
    rows = [(1, "a", NOON), (1, "é", NOON), (2, "é", NOON), (3, "é", NOON + timedelta(days=1))]
    how = replace(reading(source(write(log(*rows), tmp_path / "l"))), codes=codes)
    found = read_rows(how, [Piece(0, str(tmp_path / "l"), 0, 4)])
    given_ = dict(codes)
    assert found.good["type"].to_list() == [given_[str(name)] for _, name, _ in rows if name in given_]
    unused = [("a", DAY, 1), ("é", DAY, 2), ("é", DAY + 1, 1)]
    assert found.unused.rows() == [row for row in unused if row[0] not in given_]


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
    rows = [(1, "a", moment.replace(tzinfo=UTC)), (1, "other", moment.replace(tzinfo=UTC))]
    found = read(source(write(log(*rows), tmp_path / "l")), timezone=zone)
    assert found.good["day"].to_list() == [day]
    assert found.unused["day"].to_list() == [day]


@pytest.mark.parametrize("extra", [{"id": 3}, {"amount": 1.0}])
def test_columns_of_the_same_meaning_in_other_types(tmp_path: Path, extra: dict[str, object]) -> None:
    frame = log((1, "a", NOON)).with_columns(**{name: pl.lit(value) for name, value in extra.items()})
    file = write(frame.cast({"type": pl.Categorical, "user": pl.Int16}), tmp_path / "l")
    assert read(source(file, columns=IDS)).good.schema["user_id"] == SCHEMA["user"]


@pytest.mark.parametrize("size", [1, 10_000])
def test_ids_of_any_length(tmp_path: Path, size: int) -> None:
    ids = ["a" * size, "z" * size]
    frame = log((1, "a", NOON), (2, "a", NOON)).with_columns(user=pl.Series(ids))
    assert read(source(write(frame, tmp_path / "l"))).good["user_id"].to_list() == ids


# ------------------------------------------------------------------------------------------- rejects and other rows

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
    found = read(source(file, columns={"amount": "amount"}))
    assert found.good["user_id"].to_list() == [1, 2]
    assert found.rejects.schema == REJECT_SCHEMA
    reasons = {rule.name: rule.reason for rule in REJECT_RULES}
    assert found.rejects.rows() == [
        ("log", str(file), 1 + number, rule, reasons[rule]) for number, rule in enumerate([*BROKEN, *BROKEN])
    ]


def test_row_numbers_count_from_the_start_of_the_file(tmp_path: Path) -> None:
    rows = [(None if number % 10 == 7 else 1, "a", NOON) for number in range(60)]
    found = read(source(write(log(*rows), tmp_path / "1.parquet")), (50, 10), (0, 25), (25, 15))
    assert found.read == 50
    assert found.rejects["row"].to_list() == [57, 7, 17, 27, 37]


def test_rejects_of_a_file_with_many_row_groups(tmp_path: Path) -> None:
    count = 200_000
    frame = pl.select(
        user=pl.when(pl.int_range(count) % 7 != 0).then(pl.int_range(count) + 1),
        type=pl.lit("a"),
        time=pl.lit(NOON, pl.Datetime("us", "UTC")),
        amount=pl.int_range(count).cast(pl.Float64),
    )
    frame.write_parquet(tmp_path / "x.parquet", row_group_size=10_000)
    rows = read(source(tmp_path / "x.parquet", columns={"amount": "amount"}), (0, count), columns=("amount",))
    assert sorted(rows.rejects["row"]) == list(range(0, count, 7))
    assert set(rows.rejects["rule"]) == {"user_id_missing"}
    assert rows.good.height == count - rows.rejects.height
    assert (rows.good["amount"] == (rows.good["user_id"] - 1) * 100).all()


def test_times_at_the_ends_of_64_bits_are_rejected(tmp_path: Path) -> None:
    ends = [-(2**63), -(2**63) + 1, 2**63 - 1, 0]
    file = tmp_path / "l"
    for unit in ("s", "ms", "us"):
        write(log(*[(1, "a", NOON)] * 4).with_columns(time=pl.Series(ends)), file)
        found = read(source(file, time_unit=unit))
        assert found.good["time"].to_list() == [0]
        assert found.rejects["rule"].to_list() == ["event_time_out_of_range"] * 3
    write(log(*[(1, "a", NOON)] * 4).with_columns(time=pl.Series(ends).cast(pl.Datetime("us"))), file)
    assert read(source(file)).rejects["row"].to_list() == [0, 1, 2]
    # Any number of nanoseconds is between 1677 and 2262.
    write(log(*[(1, "a", NOON)] * 4).with_columns(time=pl.Series(ends)), file)
    assert read(source(file, time_unit="ns")).good["day"].to_list() == [-106_752, -106_752, 106_751, 0]


def test_rows_outside_where_are_left_out_before_they_are_checked(tmp_path: Path) -> None:
    rows = [(1, "a", NOON, "k"), (None, "a", NOON, "x"), (None, "a", NOON, "k"), (2, "c", NOON, "k"), (3, "a", NOON)]
    found = read(source(write(log(*rows), tmp_path / "l"), where="id = 'k'"))
    assert (found.good.height, found.left_out) == (1, 2)
    assert found.rejects["rule"].to_list() == ["user_id_missing"]
    assert found.unused.rows() == [("c", DAY, 1)]


def test_excluded_users_are_counted_apart(tmp_path: Path) -> None:
    rows = [(1, "a", NOON), (2, "a", NOON), (2, "c", NOON), (2, "", NOON), (33, "a", NOON), (None, "a", NOON)]
    one = source(write(log(*rows, (5, "a", NOON, "t")), tmp_path / "l"), exclude="id = 't'")
    found = read(one, exclude=Exclude(user_ids=(2,), pattern="^3"))
    assert (found.good["user_id"].to_list(), found.excluded) == ([1], 5)
    assert found.rejects["rule"].to_list() == ["user_id_missing"]


# ------------------------------------------------------------------------------------------------ links and machines


def links_of(folder: Path, *links: tuple[int, int]) -> str:
    frame = pl.DataFrame(links, {"from_id": pl.Int64, "to_id": pl.Int64}, orient="row")
    return str(write(frame, folder / "links.parquet"))


def test_rows_go_to_the_user_they_belong_to(tmp_path: Path) -> None:
    frame = log((1, "a", NOON), (2, "a", NOON), (None, "a", NOON), (None, "a", NOON), (3, "a", NOON))
    frame = frame.with_columns(visitor=pl.Series([9, 9, 9, 8, None]))
    one = source(write(frame, tmp_path / "l"), columns={"anonymous_id": "visitor"})
    assert read(one).good["user_id"].to_list() == [1, 2, 9, 8, 3]
    linked = read(one, links=links_of(tmp_path, (9, 4), (2, 5), (3, 6)), exclude=Exclude(user_ids=(6,)))
    assert (linked.good["user_id"].to_list(), linked.excluded) == ([1, 5, 4, 8], 1)


def test_an_excluded_id_stays_excluded_whatever_it_is_linked_to(tmp_path: Path) -> None:
    one = source(write(log((1, "a", NOON), (2, "a", NOON)), tmp_path / "l"))
    found = read(one, links=links_of(tmp_path, (1, 4)), exclude=Exclude(user_ids=(1,)))
    assert (found.good["user_id"].to_list(), found.excluded) == ([2], 1)


def test_what_machines_did_has_a_type_of_its_own(tmp_path: Path) -> None:
    rows = [(1, name, NOON) for name in ("sent", "open", "open", "click", "click", "buy")]
    frame = log(*rows).with_columns(bot=pl.Series([True, True, False, None, True, True]))
    one = source(write(frame, tmp_path / "l"), columns={"machine": "bot"})
    types = ("sent", "open", "open_machine", "click", "buy")
    found = read(one, types=types, roles=Roles("sent", "open", "click"))
    assert [types[code] for code in found.good["type"]] == ["sent", "open_machine", "open", "click", "buy"]
    assert found.unused.rows() == [("click_machine", DAY, 1)]


def test_machines_are_told_by_their_time(tmp_path: Path) -> None:
    seconds = [0, 5, 90]
    rows = [(1, "sent", NOON, "m"), *((1, "open", NOON + timedelta(seconds=after), "m") for after in seconds)]
    one = source(write(log(*rows), tmp_path / "l"), columns={"message_id": "id"})
    how = {"types": ("sent", "open", "open_machine"), "roles": Roles("sent", "open")}
    assert read(one, **how).good["type"].to_list() == [0, 1, 1, 1]
    found = read(one, **how, machines=Machines(open_within_seconds=10))
    assert found.good["type"].to_list() == [0, 2, 2, 1]
    assert found.good.columns == ["user_id", "event_id", "amount", "time", "type", "day"]


@pytest.mark.parametrize(
    ("columns", "machines", "told"),
    [
        ({}, Machines(open_within_seconds=5), False),
        ({"message_id": "id"}, Machines(), False),
        ({"message_id": "id"}, Machines(open_within_seconds=5), True),
        ({"message_id": "id"}, Machines(burst_links=5), True),
        ({"machine": "bot"}, Machines(), True),
    ],
)
def test_whether_machines_can_be_told(columns: dict[str, str], machines: Machines, told: bool) -> None:
    assert tells_machines(source("x", columns=columns), machines) == told


# -------------------------------------------------------------------------------------------------------- hive folders


def test_hive_keys_are_columns(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON)).drop("type", "time"), tmp_path / "day=2026-01-03" / "kind=b%2Fc" / "x.parquet")
    columns = {"event_type": "kind", "event_time": Sql(sql="STRPTIME(day, '%Y-%m-%d')")}
    found = read(source(file, columns=columns, where="day >= '2026-01-01'"), types=("b/c",))
    assert found.good.select("type", "day").rows() == [(0, DAY + 2)]


def test_the_file_wins_over_its_folder(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON)), tmp_path / "type=b" / "x.parquet")
    assert read(source(file)).good["type"].to_list() == [0]


def test_hives_null_is_null(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON)).drop("type"), tmp_path / "type=__HIVE_DEFAULT_PARTITION__" / "x.parquet")
    assert read(source(file)).rejects["rule"].to_list() == ["event_type_missing"]


# ----------------------------------------------------------------------------------------------------- what goes wrong

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
        read(source(file, columns=columns))
    assert caught.value.code == code
    assert str(file) in caught.value.message
    assert "source 'log'" in caught.value.message
    assert "canary" not in caught.value.message + caught.value.hint


def test_values_that_do_not_fit(tmp_path: Path) -> None:
    file = write(log((1, "a", NOON, "x"), (2, "a", NOON, "5")), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"conversion from `str` to `i64` failed in column 'id'$"):
        read(source(file, columns={"user_id": Sql(sql="CAST(id AS BIGINT)")}))
    found = read(source(file, columns={"user_id": Sql(sql="TRY_CAST(id AS BIGINT)")}))
    assert (found.good["user_id"].to_list(), found.rejects["rule"].to_list()) == ([5], ["user_id_missing"])


def test_a_file_that_vanished(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source 'log': cannot read .*gone\.parquet: FileNotFoundError") as caught:
        read(source(tmp_path / "gone.parquet"))
    assert caught.value.code == "input-unreadable"


@pytest.mark.parametrize(("start", "rows"), [(0, 4), (2, 2), (3, 1), (9, 1)])
def test_a_file_with_fewer_rows_than_its_footer_had(tmp_path: Path, start: int, rows: int) -> None:
    one = source(write(log(*[(user, "a", NOON) for user in range(3)]), tmp_path / "log.parquet"))
    with pytest.raises(IntegrityError, match=f"from row {start} on; its footer promised {rows}") as caught:
        read(one, (start, rows))
    assert caught.value.code == "input-changed"


def test_a_file_that_is_not_the_one_whose_footer_was_read(tmp_path: Path) -> None:
    one = source(write(log((1, "a", NOON)), tmp_path / "log.parquet"))
    status = (tmp_path / "log.parquet").stat()
    size, modified = status.st_size, status.st_mtime_ns
    assert read_rows(reading(one), [Piece(0, str(one.path), 0, 1, (size, modified))]).good.height == 1
    for stamp in ((size, modified - 1), (size + 1, modified)):
        with pytest.raises(IntegrityError, match=r"log\.parquet was replaced or written to"):
            read_rows(reading(one), [Piece(0, str(one.path), 0, 1, stamp)])


def test_damaged_data_is_refused(tmp_path: Path) -> None:
    file = write(log(*[(number, "a", NOON, f"id{number}") for number in range(1000)]), tmp_path / "log.parquet")
    content = bytearray(file.read_bytes())
    content[4:204] = b"\xff" * 200
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(source(file))
    assert caught.value.code == "input-unreadable"
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message
