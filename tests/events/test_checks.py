from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.config import Checks, DerivedType, Engagement, Events, Features, Target
from engine.errors import ConfigError, DataError, IntegrityError
from engine.events.checks import (
    check_all_read,
    check_rejects,
    check_some_passed,
    check_types,
    missing_types,
    rows_read,
)
from engine.events.record import IngestRecord, RejectExample, TypeCount
from tests.events.logs import config, source

# --- event types

TYPES = IngestRecord(
    types=(TypeCount("log", "buy", 1200, 0, 0), TypeCount("log", "sent", 35, 0, 5), TypeCount("log", "new", 2, 0, 2))
)


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
        (
            {"events": Events(types=("buy",), click="buyy")},
            "  events.click: 'buyy' is not listed in events.types (did you mean 'buy'?)",
        ),
        ({"events": Events(open="new")}, "  events.open: every row of the event type 'new' is at or after as_of"),
    ],
)
def test_types_of_the_configuration_that_the_data_does_not_have(fields: dict[str, Any], problem: str) -> None:
    named = config(source("x"), **fields)
    with pytest.raises(ConfigError) as caught:
        check_types(named, TYPES, named.events.types or ("buy", "sent"))
    assert caught.value.code == "event-type-unknown"
    assert caught.value.message.splitlines()[1:] == [problem]
    assert caught.value.hint == "Before as_of the data has: buy (1,200), sent (30)."


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
    assert empty.value.hint == "Before as_of the data has: no event at all."


def test_a_log_of_the_future_is_not_blamed_on_the_names() -> None:
    check_types(config(source("x"), events=Events(purchase="buy")), IngestRecord(types=TYPES.types[2:]), ())


def test_types_that_are_there_pass() -> None:
    check_types(config(source("x"), events=Events(types=("sent", "buy"), purchase="buy")), TYPES, ("sent", "buy"))


def test_types_without_a_row() -> None:
    assert missing_types(TYPES, ("sent", "zzz", "buy", "new", "aaa")) == ("aaa", "new", "zzz")


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


def test_rows_are_counted_over_all_sources() -> None:
    assert rows_read(IngestRecord(read={"log": 7, "mail": 3})) == 10
    assert rows_read(IngestRecord()) == 0


def test_an_event_type_that_is_made_from_another_need_not_be_in_the_log() -> None:
    derived = Features(events=(DerivedType(name="big", event="buy", where="amount > 5"),))
    named = config(source("x"), features=derived, targets=(Target(name="t", event="big"),))
    check_types(named, TYPES, ("buy", "sent"))


@pytest.mark.parametrize(
    ("total", "types", "stops"),
    [
        (TYPES, ("buy",), False),
        (TYPES, ("zzz", "sent"), False),
        (TYPES, ("new", "zzz"), True),
        (TYPES, (), True),
        (IngestRecord(types=TYPES.types[2:]), ("new",), True),
    ],
)
def test_some_event_must_be_before_as_of(total: IngestRecord, types: tuple[str, ...], stops: bool) -> None:
    total = replace(total, read={"log": 9}, left_out=1, excluded=2, after_as_of=3, rejected={("log", "r"): 1})
    if not stops:
        check_some_passed(total, types)
        return
    with pytest.raises(DataError) as caught:
        check_some_passed(total, types)
    assert caught.value.code == "events-empty"
    assert caught.value.message == (
        "no event before as_of: 9 rows were read, 3 left out, 1 rejected, 3 at or after as_of"
    )


def test_every_row_of_the_footers_must_be_read() -> None:
    total = IngestRecord(read={"log": 5, "mail": 3})
    check_all_read(total, 8)
    for expected in (7, 9):
        with pytest.raises(IntegrityError, match=f"8 rows were read; the footers of the files promised {expected}"):
            check_all_read(total, expected)
