from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rules.read import read_rule
from engine.rules.scope import Scope
from engine.segments.definition import Definition
from engine.why.published import PublishedSegment
from engine.why.verdict import decide, see, signed_clauses, user_row

COLUMNS: dict[str, pl.DataType] = {"orders": pl.Int64(), "rate": pl.Float64(), "region": pl.String()}
SCOPE = Scope(columns=COLUMNS, segments=frozenset({"vip"}))
TESTS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "orders > 2": lambda row: row["orders"] is not None and row["orders"] > 2,
    "orders <> 1": lambda row: row["orders"] != 1,
    "rate <= 0.5": lambda row: known(row["rate"]) and row["rate"] <= 0.5,
    "region = 'sud'": lambda row: row["region"] == "sud",
    "region NOT IN ('sud', 'est')": lambda row: row["region"] not in {"sud", "est"},
    "region IS NULL": lambda row: row["region"] is None,
    "rate IS NOT NULL": lambda row: known(row["rate"]),
    "in_segment('vip')": lambda row: row["vip"],
}


def known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


Tree = Any
trees: st.SearchStrategy[Tree] = st.recursive(
    st.sampled_from(sorted(TESTS)),
    lambda inner: st.one_of(
        st.tuples(st.just("NOT"), inner),
        st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=8,
)
users = st.fixed_dictionaries(
    {
        "orders": st.one_of(st.none(), st.integers(0, 4)),
        "rate": st.one_of(st.none(), st.sampled_from([0.0, 0.5, 0.75, math.nan])),
        "region": st.sampled_from([None, "sud", "est", "nord"]),
        "vip": st.booleans(),
    }
)


def written(tree: Tree) -> str:
    if isinstance(tree, str):
        return tree
    kind, parts = tree
    return f"NOT ({written(parts)})" if kind == "NOT" else "(" + f" {kind} ".join(map(written, parts)) + ")"


def holds(tree: Tree, row: dict[str, Any]) -> bool:
    if isinstance(tree, str):
        return bool(TESTS[tree](row))
    kind, parts = tree
    if kind == "NOT":
        return not holds(parts, row)
    return (all if kind == "AND" else any)(holds(part, row) for part in parts)


@given(tree=trees, user=users)
def test_a_verdict_is_that_of_plain_python(tree: Tree, user: dict[str, Any]) -> None:
    reading = read_rule(written(tree), SCOPE)
    assert reading.rule is not None, reading.problems
    columns = pl.DataFrame({name: [user[name]] for name in COLUMNS}, COLUMNS)
    row = user_row(columns, {"vip"}, {"vip"} if user["vip"] else set(), {"vip": 3} if user["vip"] else {})
    seen = see(reading.rule, row, {})
    assert seen.holds == holds(tree, user)
    for clause in seen.clauses:
        plain = {name: test(user) for name, test in TESTS.items()}
        assert clause.holds == plain[clause.text]


def test_the_sign_of_clauses() -> None:
    reading = read_rule("orders > 2 AND NOT (region = 'sud' OR NOT rate <= 0.5)", SCOPE)
    assert reading.rule is not None
    signs = {reading.rule.clauses[place].text: positive for place, positive in signed_clauses(reading.rule.logic)}
    assert signs == {"orders > 2": True, "region = 'sud'": False, "rate <= 0.5": True}


def segment(
    name: str, place: int, *, group: str | None = "primary", priority: int = 0, **more: Any
) -> PublishedSegment:
    kind = more.get("kind", "rule")
    definition = Definition(name, kind, group, where="orders > 2", priority=priority)
    return PublishedSegment(definition, place, None, None, ())


SEGMENTS = (
    segment("late", 0),
    segment("first", 1, priority=3),
    segment("rest", 2, priority=9, kind="fallback"),
    segment("mark", 3, group=None),
)


@pytest.mark.parametrize(
    ("name", "held", "members", "decision", "taken_by", "wrong"),
    [
        ("first", True, {"first"}, "in", None, False),
        ("first", False, {"first"}, "in", None, True),
        ("first", False, {"late"}, "fails", None, False),
        ("late", True, {"first"}, "earlier", "first", False),
        ("first", True, {"late"}, "earlier", "late", True),
        ("late", True, {"rest"}, "earlier", "rest", True),
        ("rest", True, {"late"}, "earlier", "late", False),
        ("late", True, {"mark"}, "in", None, True),
        ("mark", True, {"late"}, "in", None, True),
        ("mark", False, {"late"}, "fails", None, False),
    ],
)
def test_what_a_group_makes_of_it(
    name: str, held: bool, members: set[str], decision: str, taken_by: str | None, wrong: bool
) -> None:
    own = next(found for found in SEGMENTS if found.name == name)
    found = decide(own, holds=held, members=members, segments=SEGMENTS)
    assert (found[0], found[1], found[2] is not None) == (decision, taken_by, wrong)
