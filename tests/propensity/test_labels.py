from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Columns, Config, Model, Source, Target
from engine.errors import ConfigError, DataError
from engine.propensity.labels import (
    Anchors,
    all_anchors,
    anchors,
    labels_of,
    positives,
    split_anchors,
    target_condition,
)
from engine.rollups.bucket import load_bucket
from engine.rollups.ranges import key_ranges
from engine.stages.features import target_positions, wanted_of
from tests.features.logs import rolled, spec_of

ANCHOR = 100
BUYS = Target(name="buys", event="purchase", horizon_days=7)
EVENTS = {
    "user": pl.Int64,
    "type": pl.String,
    "day": pl.Int32,
    "amount": pl.Int64,
    "quantity": pl.Int64,
    "channel": pl.String,
}
DAILY = {"user": pl.UInt32, "type": pl.UInt16, "day": pl.Int32, "events": pl.Int64}
SPEC = spec_of(("visit", "purchase"))


def daily_of(*rows: dict[str, int]) -> pl.DataFrame:
    return pl.DataFrame([{"user": 0, "type": 1, "day": ANCHOR, "events": 1, **row} for row in rows], DAILY)


@pytest.mark.parametrize(
    ("day", "counts"), [(99, False), (100, True), (101, True), (106, True), (107, False), (0, False), (10_000, False)]
)
def test_the_window_begins_at_the_anchor_and_ends_before_the_horizon(day: int, counts: bool) -> None:
    assert positives(daily_of({"day": day}), BUYS, 1, ANCHOR).to_list() == ([0] if counts else [])


def test_a_user_is_listed_once_and_other_types_do_not_count() -> None:
    daily = daily_of(
        {"user": 3}, {"user": 3}, {"user": 1, "day": 105}, {"user": 2, "type": 0}, {"user": 4, "events": 0}
    )
    found = positives(daily, BUYS, 1, ANCHOR)
    assert found.to_list() == [1, 3]
    assert found.dtype == pl.UInt32


def who(rows: list[dict[str, Any]], target: Target, digits: int = 2) -> list[int]:
    """The users with a positive label, from the events of a log on."""
    usual = {"user": 0, "type": "purchase", "day": ANCHOR, "amount": None, "quantity": None, "channel": None}
    frame = pl.DataFrame([{**usual, **row} for row in rows], EVENTS)
    columns = {"user_id": "user", "event_type": "type", "event_time": "day", "amount": "amount"}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "log.parquet")
        major = pl.col("amount") / 10**digits
        frame.with_columns(major, pl.col("day").cast(pl.Date)).write_parquet(file)
        source = Source(name="log", path=str(file), columns=Columns(**columns, quantity="quantity", channel="channel"))
        config = Config(sources=(source,), currency_digits=digits)
        bucket = load_bucket(rolled(config, wanted_of(SPEC, [target]), Path(name, "store")), key_ranges(1)[0])
    [code] = target_positions(SPEC, [target])
    return bucket.users["user_id"].gather(positives(bucket.daily, target, code, ANCHOR)).to_list()


@pytest.mark.parametrize(
    ("where", "row", "counts"),
    [
        ("amount >= 50", {"amount": 5_000}, True),
        ("amount >= 50", {"amount": 4_999}, False),
        ("amount >= 50", {"amount": None}, False),
        ("NOT (amount >= 50)", {"amount": None}, False),
        ("amount IS NULL", {"amount": None}, True),
        ("amount IS NULL", {"amount": 1}, False),
        # 57 × 0.01 is more than 0.57, 57 / 100 is not.
        ("amount = 0.57", {"amount": 57}, True),
        ("amount <= 0.57", {"amount": 57}, True),
        ("amount < 0", {"amount": -1}, True),
        ("amount > 1 AND channel = 'e-mail'", {"amount": 101, "channel": "e-mail"}, True),
        ("amount > 1 AND channel = 'e-mail'", {"amount": 101, "channel": None}, False),
        ("quantity BETWEEN 2 AND 3", {"quantity": 3}, True),
        ("channel IN ('web', 'app')", {"channel": "app"}, True),
        ("channel = 'Île'", {"channel": "Île"}, True),
    ],
)
def test_a_condition_speaks_of_major_units_and_is_false_where_it_is_unknown(
    where: str, row: dict[str, Any], counts: bool
) -> None:
    target = Target(name="t", event="purchase", horizon_days=7, where=where)
    assert who([row], target) == ([0] if counts else [])


@pytest.mark.parametrize(("digits", "minor"), [(0, 50), (2, 5_000), (3, 50_000)])
def test_major_units_follow_the_currency(digits: int, minor: int) -> None:
    target = Target(name="t", event="purchase", horizon_days=7, where="amount >= 50")
    assert who([{"amount": minor}], target, digits) == [0]
    assert who([{"amount": minor - 1}], target, digits) == []


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(["visit", "purchase"]),
            st.integers(90, 115),
            st.none() | st.integers(-10_000, 10_000),
        ),
        min_size=1,
        max_size=30,
    ),
    horizon=st.integers(1, 12),
    limit=st.integers(-100, 100),
)
@settings(max_examples=50)
def test_labels_equal_a_walk_over_plain_python_events(
    rows: list[tuple[int, str, int, int | None]], horizon: int, limit: int
) -> None:
    target = Target(name="t", event="purchase", horizon_days=horizon, where=f"amount >= {limit / 4}")
    events = [dict(zip(("user", "type", "day", "amount"), row, strict=True)) for row in rows]
    expected = {
        user
        for user, kind, day, amount in rows
        if kind == "purchase" and ANCHOR <= day < ANCHOR + horizon and amount is not None and amount / 100 >= limit / 4
    }
    assert who(events, target) == sorted(expected)


@pytest.mark.parametrize(
    ("where", "columns"),
    [
        (None, ()),
        ("amount >= 50", ("amount",)),
        ("channel = 'web' AND quantity > 1 AND channel <> 'x'", ("channel", "quantity")),
    ],
)
def test_the_columns_that_a_condition_reads(where: str | None, columns: tuple[str, ...]) -> None:
    assert target_condition(Target(name="t", event="e", where=where))[1] == columns


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("amuont >= 50", "amount"),
        ("amount", "Float64"),
        ("amount >=", ""),
        ("event_time > 5", "event_time"),
        ("random() > 0.5", ""),
        ("sum(amount) > 5", ""),
        ("channel > 5", ""),
    ],
)
def test_what_is_no_condition_over_an_event_is_refused(where: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        target_condition(Target(name="big", event="e", where=where))
    assert caught.value.code == "target-where"
    assert "targets.big.where" in caught.value.message
    assert where in caught.value.message
    assert named in caught.value.message
    assert "duration_ms" in caught.value.hint


def test_labels_are_given_in_the_order_asked_for_and_to_users_without_rows() -> None:
    daily = daily_of({"user": 3}, {"user": 1, "day": 105}, {"user": 2, "type": 0})
    users = pl.Series([4, 3, 2, 1, 0], dtype=pl.UInt32)
    came = labels_of(users, daily, BUYS, 1, ANCHOR)
    assert came.to_list() == [False, True, False, True, False]
    assert came.name == "label"
    gone = labels_of(users, daily, BUYS.model_copy(update={"absent": True}), 1, ANCHOR)
    assert gone.to_list() == [True, False, True, False, True]
    assert came.dtype == gone.dtype == pl.Boolean


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(80, 130), st.integers(0, 2)), max_size=40
    ),
    horizon=st.integers(1, 30),
    anchor=st.integers(85, 125),
    absent=st.booleans(),
)
def test_labels_equal_a_walk_over_the_days_of_the_window(
    rows: list[tuple[int, int, int, int]], horizon: int, anchor: int, absent: bool
) -> None:
    daily = pl.DataFrame(rows, DAILY, orient="row")
    target = Target(name="t", event="purchase", horizon_days=horizon, absent=absent)
    users = pl.Series(range(6), dtype=pl.UInt32)
    for code in (0, 1):
        expected = []
        for user in range(6):
            came = any(
                (user, code, day, events) in rows for day in range(anchor, anchor + horizon) for events in (1, 2)
            )
            expected.append(came != absent)
        assert labels_of(users, daily, target, code, anchor).to_list() == expected


def wanted(train: int, valid: int = 1, test: int = 1) -> Model:
    return Model(train_anchors=train, valid_anchors=valid, test_anchors=test)


def test_anchors_are_a_horizon_apart_and_the_last_label_window_ends_at_as_of() -> None:
    assert anchors(BUYS, 100, wanted(2)) == (93, 86, 79, 72)
    spans = [(anchor, anchor + BUYS.horizon_days) for anchor in anchors(BUYS, 100, wanted(2))]
    assert spans[0][1] == 100
    assert all(later[0] == earlier[1] for later, earlier in itertools.pairwise(spans))


def test_all_anchors_are_those_of_every_target() -> None:
    longer = Target(name="longer", event="purchase", horizon_days=14)
    assert all_anchors((BUYS, longer), 100, wanted(1)) == (58, 72, 79, 86, 93)
    assert all_anchors((), 100, wanted(6)) == ()


@pytest.mark.parametrize(
    ("days", "settings_", "expected"),
    [
        ((90, 80, 70, 60, 50), wanted(3), Anchors((90,), (80,), (70, 60, 50), "dates")),
        ((90, 80, 70, 60, 50), wanted(1, 2, 2), Anchors((90, 80), (70, 60), (50,), "dates")),
        # Too few for all: one of each, and the later kinds first.
        ((90, 80, 70, 60), wanted(6, 2, 2), Anchors((90, 80), (70,), (60,), "dates")),
        ((90, 80, 70), wanted(6, 3, 3), Anchors((90,), (80,), (70,), "dates")),
        ((90, 80, 70), wanted(6), Anchors((90,), (80,), (70,), "dates")),
        ((90, 80), wanted(6), Anchors((90,), (80,), (80,), "users")),
        # More than wanted are left alone.
        ((90, 80, 70, 60), wanted(1), Anchors((90,), (80,), (70,), "dates")),
    ],
)
def test_the_latest_days_test_and_the_earliest_train(
    days: tuple[int, ...], settings_: Model, expected: Anchors
) -> None:
    assert split_anchors(days, settings_) == expected


@pytest.mark.parametrize("days", [(), (90,)])
def test_a_model_needs_two_days(days: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=f"{len(days)} of the 2 anchor days") as caught:
        split_anchors(days, wanted(6))
    assert caught.value.code == "history-too-short"


@given(days=st.integers(2, 40), train=st.integers(1, 9), valid=st.integers(1, 9), test=st.integers(1, 9))
def test_no_day_is_of_two_kinds_and_none_is_without_days(days: int, train: int, valid: int, test: int) -> None:
    available = tuple(range(1000, 1000 - days, -1))
    split = split_anchors(available, wanted(train, valid, test))
    kinds = (split.test, split.valid, split.train)
    assert all(kinds)
    assert all(len(kind) <= most for kind, most in zip(kinds, (test, valid, train), strict=True))
    if split.apart == "dates":
        assert (*split.test, *split.valid, *split.train) == available[: sum(map(len, kinds))]
    else:
        assert days == 2
        assert split.valid == split.train
