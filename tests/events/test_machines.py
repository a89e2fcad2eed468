from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events.machines import machine_type, mark_machines, split_types

SECOND = 1_000_000
SCHEMA = {
    "user_key": pl.UInt64,
    "event_type": pl.String,
    "event_time": pl.Int64,
    "message_id": pl.UInt64,
    "link": pl.UInt64,
    "machine": pl.Boolean,
}
Row = tuple[int, str, int, int | None, int | None, bool]


def frame(rows: Sequence[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, SCHEMA, orient="row")


def marked(rows: Sequence[Row], **limits: Any) -> list[bool]:
    roles = {"send": "send", "open": "open", "click": "click"}
    off = {"open_within_seconds": 0, "burst_links": 0, "burst_seconds": 10}
    before = frame(rows)
    after = mark_machines(before, **{**roles, **off, **limits})
    assert after.drop("machine").equals(before.drop("machine"))
    assert after.schema == before.schema
    return after["machine"].to_list()


def expected(rows: Sequence[Row], within: int, links: int, burst: int) -> list[bool]:
    def soon(row: Row) -> bool:
        user, kind, time, message, _, _ = row
        return (
            within > 0
            and kind in {"open", "click"}
            and message is not None
            and any(
                (other[0], other[1], other[3]) == (user, "send", message) and 0 <= time - other[2] <= within * SECOND
                for other in rows
            )
        )

    def in_burst(row: Row) -> bool:
        user, kind, time, message, _, _ = row
        if not links or kind != "click" or message is None:
            return False
        clicks = [other for other in rows if (other[0], other[1], other[3]) == (user, "click", message)]
        for begin in {other[2] for other in clicks}:
            span = [other for other in clicks if begin <= other[2] <= begin + burst * SECOND]
            distinct = {other[4] for other in span} - {None}
            if len(distinct) >= links and begin <= time <= begin + burst * SECOND:
                return True
        return False

    return [row[5] or soon(row) or in_burst(row) for row in rows]


ROWS = st.lists(
    st.tuples(
        st.integers(1, 2),
        st.sampled_from(["send", "open", "click", "click", "buy"]),
        st.one_of(st.integers(0, 8).map(lambda second: second * SECOND), st.integers(0, 3 * SECOND)),
        st.one_of(st.none(), st.integers(1, 2)),
        st.one_of(st.none(), st.integers(1, 4)),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=25,
)


@given(ROWS, st.integers(0, 3), st.sampled_from([0, 2, 3, 4]), st.integers(0, 3))
def test_as_every_pair_and_every_span_says(rows: list[Row], within: int, links: int, burst: int) -> None:
    found = marked(rows, open_within_seconds=within, burst_links=links, burst_seconds=burst)
    assert found == expected(rows, within, links, burst)


@pytest.mark.parametrize(
    ("after", "machine"), [(0, True), (1, True), (2 * SECOND, True), (2 * SECOND + 1, False), (-1, False)]
)
@pytest.mark.parametrize("kind", ["open", "click"])
def test_touches_soon_after_the_send(kind: str, after: int, machine: bool) -> None:
    rows: list[Row] = [(1, "send", 50, 7, None, False), (1, kind, 50 + after, 7, None, False)]
    assert marked(rows, open_within_seconds=2) == [False, machine]


@pytest.mark.parametrize(
    "other",
    [
        (2, "send", 0, 7, None, False),
        (1, "send", 0, 8, None, False),
        (1, "send", 0, None, None, False),
        (1, "open", 0, 7, None, False),
        (1, "buy", 0, 7, None, False),
    ],
)
def test_only_a_send_of_the_same_message_to_the_same_user_counts(other: Row) -> None:
    assert marked([other, (1, "open", 10, 7, None, False)], open_within_seconds=2) == [False, False]


def test_an_open_of_no_known_message_follows_no_send() -> None:
    rows: list[Row] = [(1, "send", 0, None, None, False), (1, "open", 10, None, None, False)]
    assert marked(rows, open_within_seconds=2) == [False, False]


def test_the_latest_send_before_an_open_decides() -> None:
    rows: list[Row] = [
        (1, "open", 100 * SECOND, 7, None, False),
        (1, "send", 101 * SECOND, 7, None, False),
        (1, "send", 99 * SECOND, 7, None, False),
        (1, "send", 0, 7, None, False),
    ]
    assert marked(rows, open_within_seconds=1) == [True, False, False, False]


def clicks(*pairs: tuple[int, int | None]) -> list[Row]:
    return [(1, "click", time, 7, link, False) for time, link in pairs]


@pytest.mark.parametrize(
    ("rows", "machine"),
    [
        (clicks((0, 1), (5, 2), (10, 3)), [True] * 3),
        (clicks((0, 1), (5, 2), (11, 3)), [False] * 3),
        (clicks((0, 1), (0, 2), (0, 3)), [True] * 3),
        (clicks((0, 1), (1, 1), (2, 2), (3, 2)), [False] * 4),
        (clicks((0, 1), (3, None), (5, 2), (10, 3), (15, None)), [True] * 4 + [False]),
        # Each of these lies in a span with three links, though no span holds them all.
        (clicks((0, 1), (8, 2), (10, 3), (18, 1), (28, 9)), [True] * 4 + [False]),
        (clicks((0, None), (1, None), (2, None), (3, 1)), [False] * 4),
        ([*clicks((0, 1), (5, 2)), (2, "click", 6, 7, 3, False), (1, "click", 6, 8, 3, False)], [False] * 4),
    ],
)
def test_bursts(rows: list[Row], machine: list[bool]) -> None:
    scaled: list[Row] = [(user, kind, time * SECOND, *rest) for user, kind, time, *rest in rows]  # type: ignore[misc]
    assert marked(scaled, burst_links=3, burst_seconds=10) == machine


def test_many_clicks_of_one_message() -> None:
    size = 200_000
    rows = pl.DataFrame({"link": range(size)}, {"link": pl.UInt64}).select(
        user_key=pl.lit(1, pl.UInt64),
        event_type=pl.lit("click"),
        event_time=pl.col("link").cast(pl.Int64) // 2,
        message_id=pl.lit(7, pl.UInt64),
        link="link",
        machine=pl.lit(value=False),
    )
    done = mark_machines(
        rows, send=None, open=None, click="click", open_within_seconds=5, burst_links=size, burst_seconds=1
    )
    assert done["machine"].all()


def test_users_by_id() -> None:
    rows = frame([(1, "send", 0, 7, None, False), (1, "open", 1, 7, None, False), (2, "open", 1, 7, None, False)])
    roles = {"send": "send", "open": "open", "click": None}
    by_id = rows.rename({"user_key": "user_id"}).with_columns(pl.col("user_id").cast(pl.String))
    both = rows.with_columns(user_key=1, user_id=pl.Series(["a", "a", "b"]))
    for given_ in (by_id, both):
        done = mark_machines(given_, **roles, open_within_seconds=1, burst_links=2, burst_seconds=1)
        assert done["machine"].to_list() == [False, True, False]


@pytest.mark.parametrize("roles", [{"send": None}, {"open": None, "click": None}])
def test_without_the_roles_nothing_is_marked(roles: dict[str, None]) -> None:
    rows: list[Row] = [(1, "send", 0, 7, None, False), (1, "open", 0, 7, None, False), (1, "click", 0, 7, 1, True)]
    assert marked(rows, open_within_seconds=9, **roles) == [False, False, True]


def test_no_rows() -> None:
    assert marked([], open_within_seconds=9, burst_links=2) == []


def test_machine_events_are_types_of_their_own() -> None:
    rows = pl.DataFrame(
        {
            "event_type": ["open", "open", "click", "click", "buy", "buy", None],
            "machine": [True, False, True, False, True, None, True],
        }
    )
    done = split_types(rows, ("open", "click", None, "open"))
    assert done["event_type"].to_list() == ["open_machine", "open", "click_machine", "click", "buy", "buy", None]
    assert done["machine"].equals(rows["machine"])
    assert split_types(rows, (None, None)).equals(rows)
    assert machine_type("open") == "open_machine"
