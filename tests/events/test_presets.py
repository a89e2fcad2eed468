from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.config import Config
from engine.config_file import load_config
from engine.config_presets import preset_names
from engine.events.convert import convert_files
from engine.events.files import find_files
from engine.events.mapping import stable_hash
from engine.events.read import scan, source_mapping
from engine.events.schema import REJECT_RULES

PRESETS = Path(__file__).parent / "presets"
TEN = datetime(2026, 1, 5, 10, tzinfo=UTC)
HASHED = {"event_id", "message_id", "link"}
Rows = Sequence[tuple[object, ...]]


def configuration(folder: Path, preset: str, path: Path | str, more: str = "") -> Config:
    file = folder / "tamis.toml"
    file.write_text(f"[[sources]]\nname = 'log'\npreset = '{preset}'\npath = '{path}'\n{more}", encoding="utf-8")
    return load_config(file).config


def canonical(config: Config, cache: Path, *names: str) -> Rows:
    """These canonical columns of every row, and the name of the rule that rejects it."""
    [source] = config.sources
    frames = []
    for file in convert_files(find_files(source.name, source.path, text=True), source, cache):
        rows = scan(str(file))
        mapping = source_mapping(source, rows, config.currency_digits)
        taken = [mapping.canonical.get(name, pl.lit(None)).alias(name) for name in names]
        frames.append(rows.select(*taken, reject=mapping.reject).collect())
    rules = ["", *(rule.name for rule in REJECT_RULES)]
    return [(*row[:-1], rules[row[-1]]) for frame in frames for row in frame.iter_rows()]


def hashed(names: Sequence[str], rows: Rows) -> Rows:
    """The rows with ids in the form in which they are kept."""
    texts = sorted({str(row[names.index(name)]) for row in rows for name in HASHED & set(names)})
    keys = pl.DataFrame({"x": texts}, {"x": pl.String}).select("x", key=stable_hash(pl.col("x")))
    key_of = dict(keys.iter_rows())
    return [
        tuple(
            key_of[str(value)] if name in HASHED and value is not None else value
            for name, value in zip([*names, "reject"], row, strict=True)
        )
        for row in rows
    ]


def check(tmp_path: Path, preset: str, names: str, expected: Rows) -> None:
    wanted = names.split()
    config = configuration(tmp_path, preset, PRESETS / f"{preset}.jsonl")
    assert canonical(config, tmp_path / "cache", *wanted) == hashed(wanted, expected)


def after(seconds: float) -> datetime:
    return TEN + timedelta(seconds=seconds)


def test_every_preset_is_tested() -> None:
    fixtures = {file.stem for file in PRESETS.glob("*.jsonl")}
    assert set(preset_names()) == fixtures | {"ga4"}


@pytest.mark.parametrize("preset", ["segment", "rudderstack"])
def test_tracks(tmp_path: Path, preset: str) -> None:
    expected = [
        ("u1", "a1", "view_item", after(2.5), "m1", ""),
        ("u1", "a1", "add_to_cart", after(10), "m2", ""),
        (None, "a2", "remove_from_cart", after(20), "m3", ""),
        ("u1", "a1", "purchase", after(30), "m4", ""),
        ("u1", "a1", "purchase", after(30), "m4", ""),
        ("u1", "a1", "refund", after(40), "m5", ""),
        ("u1", "a1", "email_click", after(41), "m6", ""),
        ("u1", "a1", "quiz_answered", after(42), "m7", ""),
        (None, None, "view_cart", after(43), "m8", "user_id_missing"),
    ]
    check(tmp_path, preset, "user_id anonymous_id event_type event_time event_id", expected)


def test_tracks_of_an_order(tmp_path: Path) -> None:
    order = {
        "id": "m1",
        "anonymous_id": "a",
        "user_id": "u",
        "event": "order_completed",
        "order_id": "o1",
        "total": 9.5,
    }
    times = dict.fromkeys(("received_at", "sent_at", "original_timestamp"), TEN)
    pl.DataFrame({**order, **times}).write_parquet(tmp_path / "order_completed.parquet")
    more = "[sources.columns]\nevent_id = 'order_id'\namount = 'total'\n"
    config = configuration(tmp_path, "segment", "order_completed.parquet", more)
    names = ["user_id", "event_type", "amount", "event_id"]
    assert canonical(config, tmp_path, *names) == hashed(names, [("u", "purchase", 950, "o1", "")])


def test_snowplow(tmp_path: Path) -> None:
    at = after(0.123)
    expected = [
        ("u1", "d1", "page_view", at, "e1", None, None, None, "https://shop.example/a?x=1", "spring", ""),
        (None, "d1", "page_ping", at, "e2", None, None, None, "https://shop.example/a", None, ""),
        ("u1", "d1", "add_to_cart", at, "e3", None, None, None, None, None, ""),
        ("u1", "d1", "newsletter_signup", at, "e4", None, None, None, None, None, ""),
        ("u1", "d1", "event", at, "e5", None, None, None, None, None, ""),
        ("u1", "d1", "purchase", at, "o1", 5990, None, None, None, None, ""),
        ("u1", "d1", "purchase", at, "e7", 500, None, None, None, None, ""),
        ("u1", "d1", "transaction_item", at, "e8", None, 2, "007", None, None, ""),
        (None, None, "page_view", at, "e9", None, None, None, None, None, "user_id_missing"),
        ("u1", "d1", "page_view", None, "e10", None, None, None, None, None, "event_time_missing"),
    ]
    names = "user_id anonymous_id event_type event_time event_id amount quantity item_id page campaign_id"
    check(tmp_path, "snowplow", names, expected)


def test_brevo(tmp_path: Path) -> None:
    ana, bob, a, b = "ana@example.com", "bob@example.com", "https://shop.example/a", "https://shop.example/b"
    expected = [
        (ana, "email_delivered", after(0), False, "12", "12", None, "email", ""),
        (ana, "email_delivered", after(0), False, "12", "12", None, "email", ""),
        (ana, "email_open", after(1), True, "12", "12", None, "email", ""),
        (ana, "email_open", after(60), False, "12", "12", None, "email", ""),
        (ana, "email_open", after(100), False, "12", "12", None, "email", ""),
        (ana, "email_click", after(120), False, "12", "12", a, "email", ""),
        (ana, "email_click", after(120), False, "12", "12", b, "email", ""),
        (bob, "email_bounce", after(0), False, "12", "12", None, "email", ""),
        (bob, "email_bounce", after(200), False, "12", "12", None, "email", ""),
        (ana, "email_complaint", after(300), False, "12", "12", None, "email", ""),
        (ana, "email_unsubscribe", after(301), False, "12", "12", None, "email", ""),
        (ana, "list_addition", after(302), False, None, None, None, "email", ""),
        (None, "email_delivered", after(0), False, "12", "12", None, "email", "user_id_missing"),
        (ana, "email_delivered", None, False, "12", "12", None, "email", "event_time_missing"),
    ]
    check(tmp_path, "brevo", "user_id event_type event_time machine campaign_id message_id link channel", expected)
    config = configuration(tmp_path, "brevo", PRESETS / "brevo.jsonl")
    ids = [row[0] for row in canonical(config, tmp_path / "cache", "event_id")]
    # A webhook sent twice is one event, two links clicked in one second are two.
    assert ids[0] == ids[1]
    assert len(set(ids[1:])) == len(ids) - 1
    assert None not in ids


def test_mailchimp(tmp_path: Path) -> None:
    expected = [
        ("mem1", "email_open", after(0), "c1", "c1", None, ""),
        ("mem1", "email_open", after(300), "c1", "c1", None, ""),
        ("mem1", "email_click", after(310), "c1", "c1", "https://shop.example/a", ""),
        ("mem2", "email_bounce", after(0), "c1", "c1", None, ""),
        ("mem3", "email_unsubscribe", after(0), "c1", "c1", None, ""),
        ("mem4", "email_complaint", after(0), "c1", "c1", None, ""),
        (None, "email_open", after(0), "c1", "c1", None, "user_id_missing"),
        ("mem5", "email_open", None, "c1", "c1", None, "event_time_missing"),
    ]
    check(tmp_path, "mailchimp", "user_id event_type event_time campaign_id message_id link", expected)


def test_sendgrid(tmp_path: Path) -> None:
    ana, message = "ana@example.com", "msg1.filter1"
    expected = [
        (ana, "email_send", after(0), "s1", False, message, None, ""),
        (ana, "email_delivered", after(0), "s2", False, message, None, ""),
        (ana, "email_deferred", after(0), "s3", False, message, None, ""),
        (ana, "email_open", after(1), "s4", True, message, None, ""),
        (ana, "email_open", after(100), "s5", False, message, None, ""),
        (ana, "email_click", after(120), "s6", False, message, "https://shop.example/a", ""),
        (ana, "email_click", after(120), "s6", False, message, "https://shop.example/a", ""),
        ("bob@example.com", "email_bounce", after(0), "s7", False, message, None, ""),
        ("eve@example.com", "email_dropped", after(0), "s8", False, message, None, ""),
        (ana, "email_complaint", after(0), "s9", False, message, None, ""),
        (ana, "email_unsubscribe", after(0), "s10", False, message, None, ""),
        (ana, "email_unsubscribe", after(0), "s11", False, message, None, ""),
        (ana, "group_resubscribe", after(0), "s12", False, message, None, ""),
        ("", "email_open", after(0), "s13", False, message, None, "user_id_missing"),
        (ana, "email_open", None, "s14", False, message, None, "event_time_missing"),
    ]
    check(tmp_path, "sendgrid", "user_id event_type event_time event_id machine message_id link", expected)


def test_sendgrid_without_opens_and_clicks(tmp_path: Path) -> None:
    lines = (PRESETS / "sendgrid.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "log.jsonl").write_text("\n".join(lines[:3]), encoding="utf-8")
    rows = canonical(configuration(tmp_path, "sendgrid", "log.jsonl"), tmp_path, "event_type", "machine", "link")
    assert rows == [(name, None, None, "") for name in ("email_send", "email_delivered", "email_deferred")]


# --- Google Analytics 4: nested columns, in the types of the export

PARAMETER = pa.struct(
    [
        ("string_value", pa.string()),
        ("int_value", pa.int64()),
        ("float_value", pa.float64()),
        ("double_value", pa.float64()),
    ]
)
GA4 = pa.schema(
    [
        ("event_date", pa.string()),
        ("event_timestamp", pa.int64()),
        ("event_name", pa.string()),
        ("event_params", pa.list_(pa.struct([("key", pa.string()), ("value", PARAMETER)]))),
        ("event_bundle_sequence_id", pa.int64()),
        ("user_id", pa.string()),
        ("user_pseudo_id", pa.string()),
        ("device", pa.struct([("category", pa.string()), ("web_info", pa.struct([("browser", pa.string())]))])),
        ("geo", pa.struct([("country", pa.string())])),
        ("traffic_source", pa.struct([("name", pa.string()), ("medium", pa.string()), ("source", pa.string())])),
        ("platform", pa.string()),
        (
            "ecommerce",
            pa.struct(
                [
                    ("total_item_quantity", pa.int64()),
                    ("purchase_revenue_in_usd", pa.float64()),
                    ("purchase_revenue", pa.float64()),
                    ("refund_value", pa.float64()),
                    ("transaction_id", pa.string()),
                ]
            ),
        ),
        (
            "items",
            pa.list_(
                pa.struct(
                    [
                        ("item_id", pa.string()),
                        ("item_category", pa.string()),
                        ("price", pa.float64()),
                        ("quantity", pa.int64()),
                        ("coupon", pa.string()),
                    ]
                )
            ),
        ),
    ]
)
TEN_US = 1_767_607_200_000_000


def ga4_event(name: str, seconds: int, user: str | None = "u1", **more: Any) -> dict[str, Any]:
    params = {"page_location": "https://shop.example/", "ga_session_id": 5, **more.pop("params", {})}
    return {
        "event_date": "20260105",
        "event_timestamp": TEN_US + seconds * 1_000_000,
        "event_name": name,
        "event_params": [
            {"key": key, "value": {"int_value" if isinstance(value, int) else "string_value": value}}
            for key, value in params.items()
        ],
        "user_id": user,
        "user_pseudo_id": "p1",
        "platform": "WEB",
        **more,
    }


GA4_ROWS = [
    ga4_event("page_view", 0, None, params={"medium": "email", "campaign": "spring"}),
    ga4_event("user_engagement", 1, params={"engagement_time_msec": 1500}),
    ga4_event("add_to_cart", 2, items=[{"item_id": "007", "item_category": "shoes"}, {"item_id": "8"}]),
    ga4_event(
        "purchase",
        3,
        ecommerce={"transaction_id": "t1", "purchase_revenue": 19.99, "total_item_quantity": 2},
        items=[{"item_id": "007", "item_category": "shoes", "coupon": "XMAS"}, {"item_id": "8"}],
    ),
    ga4_event("purchase", 4, ecommerce={"transaction_id": "(not set)", "purchase_revenue": 5.0}, items=[]),
    ga4_event("refund", 5, ecommerce={"transaction_id": "t1", "refund_value": 19.99}),
    ga4_event("begin_checkout", 6, ecommerce={"transaction_id": "t9", "purchase_revenue": 1.0}, event_params=None),
    {**ga4_event("page_view", 7, None), "user_pseudo_id": None},
]


def test_ga4(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(GA4_ROWS, GA4), tmp_path / "events_20260105.parquet")
    home = "https://shop.example/"
    expected = [
        (None, "p1", "page_view", after(0), None, None, None, None, None, home, "email", "spring", None, ""),
        ("u1", "p1", "user_engagement", after(1), None, None, None, 1500, None, home, None, None, None, ""),
        ("u1", "p1", "add_to_cart", after(2), None, None, None, None, "007", home, None, None, None, ""),
        ("u1", "p1", "purchase", after(3), "t1", 1999, 2, None, "007", home, None, None, "XMAS", ""),
        ("u1", "p1", "purchase", after(4), None, 500, None, None, None, home, None, None, None, ""),
        ("u1", "p1", "refund", after(5), "t1", 1999, None, None, None, home, None, None, None, ""),
        ("u1", "p1", "begin_checkout", after(6), None, None, None, None, None, None, None, None, None, ""),
        (None, None, "page_view", after(7), None, None, None, None, None, home, None, None, None, "user_id_missing"),
    ]
    names = (
        "user_id anonymous_id event_type event_time event_id amount quantity duration_ms item_id page channel "
        "campaign_id promotion"
    ).split()
    config = configuration(tmp_path, "ga4", "*.parquet")
    assert canonical(config, tmp_path, *names) == hashed(names, expected)
    assert (config.events.purchase, config.events.refund) == ("purchase", "refund")


def test_ga4_of_a_site_that_sells_nothing(tmp_path: Path) -> None:
    schema = pa.schema([field for field in GA4 if field.name not in {"ecommerce", "items"}])
    pq.write_table(pa.Table.from_pylist(GA4_ROWS, schema), tmp_path / "events.parquet")
    rows = canonical(configuration(tmp_path, "ga4", "events.parquet"), tmp_path, "event_type", "amount", "item_id")
    assert rows[3] == ("purchase", None, None, "")
