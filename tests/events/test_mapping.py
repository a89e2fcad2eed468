from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.config import Param, Sql, Value
from engine.errors import DataError
from engine.events.mapping import EXCLUDE, KEEP, REJECT, map_source, stable_hash
from engine.events.schema import AMOUNT_LIMIT_MINOR, FIELDS, REJECT_RULES, TIME_LIMITS_US, Field
from tests.events.logs import NOON, source

GOOD = {"user": [1], "type": ["buy"], "time": [NOON]}
NOON_US = 1_767_268_800_000_000
Series = pl.Series | list[Any]


def mapped(
    data: Mapping[str, Series], columns: Mapping[str, object] | None = None, digits: int = 2, **fields: object
) -> pl.DataFrame:
    """Canonical columns, the name of the broken rule (`good` when there is none) and whether the row is kept."""
    height = max(len(series) for series in data.values())
    frame = pl.DataFrame({**{name: values * height for name, values in GOOD.items()}, **data})
    mapping = map_source(source("x", columns=columns, **fields), dict(frame.schema), digits)
    names = ["good", *(rule.name for rule in REJECT_RULES)]
    everything = {**mapping.canonical, REJECT: mapping.reject, KEEP: mapping.keep, EXCLUDE: mapping.exclude}
    done = frame.with_row_index("#").select("#", **everything).drop("#")
    return done.with_columns(pl.col(REJECT).replace_strict(list(range(len(names))), names, return_dtype=pl.String))


def refusal(data: Mapping[str, Series], columns: Mapping[str, object] | None = None, **fields: object) -> str:
    with pytest.raises(DataError) as caught:
        mapped(data, columns, **fields)
    assert caught.value.code == "events-columns"
    assert caught.value.hint.startswith("Columns of the files: user (")
    return caught.value.message


# --- user ids


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32])
def test_integer_ids(dtype: type[pl.DataType]) -> None:
    done = mapped({"user": pl.Series([0, 7, None], dtype=dtype)})
    assert done["user_id"].dtype == pl.Int64
    assert done["user_id"].to_list() == [0, 7, None]
    assert done[REJECT].to_list() == ["good", "good", "user_id_missing"]


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["", "é/x y", "e\u0301", " "])])
def test_text_ids(dtype: pl.DataType) -> None:
    ids = ["é/x y", "e\u0301", " ", "", None]
    done = mapped({"user": pl.Series(ids, dtype=dtype)})
    assert done["user_id"].dtype == pl.String
    assert done["user_id"].to_list() == ids
    assert done[REJECT].to_list() == ["good"] * 3 + ["user_id_missing"] * 2


@pytest.mark.parametrize(
    ("series", "advice"),
    [
        (pl.Series([1], dtype=pl.UInt64), 'got UInt64; cast it: { sql = "CAST(… AS VARCHAR)" }'),
        (pl.Series([1], dtype=pl.Int128), "CAST(… AS VARCHAR)"),
        (pl.Series([1.0]), 'got Float64; cast it: { sql = "CAST(… AS BIGINT)" }'),
        (pl.Series([Decimal(1)]), "CAST(… AS BIGINT)"),
        (pl.Series([True]), "got Boolean"),
        (pl.Series([NOON]), "got Datetime"),
        (pl.Series([b"a"]), "got Binary"),
        (pl.Series([None]), "got Null"),
        (pl.Series([["a"]]), "got List"),
        (pl.Series([{"id": "a"}]), "got Struct"),
    ],
)
def test_ids_of_other_types(series: pl.Series, advice: str) -> None:
    message = refusal({"user": series})
    assert "  user_id: expected an integer or a string, got " in message
    assert advice in message


@pytest.mark.parametrize(("dtype", "expected"), [(pl.Int16(), pl.Int64()), (pl.Categorical(), pl.String())])
def test_type_of_ids_is_told(dtype: pl.DataType, expected: pl.DataType) -> None:
    schema = {"user": dtype, "type": pl.String(), "time": pl.Date()}
    assert map_source(source("x"), schema, 2).user_dtype == expected


@pytest.mark.parametrize("size", [1, 10_000])
def test_ids_of_any_length(size: int) -> None:
    ids = ["x" * size, "x" * (size - 1) + "y", "\x00" * size, "é" * size]
    done = mapped({"user": ids, "x": ids}, {"event_id": "x", "anonymous_id": "x"})
    assert done["user_id"].to_list() == done["anonymous_id"].to_list() == ids
    assert done["event_id"].n_unique() == 4
    assert done[REJECT].to_list() == ["good"] * 4


# --- visitors


def test_a_visitor_stands_for_a_user_who_is_not_known() -> None:
    data: dict[str, Series] = {"user": ["u", None, "", "u", None, ""], "anon": ["a", "a", "a", None, None, ""]}
    done = mapped(data, {"anonymous_id": "anon"})
    assert done["user_id"].to_list() == data["user"]
    assert done["anonymous_id"].to_list() == ["a", "a", "a", None, None, None]
    assert done[REJECT].to_list() == ["good"] * 4 + ["user_id_missing"] * 2


@pytest.mark.parametrize(
    ("users", "visitors", "dtype"),
    [
        (pl.Series([None, None]), pl.Series(["a", "b"]), pl.String),
        (pl.Series([None, None]), pl.Series(["a", "b"], dtype=pl.Categorical), pl.String),
        (pl.Series([None, None]), pl.Series([1, 2], dtype=pl.Int8), pl.Int64),
        (pl.Series(["u", "v"]), pl.Series([None, None]), pl.String),
        (pl.Series([1, 2]), pl.Series([None, None]), pl.Int64),
    ],
)
def test_a_column_of_nulls_has_the_type_of_the_other(users: pl.Series, visitors: pl.Series, dtype: object) -> None:
    done = mapped({"user": users, "anon": visitors}, {"anonymous_id": "anon"})
    assert done["user_id"].dtype == done["anonymous_id"].dtype == dtype
    assert done["user_id"].to_list() == users.to_list()
    assert done["anonymous_id"].to_list() == visitors.to_list()
    assert done[REJECT].to_list() == ["good", "good"]
    mapping = map_source(
        source("x", columns={"anonymous_id": "anon"}),
        {"user": users.dtype, "anon": visitors.dtype, "type": pl.String(), "time": pl.Date()},
        2,
    )
    assert mapping.user_dtype == dtype


def test_visitors_and_users_have_one_type() -> None:
    cast = 'cast it: { sql = "CAST(… AS VARCHAR)" }'
    columns = {"anonymous_id": "anon"}
    message = refusal({"user": [1], "anon": ["a"]}, columns)
    assert f"  user_id: got Int64, but anonymous_id is text, and both name users; {cast}" in message
    message = refusal({"user": ["u"], "anon": pl.Series([1], dtype=pl.Int32)}, columns)
    assert f"  anonymous_id: got Int32, but user_id is text, and both name users; {cast}" in message
    done = mapped({"user": [1, None], "anon": ["a", "b"]}, {**columns, "user_id": Sql(sql='CAST("user" AS VARCHAR)')})
    assert done["user_id"].to_list() == ["1", None]
    with pytest.raises(DataError, match="anonymous_id: expected an integer or a string, got Float64"):
        mapped({"anon": [1.5]}, columns)


# --- machines


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pl.Series([True, False, None]), [True, False, False]),
        (pl.Series([1, 0, None, 2, -1], dtype=pl.Int8), [True, False, False, None, None]),
        (pl.Series([1, 0, 2**64 - 1], dtype=pl.UInt64), [True, False, None]),
        (pl.Series(["true", "True", "TRUE", "1"]), [True] * 4),
        (pl.Series(["false", "False", "0", "", None]), [False] * 5),
        (pl.Series(["yes", " true", "2", "t"]), [None] * 4),
        (pl.Series(["tRuE", None], dtype=pl.Categorical), [True, False]),
    ],
)
def test_machine(series: pl.Series, expected: list[bool | None]) -> None:
    done = mapped({"x": series}, {"machine": "x"})
    assert done["machine"].dtype == pl.Boolean
    assert done["machine"].to_list() == expected
    assert done[REJECT].to_list() == ["machine_not_boolean" if one is None else "good" for one in expected]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Sql(sql="type = 'proxy_open'"), [True, False]),
        (Sql(sql="NULLIF(type, 'proxy_open') IS NULL"), [True, False]),
        (Value(value=1), [True, True]),
        (Value(value="false"), [False, False]),
    ],
)
def test_machine_by_an_expression(entry: object, expected: list[bool]) -> None:
    assert mapped({"type": ["proxy_open", "open"]}, {"machine": entry})["machine"].to_list() == expected


@pytest.mark.parametrize("series", [pl.Series([1.0]), pl.Series([NOON]), pl.Series([b"a"])])
def test_machine_of_other_types(series: pl.Series) -> None:
    expected = f"  machine: expected true or false, as a Boolean, 1 or 0 or text, got {series.dtype}"
    assert expected in refusal({"x": series}, {"machine": "x"})


# --- text columns


@pytest.mark.parametrize("name", ["event_type", "channel", "campaign_id", "item_id", "category", "page", "promotion"])
@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pl.Series(["a", None]), ["a", None]),
        (pl.Series(["a", None], dtype=pl.Categorical), ["a", None]),
        (pl.Series([3, None], dtype=pl.UInt64), ["3", None]),
        (pl.Series([-3, None], dtype=pl.Int8), ["-3", None]),
    ],
)
def test_text_columns(name: str, series: pl.Series, expected: list[str | None]) -> None:
    done = mapped({"x": series}, {name: "x"})
    assert done[name].dtype == pl.String
    assert done[name].to_list() == expected


@pytest.mark.parametrize("name", ["event_type", "channel", "campaign_id", "item_id", "category", "event_id"])
@pytest.mark.parametrize("series", [pl.Series([1.5]), pl.Series([True]), pl.Series([NOON])])
def test_text_columns_of_other_types(name: str, series: pl.Series) -> None:
    assert f"  {name}: expected a string or an integer, got {series.dtype}" in refusal({"x": series}, {name: "x"})


def test_an_event_type_without_any_value() -> None:
    assert "  event_type: expected a string or an integer, got Null" in refusal({"x": [None]}, {"event_type": "x"})


@pytest.mark.parametrize("field", [field for field in FIELDS[3:] if field.name != "anonymous_id"], ids=lambda f: f.name)
def test_a_column_that_is_empty_in_the_whole_file(field: Field) -> None:
    done = mapped({"x": [None, None]}, {field.name: "x"})
    assert done[field.name].dtype == field.dtype
    assert done[field.name].to_list() == [False if field.name == "machine" else None] * 2
    assert done[REJECT].to_list() == ["good", "good"]


@pytest.mark.parametrize("entry", ["x.y", "nosuch", Sql(sql="UPPER(nosuch)"), Param(param="k")])
def test_optional_columns_that_are_missing(entry: object) -> None:
    done = mapped({"user": [1, 2]}, {"channel": entry, "category": "type"}, optional=("channel", "category"))
    assert "channel" not in done.columns
    assert done["category"].to_list() == ["buy", "buy"]
    assert "  channel: " in refusal({"user": [1, 2]}, {"channel": entry})


def test_an_optional_column_that_is_wrong_is_told() -> None:
    said = refusal({"x": [1.5]}, {"channel": "x", "page": Sql(sql="UPPER(")}, optional=("channel", "page"))
    assert "  channel: expected a string or an integer, got Float64" in said
    assert "  page: cannot use 'UPPER('" in said


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("user_id", {}),
        ("nosuch", {}),
        ("received_time", {"clock": "received", "columns": {"received_time": "time"}}),
    ],
)
def test_columns_that_cannot_be_optional(name: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"optional: '{name}' cannot be left out"):
        source("x", optional=(name,), **fields)


def test_event_types_that_are_missing() -> None:
    done = mapped({"type": ["a", "", None, " "]})
    assert done[REJECT].to_list() == ["good", "event_type_missing", "event_type_missing", "good"]


@pytest.mark.parametrize(("value", "expected"), [("é à/b", "é à/b"), (7, "7")])
def test_constant_event_type(value: object, expected: str) -> None:
    assert mapped({"user": [1, 2]}, {"event_type": Value(value=value)})["event_type"].to_list() == [expected] * 2


@pytest.mark.parametrize("name", ["quantity", "duration_ms"])
def test_whole_numbers(name: str) -> None:
    done = mapped({"x": pl.Series([1, None, 2**64 - 1], dtype=pl.UInt64)}, {name: "x"})
    assert done[name].dtype == pl.Int64
    assert done[name].to_list() == [1, None, None]
    assert f"  {name}: expected an integer, got Float64" in refusal({"x": [1.0]}, {name: "x"})


# --- times


@pytest.mark.parametrize(
    ("series", "fields", "expected"),
    [
        (pl.Series([datetime(2026, 1, 1, 12)], dtype=pl.Datetime("ms")), {}, NOON_US),
        (pl.Series([datetime(2026, 1, 1, 12)], dtype=pl.Datetime("us")), {}, NOON_US),
        (pl.Series([datetime(2026, 1, 1, 12)], dtype=pl.Datetime("ns")), {}, NOON_US),
        (pl.Series([datetime(2026, 1, 1, 12)]), {"timezone": "Europe/Paris"}, NOON_US - 3_600_000_000),
        (pl.Series([datetime(2026, 7, 1, 12)]), {"timezone": "Europe/Paris"}, NOON_US + (181 * 24 - 2) * 3_600_000_000),
        (pl.Series([datetime(2026, 1, 1, 12)]), {"timezone": "Asia/Kolkata"}, NOON_US - 19_800_000_000),
        (pl.Series([NOON]), {}, NOON_US),
        (pl.Series([NOON]).dt.convert_time_zone("America/New_York"), {"timezone": "Europe/Paris"}, NOON_US),
        (pl.Series([NOON], dtype=pl.Datetime("ns", "UTC")), {}, NOON_US),
        (pl.Series([date(2026, 1, 1)]), {}, NOON_US - 43_200_000_000),
        (pl.Series([date(2026, 1, 1)]), {"timezone": "Europe/Paris"}, NOON_US - 46_800_000_000),
        (pl.Series([NOON_US // 1_000_000]), {"time_unit": "s"}, NOON_US),
        (pl.Series([NOON_US // 1_000_000], dtype=pl.UInt32), {"time_unit": "s"}, NOON_US),
        (pl.Series([NOON_US // 1_000], dtype=pl.UInt64), {"time_unit": "ms"}, NOON_US),
        (pl.Series([NOON_US // 1_000]), {"time_unit": "ms", "timezone": "Europe/Paris"}, NOON_US),
        (pl.Series([NOON_US]), {"time_unit": "us"}, NOON_US),
        (pl.Series([NOON_US * 1_000 + 999]), {"time_unit": "ns"}, NOON_US),
        (pl.Series([-1]), {"time_unit": "ns"}, -1),
        (pl.Series([-1], dtype=pl.Int8), {"time_unit": "s"}, -1_000_000),
        (pl.Series([NOON]), {"time_unit": "s"}, NOON_US),
    ],
)
def test_times(series: pl.Series, fields: dict[str, object], expected: int) -> None:
    done = mapped({"time": series}, **fields)
    assert done["event_time"].dtype == pl.Datetime("us", "UTC")
    assert done["event_time"].dt.epoch("us").to_list() == [expected]
    assert done[REJECT].to_list() == ["good"]


@pytest.mark.parametrize(
    ("series", "advice"),
    [
        (pl.Series(["2026-01-01"]), 'got String; convert it: { sql = "STRPTIME('),
        (pl.Series(["2026-01-01"], dtype=pl.Categorical), "expected a timestamp or a date, got Categorical"),
        (pl.Series([1]), 'got Int64; say its unit with time_unit = "s", "ms", "us" or "ns"'),
        (pl.Series([1.5]), "expected a timestamp or a date, got Float64"),
        (pl.Series([True]), "expected a timestamp or a date, got Boolean"),
        (pl.Series([time(1)]), "expected a timestamp or a date, got Time"),
        (pl.Series([timedelta(1)]), "expected a timestamp or a date, got Duration"),
        (pl.Series([None]), "expected a timestamp or a date, got Null"),
    ],
)
def test_times_of_other_types(series: pl.Series, advice: str) -> None:
    message = refusal({"time": series})
    assert "  event_time: " in message
    assert advice in message


@pytest.mark.parametrize(
    ("local", "zone", "expected"),
    [
        (datetime(2025, 3, 30, 1, 59, 59, 999_999), "Europe/Paris", datetime(2025, 3, 30, 0, 59, 59, 999_999)),
        (datetime(2025, 3, 30, 2), "Europe/Paris", None),
        (datetime(2025, 3, 30, 2, 59, 59, 999_999), "Europe/Paris", None),
        (datetime(2025, 3, 30, 3), "Europe/Paris", datetime(2025, 3, 30, 1)),
        (datetime(2025, 10, 26, 2, 30), "Europe/Paris", datetime(2025, 10, 26, 0, 30)),
        (datetime(2025, 10, 26, 3), "Europe/Paris", datetime(2025, 10, 26, 2)),
        (datetime(2025, 11, 2, 1, 30), "America/New_York", datetime(2025, 11, 2, 5, 30)),
        (datetime(2018, 11, 4), "America/Sao_Paulo", None),
        (datetime(2011, 12, 30, 12), "Pacific/Apia", None),
    ],
)
def test_clock_changes(local: datetime, zone: str, expected: datetime | None) -> None:
    done = mapped({"time": [local]}, timezone=zone)
    assert done["event_time"].dt.replace_time_zone(None).to_list() == [expected]
    assert done[REJECT].to_list() == ["good" if expected else "event_time_missing"]


def test_a_day_that_begins_without_midnight() -> None:
    done = mapped({"time": [date(2018, 11, 4), date(2018, 11, 5)]}, timezone="America/Sao_Paulo")
    assert done[REJECT].to_list() == ["event_time_missing", "good"]


@given(
    st.lists(st.datetimes(datetime(1975, 1, 1), datetime(2025, 12, 31)), min_size=1, max_size=20),
    st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo"]),
)
def test_local_times_are_those_of_the_time_zone_database(locals_: list[datetime], zone: str) -> None:
    expected = []
    for local in locals_:
        # A column has no fold: of an hour that occurs twice the first is meant.
        instant = local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)
        exists = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local
        expected.append(instant if exists else None)
    assert mapped({"time": locals_}, timezone=zone)["event_time"].to_list() == expected


START, END = TIME_LIMITS_US


@pytest.mark.parametrize(
    ("values", "dtype", "fields"),
    [
        ([START, START - 1, -(2**63), END - 1, END, 2**63 - 1], pl.Int64, {"time_unit": "us"}),
        (
            [START // 1000, START // 1000 - 1, -(2**63), END // 1000 - 1, END // 1000, 2**62],
            pl.Int64,
            {"time_unit": "ms"},
        ),
        (
            [START // 10**6, START // 10**6 - 1, -(2**63), END // 10**6 - 1, NOON_US, 2**63 - 1],
            pl.Int64,
            {"time_unit": "s"},
        ),
        ([START, START - 1, -(2**63) + 1, END - 1, END, 2**63 - 1], pl.Datetime("us"), {"timezone": "Europe/Paris"}),
        ([START, START - 1, -(2**63) + 1, END - 1, END, 2**63 - 1], pl.Datetime("us", "Asia/Tokyo"), {}),
        ([START // 1000, START // 1000 - 1, -(2**63) + 1, END // 1000 - 1, END // 1000, 2**62], pl.Datetime("ms"), {}),
        ([-719_161, -719_162, -(2**31), 2_932_895, 2_932_896, 2**31 - 1], pl.Date, {}),
    ],
)
def test_times_beyond_the_calendar(values: list[int], dtype: pl.DataType, fields: dict[str, object]) -> None:
    physical = pl.Series(values, dtype=pl.Int32 if dtype == pl.Date else pl.Int64)
    done = mapped({"time": physical.cast(dtype)}, **fields)
    bad = "event_time_out_of_range"
    assert done[REJECT].to_list() == ["good", bad, bad, "good", bad, bad]
    assert done["event_time"].is_null().to_list() == [False, True, True, False, True, True]
    done["event_time"].dt.convert_time_zone("America/Los_Angeles").dt.date().to_list()


def test_missing_times_are_missing_not_out_of_range() -> None:
    for series, fields in [
        (pl.Series([None], dtype=pl.Datetime("us", "UTC")), {}),
        (pl.Series([None], dtype=pl.Date), {"timezone": "Europe/Paris"}),
        (pl.Series([None], dtype=pl.Int64), {"time_unit": "ns"}),
        (pl.Series([None], dtype=pl.UInt64), {"time_unit": "s"}),
    ]:
        assert mapped({"time": series}, **fields)[REJECT].to_list() == ["event_time_missing"]


# --- amounts


@given(st.integers(-AMOUNT_LIMIT_MINOR, AMOUNT_LIMIT_MINOR), st.sampled_from([0, 2, 3, 6]))
def test_amounts_become_minor_units_exactly(minor: int, digits: int) -> None:
    done = mapped({"a": [minor / 10**digits]}, {"amount": "a"}, digits)
    assert done.select("amount", REJECT).rows() == [(minor, "good")]


@given(st.integers(-AMOUNT_LIMIT_MINOR, AMOUNT_LIMIT_MINOR), st.sampled_from([0, 2, 3, 6]))
def test_decimal_amounts_become_minor_units_exactly(minor: int, digits: int) -> None:
    decimals = pl.Series([Decimal(minor).scaleb(-digits)], dtype=pl.Decimal(20, digits))
    assert mapped({"a": decimals}, {"amount": "a"}, digits)["amount"].to_list() == [minor]


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 2, 6]))
def test_integer_amounts_become_minor_units_exactly(units: int, digits: int) -> None:
    done = mapped({"a": pl.Series([units], dtype=pl.Int64)}, {"amount": "a"}, digits)
    fits = abs(units) * 10**digits <= AMOUNT_LIMIT_MINOR
    expected = (units * 10**digits, "good") if fits else (None, "amount_out_of_range")
    assert done.select("amount", REJECT).rows() == [expected]


LIMIT = float(AMOUNT_LIMIT_MINOR // 100)


@pytest.mark.parametrize(
    ("series", "digits", "rules"),
    [
        ([float("nan"), float("inf"), float("-inf"), None], 2, ["amount_not_finite"] * 3 + ["good"]),
        ([LIMIT, -LIMIT, LIMIT + 0.01, -LIMIT - 0.01], 2, ["good", "good"] + ["amount_out_of_range"] * 2),
        ([1e300, -1e300, 5e-324, -0.0], 2, ["amount_out_of_range"] * 2 + ["good"] * 2),
        (pl.Series([1.5, None], dtype=pl.Float32), 2, ["good", "good"]),
        (pl.Series([2**64 - 1, 1], dtype=pl.UInt64), 0, ["amount_out_of_range", "good"]),
        (pl.Series([-(2**63), 2**63 - 1]), 0, ["amount_out_of_range"] * 2),
        # Their product with 10**6 wraps around to small numbers.
        (pl.Series([-(2**63), 2**58, 2**57 + 1]), 6, ["amount_out_of_range"] * 3),
        (pl.Series([Decimal("1e20"), None], dtype=pl.Decimal(38, 2)), 2, ["amount_out_of_range", "good"]),
    ],
)
def test_amounts_at_the_limits(series: Series, digits: int, rules: list[str]) -> None:
    assert mapped({"a": series}, {"amount": "a"}, digits)[REJECT].to_list() == rules


def test_amounts_are_rounded_to_the_nearest_minor_unit() -> None:
    amounts = [0.004, 0.006, -0.006, 12.349999, 1.1]
    assert mapped({"a": amounts}, {"amount": "a"})["amount"].to_list() == [0, 1, -1, 1235, 110]
    assert mapped({"a": amounts}, {"amount": "a"}, 0)["amount"].to_list() == [0, 0, 0, 12, 1]


@pytest.mark.parametrize(("value", "expected"), [(5, 500), (0.1, 10), (-3, -300)])
def test_constant_amounts(value: float, expected: int) -> None:
    assert mapped({"user": [1, 2]}, {"amount": Value(value=value)})["amount"].to_list() == [expected] * 2


@pytest.mark.parametrize("series", [pl.Series(["1.50"]), pl.Series([True]), pl.Series([NOON])])
def test_amounts_of_other_types(series: pl.Series) -> None:
    assert f"  amount: expected a number, got {series.dtype}" in refusal({"a": series}, {"amount": "a"})


# --- event ids

# As the xxHash library computes them; keys of stored files depend on every bit.
GOLDEN = {
    "": 0x2D06800538D394C2,
    "0": 0x1982E3A7BB241055,
    "1": 0x65CD25028F98F158,
    "-1": 0xBC25A7B612CBA21F,
    "u0001234": 0x0C744D1E22739960,
    "Zoé": 0x8CBE56772B0CDC1F,
    "Zoe\u0301": 0x3D0D2EAC980F5DAA,
    "a b/c": 0x8B4BE53AAFC676C3,
    "9223372036854775807": 0x8E412F1DD5B046A3,
    "x" * 300: 0xA5D1B4607DC83554,
}


def test_stable_hash_is_never_changed() -> None:
    texts = [*GOLDEN, None]
    frame = pl.DataFrame({"text": texts}).select(stable_hash(pl.col("text")))
    assert frame.to_series().dtype == pl.UInt64
    assert frame.to_series().to_list() == [*GOLDEN.values(), None]


def test_stable_hash_of_integers_is_that_of_their_text() -> None:
    numbers = pl.DataFrame({"n": [0, 1, -1, 2**63 - 1, None]})
    texts = numbers.select(stable_hash(pl.col("n").cast(pl.String)))
    assert numbers.select(stable_hash(pl.col("n"))).equals(texts)
    assert numbers.clear().select(stable_hash(pl.col("n"))).to_series().to_list() == []


@pytest.mark.parametrize("name", ["event_id", "message_id", "link"])
@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_missing_event_ids_are_null(name: str, dtype: pl.DataType) -> None:
    ids = mapped({"x": pl.Series(["a", "", None, " "], dtype=dtype)}, {name: "x"})[name]
    assert ids.dtype == pl.UInt64
    assert ids.is_null().to_list() == [False, True, True, False]


@pytest.mark.parametrize("name", ["event_id", "message_id", "link"])
def test_ids_of_events_messages_and_links_are_hashed(name: str) -> None:
    for values in (["1", "0"], pl.Series([1, 0], dtype=pl.UInt64)):
        assert mapped({"x": values}, {name: "x"})[name].to_list() == [GOLDEN["1"], GOLDEN["0"]]


def test_no_promotion_is_null() -> None:
    done = mapped({"x": ["SALE", "", None, " "]}, {"promotion": "x", "page": "x"})
    assert done["promotion"].to_list() == ["SALE", None, None, " "]
    assert done["page"].to_list() == ["SALE", "", None, " "]


# --- expressions and conditions


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a * b", [600, -150]),
        ('"a b" + 1', [200, 300]),
        ("CASE WHEN a > 2 THEN a ELSE 0 END", [300, 0]),
        ("COALESCE(n, b)", [200, -150]),
        ("TRY_CAST(s AS DOUBLE)", [150, None]),
        ("CAST(a AS DOUBLE)", [300, 100]),
        ("traffic.cost", [50, None]),
        ("a::DOUBLE", [300, 100]),
        ("l[1]", [700, 900]),
        ('"max"', [100, 200]),
        ("GREATEST(a, b)", [300, 100]),
        ("traffic.last", [800, 900]),
        ("7", [700, 700]),
    ],
)
def test_expressions(sql: str, expected: list[int | None]) -> None:
    data: dict[str, Series] = {
        "a": [3, 1],
        "b": [2.0, -1.5],
        "a b": [1, 2],
        "n": pl.Series([None, None], dtype=pl.Float64),
        "s": ["1.5", "x"],
        "l": [[7, 8], [9]],
        "max": [1, 2],
        "traffic": [{"cost": 0.5, "last": 8}, {"cost": None, "last": 9}],
    }
    assert mapped(data, {"amount": Sql(sql=sql)})["amount"].to_list() == expected


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("pirce * 2", "no column 'pirce' in the files (did you mean 'price'?)"),
        ("MAX(price)", "MAX() looks at many rows"),
        ("sum (price)", "SUM() looks at many rows"),
        ('"MAX"(price)', "MAX() looks at many rows"),
        ("`avg`(price)", "AVG() looks at many rows"),
        ("GROUP_CONCAT(type)", "GROUP_CONCAT() looks at many rows"),
        ("traffic.x + COUNT(*)", "COUNT() looks at many rows"),
        ("price / SUM(price)", "SUM() looks at many rows"),
        ("ROW_NUMBER() OVER (ORDER BY time)", "OVER: a row is mapped on its own"),
        ("LAG(price)", "LAG() looks at many rows"),
        ("UNNEST(l)", "UNNEST() looks at many rows"),
        ("(SELECT price)", "SELECT: a row is mapped on its own"),
        ("NOW()", "NOW depends on the clock"),
        ("time - CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP depends on the clock"),
        ("COLUMNS('.*')", "cannot use"),
        ("*", "cannot use"),
        ("price +", "cannot use"),
        ("nosuch(price)", "cannot use"),
        ("price; price", "';' at character 6"),
        ("price + 'x", "is not closed"),
        ("type - time", "cannot use"),
    ],
)
def test_expressions_that_are_refused(sql: str, problem: str) -> None:
    message = refusal({"price": [1.0], "l": [[1]], "traffic": [{"x": 1}]}, {"amount": Sql(sql=sql)})
    assert "  amount: " in message
    assert problem in message
    assert sql in message


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, [True, True, True]),
        ("p > 1", [True, False, False]),
        ("p IS NULL OR p < 2", [False, True, True]),
        ("type = 'buy' AND p BETWEEN 1 AND 5", [True, True, False]),
        ("1 = 1", [True, True, True]),
        ("flag", [True, False, False]),
    ],
)
def test_where(where: str | None, expected: list[bool]) -> None:
    data: dict[str, Series] = {"p": [2, 1, None], "flag": [True, None, False]}
    assert mapped(data, where=where)[KEEP].to_list() == expected


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("p", "where: expected a condition (true or false), got Int64: p"),
        ("'x'", "where: expected a condition (true or false), got String: 'x'"),
        ("q > 1", "where: no column 'q' in the files"),
        ("p = MAX(p)", "where: MAX() looks at many rows"),
        ("time < NOW()", "where: NOW depends on the clock"),
        ("p > 'a'", "where: cannot use"),
    ],
)
def test_where_that_is_no_condition(where: str, problem: str) -> None:
    assert problem in refusal({"p": [1]}, where=where)


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (None, [False, False, False]),
        ("p > 1", [True, False, False]),
        ("NOT flag", [False, False, True]),
        ("type LIKE 'b%' AND p IS NULL", [False, False, True]),
        ("1 = 1", [True, True, True]),
    ],
)
def test_exclude(exclude: str | None, expected: list[bool]) -> None:
    data: dict[str, Series] = {"p": [2, 1, None], "flag": [True, None, False]}
    done = mapped(data, exclude=exclude, where="p IS NOT NULL")
    assert done[EXCLUDE].to_list() == expected
    assert done[KEEP].to_list() == [True, True, False]


def test_exclude_that_is_no_condition() -> None:
    assert "  exclude: expected a condition (true or false), got Int64: p" in refusal({"p": [1]}, exclude="p")
    assert "  exclude: no column 'q' in the files" in refusal({"p": [1]}, exclude="q = 1")
    assert "  exclude: MAX() looks at many rows" in refusal({"p": [1]}, exclude="p = MAX(p)")


def test_every_problem_is_told_at_once() -> None:
    columns = {
        "user_id": "usr",
        "event_type": "score",
        "event_time": "day",
        "amount": "type",
        "quantity": Sql(sql="nosuch + 1"),
        "channel": "score",
    }
    message = refusal({"score": [1.5], "day": ["2026-01-01"]}, columns, where="score")
    lines = message.splitlines()
    assert lines[0] == "source 'log': its columns do not fit the mapping"
    assert {line.split(":")[0].strip() for line in lines[1:]} == {
        "user_id",
        "event_type",
        "event_time",
        "amount",
        "quantity",
        "channel",
        "where",
    }
    assert "  user_id: no column 'usr' in the files (did you mean 'user'?)" in lines


def test_an_odd_column_that_is_not_used_does_not_matter() -> None:
    odd = pl.Series([{"x": [timedelta(1)]}])
    done = mapped({"odd": odd, "a": [1.0]}, {"amount": Sql(sql="a * 2"), "event_time": Sql(sql="DATE '2026-01-01'")})
    assert done["amount"].to_list() == [200]


# --- reject rules


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ((1, "a", NOON, 1.0), "good"),
        ((None, None, None, float("nan")), "user_id_missing"),
        ((1, "", None, float("nan")), "event_type_missing"),
        ((1, "a", None, float("inf")), "event_time_missing"),
        ((1, "a", datetime(9999, 12, 31, 12, tzinfo=UTC), float("inf")), "event_time_out_of_range"),
        ((1, "a", NOON, float("-inf")), "amount_not_finite"),
        ((1, "a", NOON, 1e12), "amount_out_of_range"),
    ],
)
def test_the_first_rule_that_is_broken(row: tuple[object, ...], rule: str) -> None:
    schema = {"user": pl.Int64, "type": pl.String, "time": pl.Datetime("us", "UTC"), "a": pl.Float64}
    frame = pl.DataFrame([row], schema, orient="row")
    assert mapped(frame.to_dict(), {"amount": "a"})[REJECT].to_list() == [rule]


def test_each_rule_has_a_name_and_a_reason() -> None:
    assert len({rule.name for rule in REJECT_RULES}) == len(REJECT_RULES) == 9
    assert all(rule.reason for rule in REJECT_RULES)
