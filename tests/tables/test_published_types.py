from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.errors import DataError
from engine.tables.published_types import as_published, published_dtype, published_schema

WIDER = [
    (pl.Int8(), pl.Int32()),
    (pl.Int16(), pl.Int32()),
    (pl.UInt8(), pl.Int32()),
    (pl.UInt16(), pl.Int32()),
    (pl.UInt32(), pl.Int64()),
    (pl.UInt64(), pl.Int64()),
    (pl.Int128(), pl.Int64()),
    (pl.Categorical(), pl.String()),
    (pl.Enum(["a"]), pl.String()),
    (pl.Null(), pl.String()),
    (pl.Duration("ms"), pl.Int64()),
    (pl.Datetime("ns"), pl.Datetime("us")),
    (pl.Datetime("ms", "Europe/Paris"), pl.Datetime("us", "UTC")),
    (pl.List(pl.UInt8()), pl.List(pl.Int32())),
]
KEPT = [pl.Int32(), pl.Int64(), pl.Float32(), pl.Float64(), pl.Boolean(), pl.String(), pl.Date(), pl.List(pl.String())]


@pytest.mark.parametrize(("dtype", "published"), [*WIDER, *((dtype, dtype) for dtype in KEPT)])
def test_types(dtype: pl.DataType, published: pl.DataType) -> None:
    assert published_dtype(dtype) == published == published_dtype(published)
    assert published_schema({"x": dtype}) == {"x": published}
    assert as_published(pl.DataFrame(schema={"x": dtype})).schema == {"x": published}


def test_times_of_day_are_cut_to_microseconds() -> None:
    frame = pl.DataFrame({"hour": pl.Series([123_456_789, 86_399_999_999_999, None], dtype=pl.Int64).cast(pl.Time)})
    assert as_published(frame)["hour"].cast(pl.Int64).to_list() == [123_456_000, 86_399_999_999_000, None]


def test_values_stay_what_they_are() -> None:
    paris = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris"))
    frame = pl.DataFrame(
        {
            "small": pl.Series([-128, None], dtype=pl.Int8),
            "large": pl.Series([2**63 - 1, None], dtype=pl.UInt64),
            "name": pl.Series(["é", None], dtype=pl.Categorical),
            "at": pl.Series([paris, None], dtype=pl.Datetime("ms", "Europe/Paris")),
            "took": [timedelta(seconds=2), None],
            "day": [date(2024, 2, 29), None],
        }
    )
    expected = pl.DataFrame(
        {
            "small": pl.Series([-128, None], dtype=pl.Int32),
            "large": [2**63 - 1, None],
            "name": ["é", None],
            "at": pl.Series([datetime(2024, 7, 1, 10, tzinfo=UTC), None], dtype=pl.Datetime("us", "UTC")),
            "took": [2_000_000, None],
            "day": [date(2024, 2, 29), None],
        }
    )
    assert_frame_equal(as_published(frame), expected)
    assert as_published(expected) is expected


@pytest.mark.parametrize("dtype", [pl.UInt64, pl.Int128])
def test_numbers_that_no_warehouse_reads(dtype: pl.DataType) -> None:
    with pytest.raises(DataError, match="serial") as caught:
        as_published(pl.DataFrame({"serial": pl.Series([1, 2**63], dtype=dtype), "fine": [1, 2]}))
    assert caught.value.code == "published-number"
    assert "9223372036854775808" not in caught.value.message
