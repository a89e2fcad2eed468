from __future__ import annotations

import time

import polars as pl
import pytest

from engine.rules.read import identifiers, read_rule, read_value
from engine.rules.rule import Logic
from engine.rules.scope import Scope
from tests.rules.schema import SCOPE, messages, read


def test_a_rule_is_taken_apart_into_clauses() -> None:
    rule = read(
        "(region = 'x'  AND a NOT IN (1,\n 2)) OR NOT (b IS NOT NULL or region = 'x' OR kind is null)".replace(
            "kind", "kind"
        )
    )
    assert [clause.text for clause in rule.clauses] == [
        "region = 'x'",
        "a NOT IN (1, 2)",
        "b IS NOT NULL",
        "kind is null",
    ]
    first, second, third, fourth = (Logic("clause", n) for n in range(4))
    inner = Logic("not", parts=(Logic("or", parts=(third, first, fourth)),))
    assert rule.logic == Logic("or", parts=(Logic("and", parts=(first, second)), inner))
    assert [sorted(clause.columns) for clause in rule.clauses] == [["region"], ["a"], ["b"], ["kind"]]
    assert rule.columns == {"region", "a", "b", "kind"}


@pytest.mark.parametrize(
    ("where", "clauses"),
    [
        ("NOT a IN (1)", ["a IN (1)"]),
        ("NOT a NOT IN (1)", ["a NOT IN (1)"]),
        ("NOT a = 1", ["a = 1"]),
        ("a <> 1", ["a <> 1"]),
        ("a NOT BETWEEN 1 AND 2 AND region NOT LIKE 'x'", ["a NOT BETWEEN 1 AND 2", "region NOT LIKE 'x'"]),
        ("CASE WHEN a > 1 AND b > 1 THEN optin END", ["CASE WHEN a > 1 AND b > 1 THEN optin END"]),
        ("LOWER(region) = 'x' AND -a < - 1", ["LOWER(region) = 'x'", "-a < - 1"]),
        ("DATE '2020-01-01' + INTERVAL '1' DAY < born", ["DATE '2020-01-01' + INTERVAL '1' DAY < born"]),
        ("(a) = (1) AND ((b = NULLIF(a, 1)))", ["(a) = (1)", "b = NULLIF(a, 1)"]),
        ("a = 1 AND a /* x */ = 1 OR a  =1", ["a = 1"]),
        ("TRY_CAST(region AS INT) = 1", ["TRY_CAST(region AS INT) = 1"]),
    ],
)
def test_clauses_as_they_are_written(where: str, clauses: list[str]) -> None:
    assert [clause.text for clause in read(where).clauses] == clauses


def test_the_values_that_a_clause_looks_at() -> None:
    (clause,) = read("event_count('open', 60) / NULLIF(purchase_count_30d, 0) > COALESCE(score, 1)").clauses
    assert [value.text for value in clause.values] == ["event_count('open', 60)", "purchase_count_30d", "score"]
    frame = pl.DataFrame({clause.measures[0].name: [3], "purchase_count_30d": [2], "score": [None]})
    assert frame.with_columns(score=pl.lit(None, pl.Float64)).select(
        value.expr.alias(value.text) for value in clause.values
    ).row(0) == (3, 2, None)


def test_texts_that_mean_the_same_have_one_canonical_form() -> None:
    one = read("a>1 and not region like 'e\u0301%' or b!=2 and born > date '2020-01-01'")
    other = read("a > 1 -- so\nAND NOT region\tLIKE 'é%' OR b <> 2 AND born > DATE '2020-01-01'")
    assert one.canonical == other.canonical
    assert read("A > 1 AND a > 1", Scope({"A": pl.Int64(), "a": pl.Int64()})).canonical == "A > 1 AND a > 1"
    assert read("region = 'a  b'").canonical != read("region = 'a b'").canonical


def test_all_problems_come_at_once_in_order() -> None:
    found = read_rule("regoin = 'x' AND b = '3' OR a / b > foo", SCOPE).problems
    assert [problem.start for problem in found] == sorted(problem.start for problem in found)
    assert [problem.message[:12] for problem in found] == [
        "no column 'r",
        "b is a numbe",
        "/ b: a divis",
        "no column 'f",
    ]
    assert [m[:20] for m in messages("regoin = 'x' ET SUM(a) > 1")] == [
        "no column 'regoin' (",
        "ET: the words of rul",
        "SUM() looks at many ",
    ]
    many = messages(" AND ".join(f"x{n} > 1" for n in range(300)))
    assert len(many) == 20
    assert many[-1].endswith("; and more that is wrong behind it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x" * 1_000_000, "1,000,000 characters; a rule has 100,000 at most"),
        (" OR ".join(f"a = {n}" for n in range(1_002)), "more than 1,000 AND and OR; write long lists of values with"),
        ("a = " + " + ".join("b" * 5_010), "more than 5,000 operators and keywords"),
        ("(" * 51 + "optin" + ")" * 51, "nested, or chained without AND and OR, deeper than 50 levels"),
        ("(" * 20_000 + "optin", "nested, or chained without AND and OR, deeper than 50 levels"),
        ("NOT " * 60 + "optin", "nested, or chained without AND and OR, deeper than 50 levels"),
        ("- " * 60 + "a > 1", "nested, or chained without AND and OR, deeper than 50 levels"),
        ("+".join("a" * 60) + " > 1", "nested, or chained without AND and OR, deeper than 50 levels"),
        ("NULLIF(" * 12 + "a" + ", 1)" * 12 + " > 1", "nested, or chained without AND and OR, deeper than 50 levels"),
        ("CASE WHEN optin THEN " * 60 + "1" + " END" * 60 + " > 1", "nested, or chained without AND and OR, deeper"),
        ("(/*" * 30_000, "the comment is not closed by */"),
        (" ".join(f"b{n}" for n in range(10_000)), "no column 'b0'"),
        ("region LIKE '" + "_" * 2_000 + "'", "LIKE takes a pattern in single quotes, of 1,000 characters at most"),
    ],
)
def test_texts_that_are_too_much_are_refused_at_once(text: str, message: str) -> None:
    started = time.perf_counter()
    assert any(found.startswith(message) for found in messages(text))
    assert time.perf_counter() - started < 5


def test_long_rules_are_read_in_time() -> None:
    started = time.perf_counter()
    chain = read(" AND ".join(f"a > {n}" for n in range(1_001)))
    listed = read(f"a IN ({', '.join(map(str, range(12_000)))})")
    nested = read("(" * 40 + "a > 1" + ")" * 40)
    frame = pl.DataFrame({"a": [11_999, 1_000, 12_000, None]})
    found = frame.select(chain=chain.expr(), listed=listed.expr(), nested=nested.expr())
    assert found.rows() == [(True, True, True), (False, True, True), (True, False, True), (False, False, False)]
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    ("text", "columns", "values"),
    [
        ("open_rate_90d", {"open_rate_90d"}, [0.5, None]),
        ("a / 2", {"a"}, [1.0, None]),
        ("IF(region = 'x', 3, 0)", {"region"}, [3.0, 0.0]),
        ("COALESCE(a,  0) + 1", {"a"}, [3.0, 1.0]),
        ("event_count('purchase', 30)", {"purchase_count_30d"}, [7, 0]),
    ],
)
def test_numbers_are_read(text: str, columns: set[str], values: list[float | None]) -> None:
    reading = read_value(text, SCOPE)
    assert reading.problems == () == reading.measures
    assert reading.columns == columns
    frame = pl.DataFrame(
        {"open_rate_90d": [0.5, float("nan")], "a": [2, None], "region": ["x", None], "purchase_count_30d": [7, 0]}
    )
    assert reading.value is not None
    assert reading.value.text == " ".join(text.split())
    assert frame.select(reading.value.expr).to_series().to_list() == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("region", "region is text (String); a number is expected"),
        ("a > 1", "a > 1 is true or false; a number is expected"),
        ("1 + 1", "names no column, so it is the same for every user"),
        ("aa", "no column 'aa' (did you mean 'a'?)"),
        ("0,5", "0,5: decimals have a point: 0.5"),
        ("NULL", "NULL is NULL; a number is expected"),
    ],
)
def test_what_is_no_number(text: str, message: str) -> None:
    reading = read_value(text, SCOPE)
    assert reading.value is None
    assert reading.problems[0].message.startswith(message)


def test_identifiers_of_any_text() -> None:
    assert identifiers("a > 1 AND \"b c\" = 'd' OR event_count('e', page = 'f') > re\u0301gion -- g") == {
        *("a", "AND", "b c", "OR", "event_count", "page", "région")
    }
    assert identifiers("a > ' ; (") == {"a"}
    assert identifiers("") == frozenset()
    assert identifiers("a " * 100_000) == frozenset()
