from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ledger.changes import changes, ended
from engine.ledger.members import Stamp, memberships
from engine.ledger.previous import MEMBERS

GROUPS = {"a": "primary", "b": "primary", "c": "primary", "x": "stage", "y": "stage", "t": None, "u": None}
FIRST = date(2018, 1, 1)
SETS = pl.Schema({"user_id": pl.Int64, "segment": pl.String, "group": pl.String})
NOBODY = pl.DataFrame(
    schema={"user_id": pl.Int64, "segment": pl.String, "group": pl.String}
    | {"entered_on": pl.Date, "previous_segment": pl.String, "rule_version": pl.String}
)

Sets = dict[int, dict[str, str | None]]

one_user = st.fixed_dictionaries(
    {},
    optional={
        "primary": st.sampled_from(["a", "b", "c"]),
        "stage": st.sampled_from(["x", "y"]),
        "t": st.just("t"),
        "u": st.just("u"),
    },
).map(lambda picked: {name: GROUPS[name] for name in picked.values()})
dates = st.lists(
    st.tuples(st.integers(1, 40), st.dictionaries(st.integers(0, 6), one_user), st.integers(0, 2)),
    min_size=1,
    max_size=6,
)


@dataclass
class Interval:
    since: date
    previous: str | None
    group: str | None
    version: str


def frame(sets: Sets) -> pl.DataFrame:
    rows = [(user, name, group) for user, names in sets.items() for name, group in names.items()]
    return pl.DataFrame(rows, SETS, orient="row").sort("user_id", "segment")


def versions(version: int) -> pl.DataFrame:
    return pl.DataFrame({"segment": list(GROUPS), "rule_version": [f"{name}{version}" for name in GROUPS]})


@settings(max_examples=60, deadline=None)
@given(dates)
def test_the_ledger_is_that_of_a_plain_walk_over_users(days: list[tuple[int, Sets, int]]) -> None:
    open_: dict[tuple[int, str], Interval] = {}
    before, as_of = NOBODY, FIRST
    for gap, sets, version in days:
        as_of += timedelta(days=gap)
        stamp = Stamp(as_of, f"run-{as_of}")
        now = memberships(frame(sets), before, versions(version), stamp)
        changed, over = changes(now, before, stamp), ended(now, before, stamp)

        was = dict(open_)
        in_group = {(user, each.group): name for (user, name), each in was.items() if each.group}
        is_in = {(user, group): name for user, names in sets.items() for name, group in names.items() if group}
        current = {(user, name): group for user, names in sets.items() for name, group in names.items()}
        expected_changes, expected_over = [], []
        for (user, name), group in current.items():
            if (user, name) in was:
                open_[user, name].version = f"{name}{version}"
                continue
            came_from = in_group.get((user, group))
            open_[user, name] = Interval(as_of, came_from, group, f"{name}{version}")
            expected_changes.append((user, name, group, "enter", came_from, f"{name}{version}", came_from))
        for (user, name), each in was.items():
            if (user, name) not in current:
                del open_[user, name]
                went_to = is_in.get((user, each.group))
                expected_changes.append((user, name, each.group, "exit", each.previous, each.version, went_to))
                expected_over.append((user, name, each.group, each.since, as_of, each.version))
        expected = [
            (user, name, each.group, each.since, (as_of - each.since).days, each.previous, each.version, stamp.run_id)
            for (user, name), each in open_.items()
        ]
        columns = ("user_id", "segment", "group", "change", "previous_segment", "rule_version", "other")
        assert now.rows() == sorted(expected, key=lambda row: row[:2])
        assert changed.select(columns).rows() == sorted(expected_changes, key=lambda row: row[:2])
        assert over.rows() == sorted(expected_over, key=lambda row: row[:2])
        for name in GROUPS:
            rows = changed.filter(pl.col("segment") == name)
            growth = (rows["change"] == "enter").sum() - (rows["change"] == "exit").sum()
            sizes = [int((members["segment"] == name).sum()) for members in (now, before)]
            assert growth == sizes[0] - sizes[1]
        before = now.select(MEMBERS)


def member(name: str, group: str | None, since: date = FIRST, previous: str | None = None) -> pl.DataFrame:
    row = {"user_id": 1, "segment": name, "group": group, "entered_on": since, "previous_segment": previous}
    return pl.DataFrame([{**row, "rule_version": "v"}], NOBODY.schema)


@pytest.mark.parametrize(
    ("before", "sets", "since", "previous"),
    [
        (member("a", "primary", previous="c"), {1: {"a": "primary"}}, FIRST, "c"),
        (member("a", "primary", previous="c"), {1: {"b": "primary"}}, FIRST + timedelta(7), "a"),
        (member("t", None), {1: {"a": "primary"}}, FIRST + timedelta(7), None),
        # A tag that has become a segment of a group keeps its members; there was nothing before it in the group.
        (member("t", None), {1: {"t": "primary"}}, FIRST, None),
        (pl.concat([member("t", None), member("a", "primary")]), {1: {"t": "primary"}}, FIRST, "a"),
    ],
)
def test_since_when_and_from_where(before: pl.DataFrame, sets: Sets, since: date, previous: str | None) -> None:
    now = memberships(frame(sets), before, versions(0), Stamp(FIRST + timedelta(7), "run"))
    assert now["entered_on"].to_list() == [since]
    assert now["previous_segment"].to_list() == [previous]
    assert now.schema == {
        **SETS,
        "entered_on": pl.Date,
        "days_in": pl.Int32,
        "previous_segment": pl.String,
        "rule_version": pl.String,
        "run_id": pl.String,
    }
