"""A second implementation of the language in plain Python, for random rules over random users."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.read import read_rule
from engine.rules.rule import Rule
from engine.rules.scope import Scope

AS_OF = date(2025, 3, 1)
SCHEMA: dict[str, pl.DataType] = {
    "a": pl.Int64(),
    "b": pl.Int8(),
    "score": pl.Float64(),
    "region": pl.String(),
    "city": pl.String(),
    "born": pl.Date(),
    "optin": pl.Boolean(),
}
SCOPE = Scope(SCHEMA, as_of=AS_OF)
Row = dict[str, Any]
Part = tuple[str, Callable[[Row], Any]]
"""A text, and what it is worth for a user: None for NULL; conditions are True or False."""

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    "=": lambda x, y: x == y,
    ">=": lambda x, y: x >= y,
    ">": lambda x, y: x > y,
}


def column(name: str) -> Part:
    def evaluate(row: Row) -> Any:
        value = row[name]
        return None if isinstance(value, float) and math.isnan(value) else value

    return name, evaluate


def literal(value: Any) -> Part:
    if isinstance(value, str):
        text = "'" + value.replace("'", "''") + "'"
    else:
        text = f"DATE '{value}'" if isinstance(value, date) else str(value)
    return text, lambda _: value


def strict(template: str, compute: Callable[..., Any]) -> Callable[..., Part]:
    """A function that is NULL when one of its values is."""

    def build(*parts: Part) -> Part:
        def evaluate(row: Row) -> Any:
            values = [part[1](row) for part in parts]
            return None if None in values else compute(*values)

        return template.format(*(part[0] for part in parts)), evaluate

    return build


def coalesce(first: Part, second: Part) -> Part:
    def evaluate(row: Row) -> Any:
        value = first[1](row)
        return second[1](row) if value is None else value

    return f"COALESCE({first[0]}, {second[0]})", evaluate


def choice(test: Part, first: Part, second: Part) -> Part:
    return f"IF({test[0]}, {first[0]}, {second[0]})", lambda row: (first if test[1](row) else second)[1](row)


def nullif(first: Part, second: Part) -> Part:
    def evaluate(row: Row) -> Any:
        value, other = first[1](row), second[1](row)
        return None if value is not None and value == other else value

    return f"NULLIF({first[0]}, {second[0]})", evaluate


def greatest(first: Part, second: Part) -> Part:
    def evaluate(row: Row) -> Any:
        known = [value for value in (first[1](row), second[1](row)) if value is not None]
        return max(known, default=None)

    return f"GREATEST({first[0]}, {second[0]})", evaluate


def comparison(operator: str) -> Callable[[Part, Part], Part]:
    def build(left: Part, right: Part) -> Part:
        def evaluate(row: Row) -> bool:
            values = left[1](row), right[1](row)
            if operator == "<>":
                return None in values or values[0] != values[1]
            return None not in values and COMPARE[operator](*values)

        return f"{left[0]} {operator} {right[0]}", evaluate

    return build


def null_test(value: Part, negated: bool) -> Part:
    return f"{value[0]} IS {'NOT ' * negated}NULL", lambda row: (value[1](row) is None) != negated


def distinct(left: Part, right: Part, negated: bool) -> Part:
    text = f"{left[0]} IS {'NOT ' * negated}DISTINCT FROM {right[0]}"
    return text, lambda row: (left[1](row) != right[1](row)) != negated


def between(value: Part, low: int, high: int, negated: bool) -> Part:
    low, high = sorted((low, high))

    def evaluate(row: Row) -> bool:
        found = value[1](row)
        return (found is not None and low <= found <= high) != negated

    return f"{value[0]} {'NOT ' * negated}BETWEEN {low} AND {high}", evaluate


def one_of(value: Part, listed: list[Any], negated: bool) -> Part:
    def evaluate(row: Row) -> bool:
        found = value[1](row)
        return (found is not None and found in listed) != negated

    return f"{value[0]} {'NOT ' * negated}IN ({', '.join(literal(entry)[0] for entry in listed)})", evaluate


def like(value: Part, pattern: str, any_case: bool, negated: bool) -> Part:
    signs = {"%": ".*", "_": "."}
    regex = re.compile(
        "".join(signs.get(sign) or re.escape(sign) for sign in pattern), re.DOTALL | (re.IGNORECASE * any_case)
    )

    def evaluate(row: Row) -> bool:
        found = value[1](row)
        return (found is not None and regex.fullmatch(found) is not None) != negated

    return f"{value[0]} {'NOT ' * negated}{'I' * any_case}LIKE {literal(pattern)[0]}", evaluate


def truth(value: Part) -> Part:
    return value[0], lambda row: value[1](row) is True


def age(row: Row) -> int | None:
    return None if row["born"] is None else (AS_OF - row["born"]).days


WORDS = ["é", "it's", "x", "xy", "", "É"]
flags = st.booleans()
small = st.integers(-3, 3)
numbers = st.recursive(
    st.sampled_from([column("a"), column("b"), column("score"), ("days_since(born)", age)])
    | small.map(literal)
    | st.sampled_from([0.5, -1.5]).map(literal),
    lambda inner: st.one_of(
        st.builds(strict("({} + {})", lambda x, y: x + y), inner, inner),
        st.builds(strict("({} - {})", lambda x, y: x - y), inner, inner),
        st.builds(strict("({} * {})", lambda x, y: x * y), inner, inner),
        st.builds(strict("({} / 2)", lambda x: x / 2), inner),
        st.builds(strict("ABS({})", abs), inner),
        st.builds(strict("FLOOR({})", math.floor), inner),
        st.builds(strict("LENGTH({})", len), st.sampled_from([column("region"), column("city")])),
        st.builds(coalesce, inner, inner),
        st.builds(nullif, inner, inner),
        st.builds(greatest, inner, inner),
    ),
    max_leaves=3,
)
words = st.one_of(
    st.sampled_from([column("region"), column("city")]),
    st.sampled_from(WORDS).map(literal),
    st.builds(coalesce, st.just(column("region")), st.just(column("city"))),
    st.builds(strict("UPPER({})", str.upper), st.just(column("region"))),
    st.builds(strict("{} || {}", lambda x, y: x + y), st.just(column("region")), st.just(column("city"))),
)
days = st.one_of(
    st.just(column("born")),
    st.just(("as_of", lambda _: AS_OF)),
    st.just(literal(date(2025, 2, 1))),
    st.just(("(born + INTERVAL '2' DAY)", lambda row: None if row["born"] is None else row["born"] + timedelta(2))),
)


def compared(values: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
    operators = st.sampled_from([*COMPARE, "<>"]).map(comparison)
    return st.builds(lambda build, left, right: build(left, right), operators, values, values)


atoms = st.one_of(
    compared(numbers),
    compared(words),
    compared(days),
    st.builds(null_test, numbers | words.filter(lambda part: part[0][0] != "'") | st.just(column("born")), flags),
    st.builds(distinct, numbers, numbers, flags),
    st.builds(distinct, words, words, flags),
    st.builds(between, numbers, small, small, flags),
    st.builds(one_of, numbers, st.lists(small | st.just(0.5), min_size=1, max_size=3), flags),
    st.builds(one_of, words, st.lists(st.sampled_from(WORDS), min_size=1, max_size=3), flags),
    st.builds(like, words, st.sampled_from(["x%", "%y", "_", "%", "é", "%'s", "_%_"]), flags, flags),
    st.just(truth(column("optin"))),
)


def logic(inner: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
    def joined(word: str, parts: list[Part]) -> Part:
        test = all if word == "AND" else any
        return f" {word} ".join(f"({text})" for text, _ in parts), lambda row: test(part[1](row) for part in parts)

    return st.one_of(
        st.builds(joined, st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda part: (f"NOT ({part[0]})", lambda row: not part[1](row)), inner),
        st.builds(
            lambda test, first, second: truth(choice(test, (f"({first[0]})", first[1]), (f"({second[0]})", second[1]))),
            inner,
            inner,
            inner,
        ),
        st.builds(
            lambda test, left, right: comparison("<>")(choice(test, left, right), right), inner, numbers, numbers
        ),
    )


rules = st.recursive(atoms, logic, max_leaves=5)
users = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.none() | small,
            "b": st.none() | small,
            "score": st.none() | st.sampled_from([math.nan, 0.5, -1.0, 2.0]),
            "region": st.none() | st.sampled_from(WORDS),
            "city": st.none() | st.sampled_from(WORDS),
            "born": st.none() | st.sampled_from([date(2025, 2, 1), date(2025, 2, 26), date(1990, 1, 1)]),
            "optin": st.none() | flags,
        }
    ),
    min_size=1,
    max_size=8,
)


def compiled(text: str) -> Rule | None:
    """The rule; None when clauses of it name no column, which is refused."""
    reading = read_rule(text, SCOPE)
    if reading.rule is None:
        assert {problem.message[:16] for problem in reading.problems} == {"names no column,"}, (text, reading.problems)
    return reading.rule


def answers(rule: Rule, rows: list[Row]) -> list[Any]:
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(rule.expr().alias("holds"))["holds"].to_list()


@given(part=rules, rows=users)
@settings(max_examples=120, deadline=None)
def test_rules_equal_a_plain_python_evaluator(part: Part, rows: list[Row]) -> None:
    text, evaluate = part
    rule = compiled(text)
    opposite = compiled(f"NOT ({text})")
    if rule is None or opposite is None:
        return
    found = answers(rule, rows)
    assert found == [evaluate(row) for row in rows], text
    assert answers(opposite, rows) == [not value for value in found], text


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("0 = COALESCE(a, 0)", [True, True]),
        ("1 <= COALESCE(a, 0)", [False, False]),
        ("-1 < COALESCE(a, 0) + 1", [True, True]),
        ("1 <> IF(b > 9, b, 0)", [True, True]),
        ("'x' IS DISTINCT FROM COALESCE(region, 'x')", [False, False]),
        ("3 BETWEEN COALESCE(a, 0) AND 5", [True, True]),
        ("CASE 0 WHEN COALESCE(a, 0) THEN b ELSE 0 END = 2", [False, True]),
        ("IF(0 < 1, 0, COALESCE(a, 0)) <> COALESCE(a, 0)", [False, False]),
    ],
)
def test_a_constant_may_stand_before_what_is_the_same_for_all_rows(text: str, holds: list[bool]) -> None:
    rule = compiled(text)
    assert rule is not None
    frame = pl.DataFrame({name: [1, 2] if name == "b" else [None, None] for name in SCHEMA}, SCHEMA)
    assert frame.with_columns(rule.expr().alias("holds"))["holds"].to_list() == holds
    assert frame.select("a", rule.expr().alias("holds"))["holds"].to_list() == holds


@given(first=rules, second=rules, rows=users)
@settings(max_examples=30, deadline=None)
def test_de_morgan(first: Part, second: Part, rows: list[Row]) -> None:
    one, other = f"({first[0]})", f"({second[0]})"
    for left, right in (
        (f"NOT ({one} AND {other})", f"NOT {one} OR NOT {other}"),
        (f"NOT ({one} OR {other})", f"NOT {one} AND NOT {other}"),
    ):
        rules_of_both = compiled(left), compiled(right)
        if rules_of_both[0] is None or rules_of_both[1] is None:
            return
        assert answers(rules_of_both[0], rows) == answers(rules_of_both[1], rows)


@given(part=rules, rows=users)
@settings(max_examples=30, deadline=None)
def test_clauses_are_never_null_and_say_what_they_are(part: Part, rows: list[Row]) -> None:
    rule = compiled(part[0])
    if rule is None:
        return
    frame = pl.DataFrame(rows, schema=SCHEMA)
    for clause in rule.clauses:
        assert clause.columns <= SCHEMA.keys()
        found = frame.with_columns(clause.expr.alias("holds"))["holds"]
        assert found.null_count() == 0
        again = compiled(clause.text)
        if again is not None:
            assert [inner.text for inner in again.clauses] == [clause.text]
            assert answers(again, rows) == found.to_list()
