from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from engine.events.schema import TIME
from engine.events.text_types import LOCAL_TIME, as_type, from_json, storable, to_json, type_of_text, widen, widen_all


@pytest.mark.parametrize(
    ("texts", "expected", "values"),
    [
        (["1", "-20", "0", None], pl.Int64(), [1, -20, 0, None]),
        (["999999999999999999"], pl.Int64(), [999_999_999_999_999_999]),
        (["1", "2.50", "-0.5", "1.5e-3"], pl.Float64(), [1.0, 2.5, -0.5, 0.0015]),
        (["007", "8"], pl.String(), None),
        (["8", "007"], pl.String(), None),
        (["1234567890123456789"], pl.String(), None),
        (["+1"], pl.String(), None),
        (["-0"], pl.String(), None),
        (["12e4"], pl.String(), None),
        (["00.5"], pl.String(), None),
        (["1,5"], pl.String(), None),
        (["1 000"], pl.String(), None),
        ([" 1"], pl.String(), None),
        (["1\u0661"], pl.String(), None),
        (["nan"], pl.String(), None),
        (["1", ""], pl.String(), None),
        ([None, None], pl.Null(), None),
        ([], pl.Null(), None),
        (["2026-02-28", None], pl.Date(), [date(2026, 2, 28), None]),
        (["2026-02-30"], pl.String(), None),
        (["2026-2-3"], pl.String(), None),
        (["20260228"], pl.Int64(), [20_260_228]),
        (["2026-01-01 10:30", "2026-01-01 10:30:05"], LOCAL_TIME, [datetime(2026, 1, 1, 10, 30, s) for s in (0, 5)]),
        (["2026-01-01T10:30:05.123456789"], LOCAL_TIME, [datetime(2026, 1, 1, 10, 30, 5, 123_456)]),
        (["2026-01-01T10:30:05,5"], LOCAL_TIME, [datetime(2026, 1, 1, 10, 30, 5, 500_000)]),
        (["2026-01-01T25:00:00"], pl.String(), None),
        (["2026-01-01", "2026-01-01 10:30"], pl.String(), None),
        (["2026-01-01T10:30:05Z"], TIME, [datetime(2026, 1, 1, 10, 30, 5, tzinfo=UTC)]),
        (
            ["2026-01-01 10:30 UTC", "2026-01-01 10:30:05.1 UTC"],
            TIME,
            [datetime(2026, 1, 1, 10, 30, tzinfo=UTC), datetime(2026, 1, 1, 10, 30, 5, 100_000, UTC)],
        ),
        (
            ["2026-01-01T00:30+02:00", "2026-01-01T00:30:00-0330", "2026-01-01T00:30:00-00:30"],
            TIME,
            [
                datetime(2025, 12, 31, 22, 30, tzinfo=UTC),
                datetime(2026, 1, 1, 4, 0, tzinfo=UTC),
                datetime(2026, 1, 1, 1, 0, tzinfo=UTC),
            ],
        ),
        (["2026-01-01T10:30:05Z", "2026-01-01T10:30:05"], pl.String(), None),
        (["true", "false"], pl.String(), None),
    ],
)
def test_types_of_texts(texts: list[str | None], expected: pl.DataType, values: list[object] | None) -> None:
    series = pl.Series("x", texts, pl.String)
    assert type_of_text(series, numbers=True) == expected
    if values is not None:
        assert series.to_frame().select(as_type(pl.col("x"), expected))["x"].to_list() == values


def test_decimal_commas() -> None:
    series = pl.Series("x", ["1", "2,50", "-0,5"])
    assert type_of_text(series, numbers=True, decimal_comma=True) == pl.Float64
    done = series.to_frame().select(as_type(pl.col("x"), pl.Float64(), decimal_comma=True))
    assert done["x"].to_list() == [1.0, 2.5, -0.5]
    assert type_of_text(pl.Series(["1.5"]), numbers=True, decimal_comma=True) == pl.String


def test_a_day_among_times_is_its_midnight() -> None:
    done = pl.DataFrame({"x": ["2026-01-02", "2026-01-01 10:30"]}).select(as_type(pl.col("x"), LOCAL_TIME))
    assert done["x"].to_list() == [datetime(2026, 1, 2), datetime(2026, 1, 1, 10, 30)]


@pytest.mark.parametrize(("text", "expected"), [("5", pl.String()), ("2026-01-01", pl.Date())])
def test_formats_that_tell_numbers_from_text(text: str, expected: pl.DataType) -> None:
    assert type_of_text(pl.Series([text]), numbers=False) == expected


STRUCT = pl.Struct({"a": pl.Int64(), "b": pl.Null()})


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (pl.Int64(), pl.Null(), pl.Int64()),
        (pl.Int64(), pl.Float64(), pl.Float64()),
        (pl.Int64(), pl.Int128(), pl.String()),
        (pl.Int64(), pl.Boolean(), pl.String()),
        (pl.Date(), LOCAL_TIME, LOCAL_TIME),
        (pl.Date(), TIME, pl.String()),
        (LOCAL_TIME, TIME, pl.String()),
        (pl.Date(), pl.Int64(), pl.String()),
        (pl.List(pl.Null()), pl.List(pl.Int64()), pl.List(pl.Int64())),
        (pl.List(pl.Int64()), pl.String(), pl.String()),
        (
            STRUCT,
            pl.Struct({"b": pl.Int64(), "c": pl.Boolean()}),
            pl.Struct({"a": pl.Int64(), "b": pl.Int64(), "c": pl.Boolean()}),
        ),
        (STRUCT, pl.List(STRUCT), pl.String()),
    ],
)
def test_types_for_both(one: pl.DataType, other: pl.DataType, expected: pl.DataType) -> None:
    assert widen(one, other) == expected
    assert widen(one, one) == one
    widened = widen(other, one)
    # The order of the fields is that of the first.
    assert str(sorted(str(widened))) == str(sorted(str(expected)))


def test_columns_of_both() -> None:
    both = widen_all({"a": pl.Int64(), "b": pl.Null()}, {"c": pl.String(), "a": pl.Float64()})
    assert list(both.items()) == [("a", pl.Float64()), ("b", pl.Null()), ("c", pl.String())]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (pl.Int64(), pl.Int64()),
        (pl.Int128(), pl.String()),
        (pl.Struct({}), pl.Null()),
        (pl.Struct({"a": pl.Struct({})}), pl.Null()),
        (STRUCT, pl.Struct({"a": pl.Int64()})),
        (pl.List(pl.Null()), pl.List(pl.String())),
        (pl.List(STRUCT), pl.List(pl.Struct({"a": pl.Int64()}))),
    ],
)
def test_what_a_file_can_hold(dtype: pl.DataType, expected: pl.DataType) -> None:
    assert storable(dtype) == expected


def test_types_as_json() -> None:
    types = {"a": pl.List(STRUCT), "b": LOCAL_TIME, "c": TIME, "d": pl.Struct({}), "e": pl.Int128(), "f": pl.Null()}
    assert from_json(to_json(types)) == types
    with pytest.raises(KeyError):
        from_json({"a": "Int7"})
