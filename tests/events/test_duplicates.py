from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.events.duplicates import Merged, event_ids, merge_repeats

SCHEMA = {
    "user_key": pl.UInt64,
    "check": pl.UInt32,
    "type": pl.UInt16,
    "day": pl.Int32,
    "time": pl.Int64,
    "event_id": pl.UInt64,
    "amount": pl.Int64,
    "quantity": pl.Int64,
    "category": pl.String,
}
NAMES = list(SCHEMA)
Row = tuple[object, ...]


def row(
    user: int = 9,
    type_: int = 0,
    time: int = 0,
    event_id: int | None = 1,
    amount: int | None = None,
    quantity: int | None = None,
    category: str | None = None,
    check: int = 5,
) -> Row:
    return (user, check, type_, time // 10, time, event_id, amount, quantity, category)


def frame_of(rows: Sequence[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, SCHEMA, orient="row")


def merge(rows: Sequence[Row], before: Sequence[Sequence[Row]] = (), *, lines: bool = False) -> Merged:
    known = [event_ids(frame_of(unit), lines=lines) for unit in before]
    merged = merge_repeats(frame_of(rows), lines=lines, before=known)
    assert dict(merged.events.schema) == {**SCHEMA, "n": pl.Int64}
    assert merged.lines.schema == merged.events.schema
    dropped = merged.dropped
    assert len(rows) == merged.events["n"].sum() + dropped["duplicates"].sum() + dropped["lines"].sum()
    assert_frame_equal(merged.ids, event_ids(frame_of(rows), lines=lines))
    assert merged.ids["id"].is_sorted()
    assert merged.ids["id"].is_unique().all()
    return merged


def events(merged: Merged) -> list[Row]:
    """The events that are new, and what later lines add to others, told apart by the last value."""
    return sorted(merged.events.rows(), key=repr)


def kept(rows: Sequence[Row], n: int = 1) -> list[Row]:
    return sorted([(*one, n) for one in rows], key=repr)


OTHERS = [row(8), row(type_=1), row(event_id=2), row(event_id=None), row(check=6)]


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("other", OTHERS)
def test_rows_that_differ_in_their_key_stay_apart(other: Row, *, lines: bool) -> None:
    assert events(merge([row(), other], lines=lines)) == kept([row(), other])
    assert events(merge([other], [[row()]], lines=lines)) == kept([other])
    assert merge([row(), row(), other], lines=lines).dropped.select("duplicates", "lines").sum().row(0) == (
        (0, 1) if lines else (1, 0)
    )


@pytest.mark.parametrize("lines", [False, True])
def test_events_without_an_id_are_never_merged(lines: bool) -> None:
    rows = [row(event_id=None)] * 3 + [row(event_id=None, amount=5)] * 3
    merged = merge(rows, [rows], lines=lines)
    assert events(merged) == kept(rows)
    assert merged.ids.is_empty()


@pytest.mark.parametrize("lines", [False, True])
def test_nothing_comes_of_nothing(lines: bool) -> None:
    merged = merge([], [[row()]], lines=lines)
    assert (merged.events.height, merged.lines.height, merged.dropped.height) == (0, 0, 0)


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        ([row(time=7), row(time=3), row(time=5)], row(time=3)),
        ([row(amount=7), row(amount=3)], row(amount=3)),
        ([row(amount=7), row(amount=None)], row(amount=None)),
        ([row(time=3, amount=9), row(time=4, amount=1)], row(time=3, amount=9)),
        ([row(amount=1, category="b"), row(amount=1, category="a")], row(amount=1, category="a")),
    ],
)
def test_of_duplicates_the_earliest_is_kept(rows: list[Row], first: Row) -> None:
    for given_ in (rows, rows[::-1]):
        merged = merge(given_)
        assert events(merged) == kept([first])
        assert merged.lines.equals(merged.events)
        assert merged.dropped["duplicates"].sum() == len(rows) - 1


def test_dropped_rows_are_counted_on_their_own_day() -> None:
    merged = merge(
        [row(time=0), row(time=25), row(time=25), row(type_=1, time=31, event_id=4)], [[row(event_id=4, type_=1)]]
    )
    assert merged.dropped.rows() == [(0, 2, 2, 0), (1, 3, 1, 0)]


@pytest.mark.parametrize("units", [[[row(time=-99)]], [[], [row(8)], [row()]], [[row()], [row()]]])
def test_an_event_of_a_unit_before_is_dropped(units: list[list[Row]]) -> None:
    new = [row(event_id=2), row(event_id=None)]
    merged = merge([row(time=5), row(time=6, amount=1), *new], units)
    assert events(merged) == kept(new)
    assert merged.dropped["duplicates"].sum() == 2
    # It is known to the units to come all the same: they may not look back as far.
    assert merged.ids.height == 2


# --------------------------------------------------------------------------------------------------------------- lines


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        (
            [row(time=25, amount=5, quantity=2), row(time=13, amount=-7, quantity=1)],
            row(time=13, amount=-2, quantity=3),
        ),
        ([row(amount=5), row(amount=None)], row(amount=5)),
        ([row(amount=None), row(amount=None)], row(amount=None)),
        ([row(amount=0), row(amount=None)], row(amount=0)),
        ([row(category="b"), row(category=None), row(category="a")], row(category="a")),
        ([row(amount=2)] * 3, row(amount=6)),
    ],
)
def test_lines_of_an_order_are_summed(rows: list[Row], order: Row) -> None:
    merged = merge(rows, lines=True)
    assert events(merged) == kept([order])
    assert merged.dropped.select("duplicates", "lines").row(0) == (0, len(rows) - 1)


def test_single_lines_have_the_time_of_their_order() -> None:
    merged = merge([row(time=25, amount=5), row(time=13, amount=7), row(event_id=2, amount=1)], lines=True)
    single = merged.lines.select("event_id", "day", "time", "amount", "n").sort("event_id", "amount")
    assert single.rows() == [(1, 1, 13, 5, 1), (1, 1, 13, 7, 0), (2, 0, 0, 1, 1)]


def test_later_lines_add_to_the_day_on_which_their_order_began() -> None:
    merged = merge(
        [row(time=45, amount=5), row(time=41, amount=6)], [[row(time=31)], [row(time=22), row(time=25)]], lines=True
    )
    assert events(merged) == kept([row(time=22, amount=11)], 0)
    assert merged.dropped.rows() == [(0, 2, 0, 2)]
    assert merged.lines["n"].to_list() == [0, 0]
    assert merged.lines["time"].to_list() == [22, 22]


def test_an_order_that_came_before_its_first_line_begins_with_it() -> None:
    merged = merge([row(time=3, amount=1)], [[row(time=31)]], lines=True)
    assert events(merged) == kept([row(time=3, amount=1)], 0)


# -------------------------------------------------------------------------------------------------------------- oracle

rows_of_a_log = st.lists(
    st.builds(
        row,
        st.sampled_from([0, 9, 2**64 - 1]),
        st.integers(0, 1),
        st.integers(-25, 25),
        st.none() | st.integers(1, 4),
        st.none() | st.integers(-3, 3),
        st.none() | st.integers(0, 2),
        st.none() | st.sampled_from("ab"),
        st.sampled_from([0, 2**32 - 1]),
    ),
    max_size=40,
)


def expected(rows: Sequence[Row], before: Sequence[Row], *, lines: bool) -> list[Row]:
    """Each event once, the slow way: `time` comes before the other columns, and null before any value."""
    groups: dict[object, list[dict[str, object]]] = defaultdict(list)
    for number, values in enumerate(rows):
        one = dict(zip(NAMES, values, strict=True))
        groups[_key(one), number if one["event_id"] is None else None].append(one)
    known: dict[object, list[dict[str, object]]] = defaultdict(list)
    for values in before:
        one = dict(zip(NAMES, values, strict=True))
        if one["event_id"] is not None:
            known[_key(one)].append(one)
    result = []
    for (key, _), group in groups.items():
        if lines and group[0]["event_id"] is not None:
            one = {name: min(there) if (there := _there(group, name)) else None for name in NAMES}
            for name in ("amount", "quantity"):
                one[name] = sum(there) if (there := _there(group, name)) else None
            for name in ("day", "time"):
                one[name] = min(_there([*group, *known[key]], name))
            result.append((*one.values(), 0 if known[key] else 1))
        elif not known[key]:
            order = ("time", *(name for name in NAMES if name != "time"))
            one = min(group, key=lambda line: [(line[name] is not None, line[name] or 0) for name in order])
            result.append((*one.values(), 1))
    return sorted(result, key=repr)


def _key(one: dict[str, object]) -> object:
    return one["type"], one["user_key"], one["check"], one["event_id"]


def _there(group: Sequence[dict[str, object]], name: str) -> list[int]:
    return [line[name] for line in group if line[name] is not None]  # type: ignore[misc]


@given(rows_of_a_log, rows_of_a_log, rows_of_a_log, st.booleans(), st.randoms(use_true_random=False))
def test_what_is_kept_does_not_depend_on_the_order(
    rows: list[Row], first: list[Row], second: list[Row], lines: bool, rng: random.Random
) -> None:
    merged = merge(rng.sample(rows, len(rows)), [rng.sample(first, len(first)), second], lines=lines)
    assert events(merged) == expected(rows, [*first, *second], lines=lines)
    again = merge(rows, [second, first], lines=lines)
    assert events(merged) == events(again)
    assert merged.dropped.equals(again.dropped)
    assert sorted(merged.lines.rows(), key=repr) == sorted(again.lines.rows(), key=repr)


@given(rows_of_a_log)
def test_events_come_once_also_the_second_time(rows: list[Row]) -> None:
    merged = merge(rows)
    once = [one[:-1] for one in events(merged)]
    assert events(merge(once)) == kept(once)
    assert all(one[NAMES.index("event_id")] is None for one in events(merge(rows, [once])))
