from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.ledger.diff import MOVES, SEGMENTS, diff_dates
from tests.ledger.publishing import Day, Defined, publish_day

A, B, C = date(2018, 1, 1), date(2018, 1, 15), date(2018, 2, 1)
OLD = [Defined("a"), Defined("b"), Defined("x", "stage"), Defined("t", None)]
NEW = [Defined("a", version="v2"), Defined("b"), Defined("x", "stage"), Defined("y", "stage"), Defined("u", None)]
BEFORE = {1: ["a", "x", "t"], 2: ["a"], 3: ["b", "t"], 4: ["a", "x"]}
AFTER = {1: ["a", "x"], 2: ["b", "u"], 3: ["b", "y"], 5: ["a"]}


@pytest.fixture(params=[(1, 1), (4, 2)])
def out(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    days = (
        Day(A, {user: {} for user in (1, 2, 3, 4)}, BEFORE, OLD, request.param[0]),
        # What happens in between is not told.
        Day(B, {user: {} for user in (1, 2, 3, 4)}, {1: ["b"]}, OLD, 1),
        Day(C, {user: {} for user in (1, 2, 3, 5)}, AFTER, NEW, request.param[1]),
    )
    for day in days:
        publish_day(tmp_path, day)
    return tmp_path


def test_two_dates(out: Path) -> None:
    found = diff_dates(out, A, C, with_users=True)
    assert found.segments.schema == SEGMENTS
    assert found.segments.rows() == [
        ("a", "primary", 3, 1, 2, 1, 2, "v1", "v2"),
        ("b", "primary", 1, 1, 0, 1, 2, "v1", "v1"),
        ("t", None, 2, 0, 2, 0, 0, "v1", None),
        ("u", None, 0, 1, 0, 0, 1, None, "v1"),
        ("x", "stage", 2, 0, 1, 1, 1, "v1", "v1"),
        ("y", "stage", 0, 1, 0, 0, 1, None, "v1"),
    ]
    assert found.moves.schema == MOVES
    assert found.moves.rows() == [("a", "a", 1), ("a", "b", 1), ("a", None, 1), ("b", "b", 1), (None, "a", 1)]
    assert found.users is not None
    assert found.users.rows() == [
        (1, "t", None, "exit", None),
        (2, "a", "primary", "exit", "b"),
        (2, "b", "primary", "enter", "a"),
        (2, "u", None, "enter", None),
        (3, "t", None, "exit", None),
        (3, "y", "stage", "enter", None),
        (4, "a", "primary", "exit", None),
        (4, "x", "stage", "exit", None),
        (5, "a", "primary", "enter", None),
    ]


def test_one_segment_or_one_group(out: Path) -> None:
    one = diff_dates(out, A, C, segment="b")
    assert one.segments["segment"].to_list() == ["b"]
    assert one.moves.rows() == [("a", "b", 1), ("b", "b", 1)]
    assert one.users is None
    group = diff_dates(out, A, C, group="stage", with_users=True)
    assert group.segments["segment"].to_list() == ["x", "y"]
    assert group.moves.rows() == [("x", "x", 1), ("x", None, 1), (None, "y", 1)]
    assert group.users is not None
    assert group.users["segment"].to_list() == ["y", "x"]
    assert diff_dates(out, A, C, segment="t").group == "primary"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ({"before": C, "after": A}, "diff-dates", "earlier date first"),
        ({"before": A, "after": A}, "diff-dates", "earlier date first"),
        ({"before": A, "after": date(2018, 2, 2)}, "not-published", "2018-02-02"),
        ({"before": A, "after": C, "segment": "aa"}, "segment-unknown", "did you mean 'a'"),
        ({"before": A, "after": C, "group": "stages"}, "segment-group-unknown", "did you mean 'stage'"),
    ],
)
def test_questions_that_cannot_be_answered(out: Path, arguments: dict[str, object], code: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        diff_dates(out, **arguments)
    assert refused.value.code == code
    assert says in refused.value.message
