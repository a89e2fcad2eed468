from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from engine.config_contacts import RowRule
from engine.contacts.rules import FILE, ROW, columns_of, judge, rule_flags, rule_problems

ROWS = pl.DataFrame(
    {
        "age": [10, 20, None, 70],
        "parent": ["p", None, None, None],
        FILE: pl.Series([0, 0, 1, 1], dtype=pl.UInt32),
        ROW: pl.Series([0, 1, 0, 1], dtype=pl.UInt32),
    }
)


def rule(name: str, holds: str, action: Any = "count") -> RowRule:
    return RowRule(name=name, holds=holds, action=action)


def test_dq07_rules_count_flag_and_leave_out() -> None:
    rules = (
        rule("grown", "age >= 18"),
        rule("minor", "age >= 18 OR parent IS NOT NULL", "flag"),
        rule("young", "age < 65", "quarantine"),
        rule("not_twenty", "age <> 20", "quarantine"),
        rule("flagged", "parent = 'q'", "flag"),
    )
    judged = judge(ROWS, rules)
    # A null breaks nothing.
    assert judged.broken == {"grown": 1, "minor": 0, "young": 1, "not_twenty": 1, "flagged": 1}
    assert rule_flags(rules) == ("rule_minor", "rule_flagged")
    assert judged.rows.drop(FILE, ROW).rows() == [(10, "p", False, True), (None, None, False, False)]
    assert judged.left_out.sort("file", "row").rows() == [
        (0, 1, "not_twenty", "expected age <> 20"),
        (1, 1, "young", "expected age < 65"),
    ]


def test_a_row_is_listed_under_the_first_rule() -> None:
    rules = (rule("a", "age > 100", "quarantine"), rule("b", "age > 200", "quarantine"))
    judged = judge(ROWS, rules)
    assert judged.broken == {"a": 3, "b": 3}
    assert set(judged.left_out["rule"]) == {"a"}


def test_texts_are_compared_in_one_form() -> None:
    rows = pl.DataFrame({"city": ["Évry"]})
    assert judge(rows, (rule("a", "city = 'E\u0301vry'"),)).broken == {"a": 0}


@pytest.mark.parametrize(
    ("holds", "problem"),
    [
        ("aeg > 5", "no column 'aeg' (did you mean 'age'?)"),
        ("age", "expected a condition (true or false), got Int64"),
        ("age > MAX(age)", "MAX() looks at many rows"),
        ("age > (SELECT 1)", "SELECT: a row is mapped on its own"),
        ("CURRENT_DATE > '2020-01-01'", "CURRENT_DATE depends on the clock"),
        ("age >", ""),
        ("parent > 5", ""),
    ],
)
def test_conditions_that_cannot_be_used(holds: str, problem: str) -> None:
    schema = {"age": pl.Int64(), "parent": pl.String()}
    [line] = rule_problems((rule("r", holds),), schema)
    assert line.startswith(f"  contacts.rules.r: {problem}")
    assert line.endswith(f": {holds}")


def test_names_are_there_once() -> None:
    rules = (rule("r", "age > 1"), rule("r", "age > 2"))
    assert rule_problems(rules, {"age": pl.Int64()}) == ["  contacts.rules: two entries named 'r'"]
    assert columns_of((*rules, rule("s", "a b c ("))) == ("age",)
