from __future__ import annotations

import pickle

import polars as pl

from engine.rules.conditions import compile_conditions
from engine.rules.scope import Scope
from tests.rules.schema import AS_OF

DOCUMENTED = {
    "region": pl.String(),
    "engagement_score": pl.Float64(),
    "days_since_last_event": pl.Int64(),
    "rfm_segment": pl.String(),
    "email_open_rate_30d": pl.Float64(),
}
RULES = {
    "targeted": """
        (region = 'Île-de-France' AND engagement_score > 70)
        OR (days_since_last_event < 7 AND rfm_segment = 'Prospects chauds')
        """,
    "parisians": "region = 'Île-de-France' AND engagement_score > 70",
    "active": "email_open_rate_30d > 0.5 AND days_since_last_event < 7",
    "high": "engagement_score > 30",
    "very engaged": "engagement_score > 80",
    "exclusive": "engagement_score > 85",
}


def test_rules_of_marketing_documents() -> None:
    conditions, problems = compile_conditions(RULES, Scope(DOCUMENTED))
    assert problems == ()
    assert conditions.names == tuple(RULES)
    assert conditions.columns == tuple(sorted(DOCUMENTED))
    frame = pl.DataFrame(
        {
            "region": ["Île-de-France", "Bretagne", "Bretagne", None],
            "engagement_score": [70.5, 30.0, 85.0, None],
            "days_since_last_event": [7, 6, 7, None],
            "rfm_segment": ["Prospects chauds", "Prospects chauds", "Prospects froids", "Prospects froids"],
            "email_open_rate_30d": [0.6, 0.51, 0.4, None],
        },
        schema=DOCUMENTED,
    )
    held = {column.name: column.arg_true().to_list() for column in conditions.holds(frame)}
    assert held == {
        "targeted": [0, 1],
        "parisians": [0],
        "active": [1],
        "high": [0, 2],
        "very engaged": [2],
        "exclusive": [],
    }


def test_problems_are_told_with_the_name_and_the_place() -> None:
    scope = Scope({"a": pl.Int64(), "region": pl.String()})
    conditions, problems = compile_conditions({"x": "aa > 1 OR region > 7", "y": "a > 1", "z": "a >"}, scope)
    assert conditions.names == ("y",)
    assert [problem.split("\n") for problem in problems] == [
        ["x: no column 'aa' (did you mean 'a'?)", "    aa > 1 OR region > 7", "    ^^"],
        [
            (
                "x: region is text (String), 7 is a number: values of different kinds cannot be compared; "
                "text stands in single quotes: '7'"
            ),
            "    aa > 1 OR region > 7",
            "              ^^^^^^^^^^",
        ],
        ["z: something is missing beside >", "    a >", "      ^"],
    ]


def test_without_rules_there_is_nothing_to_hold() -> None:
    conditions, _ = compile_conditions({}, Scope({}))
    assert conditions.holds(pl.DataFrame({"a": [1]})).shape == (0, 0)
    assert conditions.columns == ()


def test_conditions_travel_to_other_processes() -> None:
    scope = Scope({"a": pl.Int64(), "region": pl.String()}, as_of=AS_OF)
    texts = {"one": "a IN (1, 2)", "two": "NOT region LIKE 'x%'", "day": "as_of > DATE '2020-01-01' OR a = 1"}
    sent = pickle.dumps(compile_conditions(texts, scope)[0])
    conditions = pickle.loads(sent)  # noqa: S301
    frame = pl.DataFrame({"a": [1, 3], "region": ["x", "y"]})
    assert conditions.holds(frame).rows() == [(True, False, True), (False, True, True)]
