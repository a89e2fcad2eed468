from __future__ import annotations

import math
import pickle
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Segment
from engine.errors import ConfigError
from engine.segments.rules import CompiledRules, compile_rules

SCHEMA: dict[str, pl.DataType] = {
    "a": pl.Int64(),
    "b": pl.Int64(),
    "score": pl.Float64(),
    "region": pl.String(),
    "optin": pl.Boolean(),
    "born": pl.Date(),
    "seen": pl.Datetime("us", "UTC"),
    "r_score": pl.Int8(),
    "spend_total": pl.Int64(),
    "tags": pl.List(pl.String()),
}


def compiled(*conditions: str, schema: dict[str, pl.DataType] = SCHEMA) -> CompiledRules:
    return compile_rules([Segment(name=f"s{n}", where=where) for n, where in enumerate(conditions)], schema)


def held(where: str, **values: Any) -> bool:
    frame = pl.DataFrame({name: [values.get(name)] for name in SCHEMA}, schema=SCHEMA)
    result: bool = compiled(where).holds(frame)["s0"].item()
    return result


@pytest.mark.parametrize(
    ("where", "values", "expected"),
    [
        ("a > 1", {"a": 2}, True),
        ("a > 1", {}, False),
        ("NOT a > 1", {}, False),
        ("a <> 1", {}, False),
        ("a = NULL", {}, False),
        ("a IS NULL", {}, True),
        ("a IS DISTINCT FROM 1", {}, True),
        ("a > 1 OR a IS NULL", {}, True),
        ("a > 1 OR b > 1", {"b": 2}, True),
        ("NOT (a > 1 AND b > 1)", {"b": 0}, True),
        ("NOT (a > 1 AND b > 1)", {"b": 2}, False),
        ("a IN (1, NULL)", {"a": 1}, True),
        ("a NOT IN (1, NULL)", {"a": 2}, False),
        ("a NOT BETWEEN 1 AND 3", {"a": 3}, False),
        ("a NOT BETWEEN 1 AND 3", {"a": 4}, True),
        ("NOT a > 1", {"a": 1}, True),
        ("optin", {"optin": True}, True),
        ("NOT optin", {}, False),
        ("NOT COALESCE(optin, FALSE)", {}, True),
        ("region = 'Île-de-France'", {"region": "Île-de-France"}, True),
        ("region = 'I\u0302le-de-France'", {"region": "Île-de-France"}, True),
        ("region = 'île-de-france'", {"region": "Île-de-France"}, False),
        ("region = 'Ile-de-France'", {"region": "Île-de-France"}, False),
        ("region = 'a '", {"region": "a"}, False),
        ("LOWER(region) = 'île-de-france'", {"region": "ÎLE-DE-FRANCE"}, True),
        ("region LIKE 'a.%'", {"region": "abc"}, False),
        ("region LIKE 'a_c'", {"region": "aéc"}, True),
        ("region ILIKE 'É%'", {"region": "été"}, True),
        ("region NOT LIKE 'b%'", {}, False),
        ("score > 0.5", {"score": math.nan}, False),
        ("NOT score > 0.5", {"score": math.nan}, False),
        ("score IS NULL", {"score": math.nan}, True),
        ("a / NULLIF(b, 0) > 0.5", {"a": 1, "b": 0}, False),
        ("a / NULLIF(b, 0) >= 0.5", {"a": 1, "b": 2}, True),
        ("a * 2 - 1 = 3 AND a / 2 = 1", {"a": 2}, True),
        ("TRY_CAST(region AS INT) > 1", {"region": "x"}, False),
        ("TRY_CAST(region AS INT) > 1", {"region": "7"}, True),
        ("born >= DATE '1990-01-01'", {"born": date(1990, 1, 1)}, True),
        ("seen < DATE '2020-01-01' + INTERVAL '1 day'", {"seen": datetime(2020, 1, 1, 23, tzinfo=UTC)}, True),
        ("DATE_PART('year', born) = 1990", {"born": date(1990, 5, 1)}, True),
        ("CASE WHEN a > 1 THEN region = 'x' ELSE b > 1 END", {"a": 1, "b": 2}, True),
        ("CASE WHEN a > 1 THEN TRUE END", {"a": 1}, False),
        ("GREATEST(a, b) > 3", {"a": 1, "b": 4}, True),
        ("r_score = 300", {"r_score": 5}, False),
    ],
)
def test_a_rule_holds_when_it_is_true(where: str, values: dict[str, Any], expected: bool) -> None:
    assert held(where, **values) is expected


DOCUMENTED = {
    "region": pl.String(),
    "engagement_score": pl.Float64(),
    "days_since_last_event": pl.Int64(),
    "rfm_segment": pl.String(),
    "email_open_rate_30d": pl.Float64(),
}


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        (
            """
            (region = 'Île-de-France' AND engagement_score > 70)
            OR (days_since_last_event < 7 AND rfm_segment = 'Prospects chauds')
            """,
            [0, 1],
        ),
        ("region = 'Île-de-France' AND engagement_score > 70", [0]),
        ("email_open_rate_30d > 0.5 AND days_since_last_event < 7", [1]),
        ("engagement_score > 30", [0, 2]),
        ("engagement_score > 80", [2]),
        ("engagement_score > 85", []),
    ],
)
def test_rules_of_marketing_documents(where: str, rows: list[int]) -> None:
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
    assert compiled(where, schema=DOCUMENTED).holds(frame)["s0"].arg_true().to_list() == rows


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("region > 70", "compares or combines region (String) with 70 (Int32)"),
        ("a < 0 OR NOT (b < 0 AND region = 7)", "compares or combines region (String) with 7 (Int32)"),
        ("a = '3'", 'compares or combines a (Int64) with "3" (String)'),
        ("region IN (1, 2)", "compares or combines region (String) with"),
        ("region = optin", "compares or combines region (String) with optin (Boolean)"),
        ("optin = 1", "compares or combines optin (Boolean) with 1 (Int32)"),
        ("born > '1990-01-01'", 'compares or combines born (Date) with "1990-01-01" (String)'),
        ("born = 19900101", "compares or combines born (Date) with 19900101 (Int32)"),
        ("a AND optin", "compares or combines a (Int64) with optin (Boolean)"),
        ("tags = 'x'", "column 'tags' is a List(String), not a single value"),
        ("NOT region", "does not fit the types of its columns"),
        ("LOWER(a) = 1", "does not fit the types of its columns"),
        ("seen > TIMESTAMP '2020-01-01 00:00:00'", "does not fit the types of its columns"),
        ("a + b", "must be true or false, it gives Int64"),
        ("region", "must be true or false, it gives String"),
        ("a >", "is not a SQL condition"),
        ("(a > 1", "is not a SQL condition"),
        ("born > DATE '1990-13-01'", "is not a SQL condition: invalid DATE literal"),
        ("(" * 100 + "a > 1" + ")" * 100, "is not a SQL condition"),
        ("region LIKE region", "is not a SQL condition: LIKE/ILIKE pattern must be a string literal"),
        ("a > 1 b", "has two values side by side"),
        ("region = 'a' 'b'", "has two values side by side"),
        ("a > 1 AS b", "has two values side by side"),
        ("spend_total > AVG(spend_total)", "AVG() looks at many users"),
        ("spend_totale > 1", "no column 'spend_totale' (did you mean 'spend_total'?)"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(where: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compiled("a > 1", where)
    assert caught.value.message.startswith("1 problem in the conditions of [[segments]]:\n  - 's1': ")
    assert problem in caught.value.message
    assert f"in: {where}" in caught.value.message
    assert caught.value.code == "segment-rules"
    assert "spend_total" in caught.value.hint


def test_all_problems_of_all_rules_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        compiled("regoin = 'x' AND SUM(a) > 1", "a > 1", "region > 70 OR born = 1")
    assert caught.value.message.startswith("4 problems in the conditions")
    assert [caught.value.message.count(f"'s{n}'") for n in range(3)] == [2, 0, 2]


def test_long_rules_are_read_in_time() -> None:
    rules = compiled(" OR ".join(f"a = {n}" for n in range(200)), f"a IN ({', '.join(map(str, range(20_000)))})")
    frame = pl.DataFrame({"a": [199, 200, -1]})
    assert rules.holds(frame).rows() == [(True, True), (False, True), (False, False)]


def test_the_columns_that_rules_need() -> None:
    assert compiled("a > b", "region = 'x' AND a > 1").columns == ("a", "b", "region")
    assert compiled().columns == ()


def test_rules_travel_to_other_processes() -> None:
    rules = pickle.loads(pickle.dumps(compiled("a IN (1, 2)", "NOT region LIKE 'x%'")))  # noqa: S301
    assert rules.holds(pl.DataFrame({"a": [1, 3], "region": ["x", "y"]})).rows() == [(True, False), (False, True)]


def test_a_value_that_breaks_a_rule_is_reported_with_its_segment() -> None:
    rules = CompiledRules(("VIP",), (pl.col("region").cast(pl.Int64, strict=True) > 1,), ("region",))
    with pytest.raises(ConfigError, match=r"Segment 'VIP': its condition fails on the data: conversion from .str. to"):
        rules.holds(pl.DataFrame({"region": ["x"]}))


# --- a second implementation of the language, in plain Python, with three truth values --------------------------------

Truth = bool | None
Row = dict[str, Any]


def numbers() -> st.SearchStrategy[tuple[str, Any]]:
    compare = {
        "<": lambda x, y: x < y,
        "<=": lambda x, y: x <= y,
        "=": lambda x, y: x == y,
        "<>": lambda x, y: x != y,
        ">=": lambda x, y: x >= y,
        ">": lambda x, y: x > y,
    }

    def comparison(column: str, operator: str, value: int) -> tuple[str, Any]:
        def evaluate(row: Row) -> Truth:
            return None if row[column] is None else compare[operator](row[column], value)

        return f"{column} {operator} {value}", evaluate

    return st.builds(comparison, st.sampled_from("ab"), st.sampled_from(sorted(compare)), st.integers(-2, 2))


def others() -> st.SearchStrategy[tuple[str, Any]]:
    def is_null(column: str, negated: bool) -> tuple[str, Any]:
        return f"{column} IS {'NOT ' * negated}NULL", lambda row: (row[column] is None) != negated

    def one_of(values: list[str], negated: bool) -> tuple[str, Any]:
        listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)

        def evaluate(row: Row) -> Truth:
            return None if row["region"] is None else (row["region"] in values) != negated

        return f"region {'NOT ' * negated}IN ({listed})", evaluate

    def between(low: int, high: int, negated: bool) -> tuple[str, Any]:
        def evaluate(row: Row) -> Truth:
            return None if row["a"] is None else (low <= row["a"] <= high) != negated

        return f"a {'NOT ' * negated}BETWEEN {low} AND {high}", evaluate

    names = st.lists(st.sampled_from(["é", "it's", "x"]), min_size=1, max_size=3)
    number = st.integers(-2, 2)
    return st.one_of(
        st.builds(is_null, st.sampled_from(["a", "region"]), st.booleans()),
        st.builds(one_of, names, st.booleans()),
        st.builds(between, number, number, st.booleans()),
    )


def combined(inner: st.SearchStrategy[tuple[str, Any]]) -> st.SearchStrategy[tuple[str, Any]]:
    def either(left: tuple[str, Any], right: tuple[str, Any]) -> tuple[str, Any]:
        def evaluate(row: Row) -> Truth:
            values = (left[1](row), right[1](row))
            return True if True in values else None if None in values else False

        return f"({left[0]} OR {right[0]})", evaluate

    def both(left: tuple[str, Any], right: tuple[str, Any]) -> tuple[str, Any]:
        def evaluate(row: Row) -> Truth:
            values = (left[1](row), right[1](row))
            return False if False in values else None if None in values else True

        return f"({left[0]} AND {right[0]})", evaluate

    def negated(value: tuple[str, Any]) -> tuple[str, Any]:
        return f"NOT ({value[0]})", lambda row: None if value[1](row) is None else not value[1](row)

    return st.builds(either, inner, inner) | st.builds(both, inner, inner) | st.builds(negated, inner)


rows = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.none() | st.integers(-3, 3),
            "b": st.none() | st.integers(-3, 3),
            "region": st.none() | st.sampled_from(["é", "it's", "x", "y"]),
        }
    ),
    min_size=1,
    max_size=12,
)


@given(rule=st.recursive(numbers() | others(), combined, max_leaves=6), data=rows)
@settings(max_examples=80)
def test_rules_equal_a_plain_python_evaluator(rule: tuple[str, Any], data: list[Row]) -> None:
    where, evaluate = rule
    schema = {name: SCHEMA[name] for name in ("a", "b", "region")}
    frame = pl.DataFrame(data, schema=schema)
    assert compiled(where, schema=schema).holds(frame)["s0"].to_list() == [evaluate(row) is True for row in data]
