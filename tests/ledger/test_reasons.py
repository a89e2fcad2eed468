from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.features.measure import EventRef, Measure
from engine.ledger.flips import flips, value_changes
from engine.rules.rule import Clause, Logic, Rule, Value
from tests.ledger.publishing import Day, Defined, publish_day, reasons

A, B = date(2018, 1, 1), date(2018, 2, 1)
RECENT = Defined("recent", None, rule="days_since_purchase <= 30")
Row = dict[str, object]


def published(
    out: Path,
    defined: tuple[list[Defined], list[Defined]],
    users: tuple[dict[int, Row], dict[int, Row]],
    sets: tuple[dict[int, list[str]], dict[int, list[str]]],
) -> dict[tuple[object, str, str], str]:
    publish_day(out, Day(A, users[0], sets[0], defined[0]))
    publish_day(out, Day(B, users[1], sets[1], defined[1], buckets=2))
    return reasons(out, B)


def test_the_first_run(tmp_path: Path) -> None:
    publish_day(tmp_path, Day(A, {1: {}, 2: {}}, {1: ["recent"]}, [RECENT]))
    assert reasons(tmp_path, A) == {(1, "recent", "enter"): "first run"}


PREMIUM = Defined("premium", rule="open_rate_90d > 0.5")
BASE = Defined("base", rule="days_since_purchase <= 90")
RFM = [Defined(name, kind="fallback") for name in ("champions", "loyal")]
LIST = Defined("list", "campaign", kind="list", frozen_on=A)
ARM = Defined("test_control", None, kind="arm")


@pytest.mark.parametrize(
    ("defined", "users", "sets", "expected"),
    [
        pytest.param(
            ([RECENT], [RECENT]),
            ({1: {"days_since_purchase": 29}}, {1: {"days_since_purchase": 31}}),
            ({1: ["recent"]}, {}),
            {(1, "recent", "exit"): "days_since_purchase <= 30: 29 → 31"},
            id="time passed",
        ),
        pytest.param(
            ([RECENT], [RECENT]),
            ({1: {"days_since_purchase": None}}, {1: {"days_since_purchase": 3}}),
            ({}, {1: ["recent"]}),
            {(1, "recent", "enter"): "days_since_purchase <= 30: none → 3"},
            id="from nothing",
        ),
        pytest.param(
            ([RECENT], [RECENT]),
            ({1: {}}, {1: {}, 2: {"days_since_purchase": 3}}),
            ({}, {2: ["recent"]}),
            {(2, "recent", "enter"): "new user"},
            id="new user",
        ),
        pytest.param(
            ([RECENT], [RECENT]),
            ({1: {}, 2: {}}, {1: {}}),
            ({2: ["recent"]}, {}),
            {(2, "recent", "exit"): "user is gone"},
            id="vanished user",
        ),
        pytest.param(
            ([RECENT], [BASE]),
            ({1: {}}, {1: {}}),
            ({1: ["recent"]}, {1: ["base"]}),
            {(1, "base", "enter"): "segment is new", (1, "recent", "exit"): "segment was removed"},
            id="segments came and went",
        ),
        pytest.param(
            ([RECENT], [Defined("recent", None, rule="days_since_purchase <= 7", version="v2")]),
            ({1: {"days_since_purchase": 9}}, {1: {"days_since_purchase": 9}}),
            ({1: ["recent"]}, {}),
            {(1, "recent", "exit"): "rule changed: v1 → v2"},
            id="rule changed",
        ),
        pytest.param(
            ([Defined("x", None, rule="city = 'Évry' AND open_rate_90d > 0.5 AND days_since_purchase > 0")] * 1,) * 2,
            (
                {1: {"city": "Évry", "open_rate_90d": 0.75, "days_since_purchase": 1}},
                {1: {"city": "Paris", "open_rate_90d": 0.5, "days_since_purchase": 2}},
            ),
            ({1: ["x"]}, {}),
            {(1, "x", "exit"): "city = 'Évry': 'Évry' → 'Paris'; open_rate_90d > 0.5: 0.75 → 0.5"},
            id="several clauses, those that flipped",
        ),
        pytest.param(
            ([PREMIUM, BASE], [PREMIUM, BASE]),
            (
                {1: {"open_rate_90d": 0.25, "days_since_purchase": 4}},
                {1: {"open_rate_90d": 0.75, "days_since_purchase": 5}},
            ),
            ({1: ["base"]}, {1: ["premium"]}),
            {
                (1, "base", "exit"): "taken by premium",
                (1, "premium", "enter"): "open_rate_90d > 0.5: 0.25 → 0.75",
            },
            id="taken by a segment tried earlier",
        ),
        pytest.param(
            ([PREMIUM, BASE], [PREMIUM, BASE]),
            (
                {1: {"open_rate_90d": 0.75, "days_since_purchase": 4}},
                {1: {"open_rate_90d": 0.25, "days_since_purchase": 5}},
            ),
            ({1: ["premium"]}, {1: ["base"]}),
            {
                (1, "base", "enter"): "no longer in premium",
                (1, "premium", "exit"): "open_rate_90d > 0.5: 0.75 → 0.25",
            },
            id="left by a segment tried earlier",
        ),
        pytest.param(
            ([PREMIUM, *RFM], [PREMIUM, *RFM]),
            (
                {
                    1: {"r_score": 5, "f_score": 4, "m_score": 1},
                    2: {"r_score": 5, "open_rate_90d": 0.0},
                    3: {"r_score": 2, "open_rate_90d": 0.9},
                },
                {
                    1: {"r_score": 4, "f_score": 4, "m_score": None},
                    2: {"r_score": 5, "open_rate_90d": 0.9},
                    3: {"r_score": 5, "open_rate_90d": 0.1},
                },
            ),
            ({1: ["champions"], 2: ["champions"], 3: ["premium"]}, {1: ["loyal"], 2: ["premium"], 3: ["champions"]}),
            {
                (1, "champions", "exit"): "r_score: 5 → 4; m_score: 1 → none",
                (1, "loyal", "enter"): "r_score: 5 → 4; m_score: 1 → none",
                (2, "champions", "exit"): "taken by premium",
                (2, "premium", "enter"): "open_rate_90d > 0.5: 0 → 0.9",
                (3, "champions", "enter"): "no longer in premium",
                (3, "premium", "exit"): "open_rate_90d > 0.5: 0.9 → 0.1",
            },
            id="fallbacks by their scores",
        ),
        pytest.param(
            ([LIST], [Defined("list", "campaign", kind="list", frozen_on=A, version="v2")]),
            ({1: {}, 2: {}}, {1: {}, 2: {}}),
            ({1: ["list"]}, {2: ["list"]}),
            {(1, "list", "exit"): "list changed", (2, "list", "enter"): "list changed"},
            id="list changed",
        ),
        pytest.param(
            (
                [Defined("list", "campaign", kind="list", frozen_on=A, expires_on=B)],
                [Defined("list", "campaign", kind="list", frozen_on=A, expires_on=B)],
            ),
            ({1: {}}, {1: {}}),
            ({1: ["list"]}, {}),
            {(1, "list", "exit"): "list expired"},
            id="list expired",
        ),
        pytest.param(
            ([Defined("list", kind="list", frozen_on=B), BASE],) * 2,
            ({1: {"days_since_purchase": 1}}, {1: {"days_since_purchase": 2}}),
            ({1: ["base"]}, {1: ["list"]}),
            {(1, "base", "exit"): "taken by list", (1, "list", "enter"): "list begins"},
            id="list begins",
        ),
        pytest.param(
            ([Defined("list", kind="list", frozen_on=A), PREMIUM],) * 2,
            ({1: {"open_rate_90d": 0.1}}, {1: {"open_rate_90d": 0.9}}),
            ({1: ["list"]}, {1: ["premium"]}),
            {(1, "list", "exit"): "taken by premium", (1, "premium", "enter"): "open_rate_90d > 0.5: 0.1 → 0.9"},
            id="a rule takes users of a list",
        ),
        pytest.param(
            ([ARM], [Defined("test_control", None, kind="arm", version="v2")]),
            ({1: {}}, {1: {}}),
            ({1: ["test_control"]}, {}),
            {(1, "test_control", "exit"): "experiment changed"},
            id="arms changed",
        ),
        pytest.param(
            ([Defined("test_control", None, kind="arm", rule="days_since_purchase <= 30")],) * 2,
            ({1: {"days_since_purchase": 5}}, {1: {"days_since_purchase": 40}}),
            ({1: ["test_control"]}, {}),
            {(1, "test_control", "exit"): "days_since_purchase <= 30: 5 → 40"},
            id="no longer in the population of an experiment",
        ),
    ],
)
def test_reasons(
    tmp_path: Path,
    defined: tuple[list[Defined], list[Defined]],
    users: tuple[dict[int, Row], dict[int, Row]],
    sets: tuple[dict[int, list[str]], dict[int, list[str]]],
    expected: dict[tuple[object, str, str], str],
) -> None:
    assert published(tmp_path, defined, users, sets) == expected


def number(text: str, expr: pl.Expr, *values: str) -> Clause:
    return Clause(text, expr.fill_null(value=False), tuple(Value(name, pl.col(name)) for name in values))


def rule(*clauses: Clause) -> Rule:
    parts = tuple(Logic("clause", position) for position in range(len(clauses)))
    return Rule("", "", clauses, Logic("or", parts=parts))


def test_more_flips_than_five_are_counted_and_two_values_are_told_apart() -> None:
    tests = [number(f"n > {limit}", pl.col("n") > limit, "n") for limit in range(1, 8)]
    both = number("n > m", pl.col("n") > pl.col("m"), "n", "m")
    then, now = pl.DataFrame({"n": [0, 9, 2], "m": [5, 5, 1]}), pl.DataFrame({"n": [9, 9, 2], "m": [4, 3, 2]})
    found = flips(rule(both, *tests), rule(both, *tests), then, now)
    assert found.told["text"].to_list() == [
        "n > m: n 0 → 9, m 5 → 4; n > 1: 0 → 9; n > 2: 0 → 9; n > 3: 0 → 9; n > 4: 0 → 9; … and 3 more",
        None,
        "n > m: m 1 → 2",
    ]
    assert found.then.to_list() == [False, True, True]
    assert found.now.to_list() == [True, True, True]


def test_a_column_that_the_old_date_lacks_is_unknown() -> None:
    measure = Measure("event_count", (EventRef("page_view"),), days=7).name
    test = number("event_count('page_view', 7) >= 1", pl.col(measure) >= 1, measure)
    then, now = pl.DataFrame({"n": [1, 1]}), pl.DataFrame({"n": [1, 1], measure: [0, 3]})
    found = flips(rule(test), rule(test), then, now)
    assert found.told["text"].to_list() == [f"{test.text}: unknown → 0", f"{test.text}: unknown → 3"]
    assert found.then.to_list() == [False, False]
    assert value_changes(("n", measure, "gone"), then, now)["text"].to_list() == [
        f"{measure}: unknown → 0",
        f"{measure}: unknown → 3",
    ]
