from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events.duplicates import merge_repeats

SCHEMA = {
    "user_key": pl.UInt64,
    "user_id": pl.String,
    "source": pl.UInt16,
    "type": pl.UInt16,
    "day": pl.Int32,
    "time": pl.Int64,
    "event_id": pl.UInt64,
    "amount": pl.Int64,
    "quantity": pl.Int64,
    "category": pl.String,
}
Row = tuple[object, ...]
LINES = {1}


def row(  # noqa: PLR0917 - as many as an event has columns
    user: str = "u",
    source: int = 0,
    type_: int = 0,
    time: int = 0,
    event_id: int | None = 1,
    amount: int | None = None,
    quantity: int | None = None,
    category: str | None = None,
    key: int = 9,
) -> Row:
    return (key, user, source, type_, time // 10, time, event_id, amount, quantity, category)


def merged(rows: Sequence[Row]) -> tuple[list[Row], int, int]:
    result = merge_repeats(pl.DataFrame(rows, SCHEMA, orient="row"), LINES)
    assert result.events.schema == SCHEMA
    assert len(rows) == result.events.height + result.duplicates + result.lines
    return sorted(result.events.rows(), key=repr), result.duplicates, result.lines


@pytest.mark.parametrize(
    "other",
    [
        row("v"),
        row(source=2),
        row(type_=1),
        row(event_id=2),
        row(event_id=None),
    ],
)
def test_events_that_differ_in_their_key_stay_apart(other: Row) -> None:
    assert merged([row(), other]) == (sorted([row(), other], key=repr), 0, 0)
    assert merged([row(), row(), other])[1] == 1


def test_events_without_an_id_are_never_merged() -> None:
    rows = [row(event_id=None)] * 3 + [row(source=1, event_id=None, amount=5)] * 3
    assert merged(rows) == (sorted(rows, key=repr), 0, 0)


def test_users_that_share_a_key_stay_apart() -> None:
    rows = [row("u", key=5), row("v", key=5), row("v", key=5)]
    assert merged(rows) == ([row("u", key=5), row("v", key=5)], 1, 0)


def test_nothing_comes_of_nothing() -> None:
    assert merged([]) == ([], 0, 0)


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([row(time=7), row(time=3), row(time=5)], row(time=3)),
        ([row(amount=7), row(amount=3)], row(amount=3)),
        ([row(amount=7), row(amount=None)], row(amount=None)),
        ([row(time=3, amount=9), row(time=4, amount=1)], row(time=3, amount=9)),
        ([row(amount=1, category="b"), row(amount=1, category="a")], row(amount=1, category="a")),
    ],
)
def test_of_duplicates_the_earliest_is_kept(rows: list[Row], kept: Row) -> None:
    assert merged(rows) == ([kept], len(rows) - 1, 0)
    assert merged(rows[::-1]) == ([kept], len(rows) - 1, 0)


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        (
            [row(source=1, time=25, amount=5, quantity=2), row(source=1, time=13, amount=-7, quantity=1)],
            row(source=1, time=13, amount=-2, quantity=3),
        ),
        ([row(source=1, amount=5), row(source=1, amount=None)], row(source=1, amount=5)),
        ([row(source=1, amount=None), row(source=1, amount=None)], row(source=1, amount=None)),
        ([row(source=1, amount=0), row(source=1, amount=None)], row(source=1, amount=0)),
        (
            [row(source=1, category="b"), row(source=1, category=None), row(source=1, category="a")],
            row(source=1, category="a"),
        ),
        ([row(source=1, amount=2)] * 3, row(source=1, amount=6)),
    ],
)
def test_lines_of_an_order_are_summed(rows: list[Row], order: Row) -> None:
    assert merged(rows) == ([order], 0, len(rows) - 1)


rows_of_a_log = st.lists(
    st.builds(
        row,
        user=st.sampled_from("uv"),
        source=st.sampled_from([0, 1, 2]),
        type_=st.integers(0, 1),
        time=st.integers(-25, 25),
        event_id=st.none() | st.integers(1, 4),
        amount=st.none() | st.integers(-3, 3),
        quantity=st.none() | st.integers(0, 2),
        category=st.none() | st.sampled_from("ab"),
        key=st.sampled_from([0, 2**64 - 1]),
    ),
    max_size=40,
)


def expected(rows: Sequence[Row]) -> list[Row]:
    """Each event once, the slow way: `time` comes before the other columns, and null before any value."""
    names = list(SCHEMA)
    groups: dict[object, list[dict[str, object]]] = defaultdict(list)
    for number, values in enumerate(rows):
        one = dict(zip(names, values, strict=True))
        unique = number if one["event_id"] is None else None
        key = (one["source"], one["type"], one["user_key"], one["user_id"], one["event_id"], unique)
        groups[key].append(one)
    result = []
    for group in groups.values():
        if group[0]["source"] in LINES and len(group) > 1:
            one = {name: min(known) if (known := _known(group, name)) else None for name in names}
            for name in ("amount", "quantity"):
                one[name] = sum(known) if (known := _known(group, name)) else None
        else:
            order = ("time", *(name for name in names if name != "time"))
            one = min(group, key=lambda line: [(line[name] is not None, line[name] or 0) for name in order])
        result.append(tuple(one[name] for name in names))
    return sorted(result, key=repr)


def _known(group: Sequence[dict[str, object]], name: str) -> list[int]:
    return [line[name] for line in group if line[name] is not None]  # type: ignore[misc]


@given(rows_of_a_log, st.randoms(use_true_random=False))
def test_what_is_kept_does_not_depend_on_the_order(rows: list[Row], rng: random.Random) -> None:
    shuffled = rng.sample(rows, len(rows))
    events, duplicates, lines = merged(shuffled)
    assert events == expected(rows)
    assert (events, duplicates, lines) == merged(rows)


@given(rows_of_a_log)
def test_events_come_once_also_the_second_time(rows: list[Row]) -> None:
    events, _, _ = merged(rows)
    assert merged(events) == (events, 0, 0)
