from __future__ import annotations

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.rules.scope import Scope
from engine.segments.definition import Definition
from engine.segments.plan import plan_segments, tried_groups

SCOPE = Scope(columns={"a": pl.Int64(), "b": pl.Int64(), "region": pl.String()})


def rule(name: str, where: str, group: str | None = "primary", priority: int = 0) -> Definition:
    return Definition(name, "rule", group, where, priority=priority)


def tag(name: str, where: str) -> Definition:
    return rule(name, where, None)


LAST = Definition("others", "fallback", "primary")


def test_every_problem_of_every_rule_is_told_at_once_with_carets() -> None:
    rules = [
        rule("first", "a > 1 AND regoin = 'x'"),
        tag("second", "region > 70"),
        tag("third", "in_segment('firts')"),
        tag("fine", "a > 1"),
        LAST,
    ]
    with pytest.raises(ConfigError) as caught:
        plan_segments(rules, SCOPE)
    assert caught.value.code == "segment-rules"
    told = caught.value.message
    assert "3 problems" in told.splitlines()[0]
    assert told.index("'first'") < told.index("'second'") < told.index("'third'")
    assert "'fine'" not in told
    assert "      a > 1 AND regoin = 'x'\n                ^^^^^^" in told
    assert "region" in told.splitlines()[4]
    assert "'first'" in told.split("'third'")[1]


def test_segments_stand_after_those_they_ask_for() -> None:
    plan = plan_segments(
        [
            tag("third", "in_segment('second') AND NOT in_segment('first')"),
            tag("second", "in_segment('first') OR b = 1"),
            tag("first", "a > 1"),
            tag("fourth", "in_segment('third', 30)"),
            LAST,
        ],
        SCOPE,
    )
    assert plan.stages == (("first", "others"), ("second",), ("third",), ("fourth",))
    assert plan.order == ("first", "others", "second", "third", "fourth")
    assert plan.depends_on["third"] == ("first", "second")
    assert plan.depends_on["others"] == ()
    assert plan.tenures == {"third"}
    assert plan.columns == {"a", "b"}
    assert plan.measures == ()


def test_of_a_group_whatever_is_tried_before_counts_too() -> None:
    plan = plan_segments(
        [
            rule("top", "in_segment('t1')"),
            rule("middle", "a > 2"),
            tag("t1", "b > 1"),
            tag("t2", "in_segment('middle')"),
            tag("t3", "in_segment('others')"),
            LAST,
        ],
        SCOPE,
    )
    # Who is in 'middle' is known once it is known who is in 'top', and that only when 't1' is.
    assert plan.stages == (("middle", "t1", "others"), ("top",), ("t2", "t3"))


def test_the_order_of_trial() -> None:
    listed = [
        Definition("left", "fallback", "primary", priority=9),
        rule("c", "a > 1"),
        rule("x", "a > 1", "other"),
        rule("b", "a > 1", priority=-1),
        rule("a", "a > 1", priority=5),
        rule("y", "a > 1", "other", priority=1),
        rule("d", "a > 1"),
        tag("t", "a > 1"),
    ]
    assert tried_groups(listed) == {"primary": ("a", "c", "d", "b", "left"), "other": ("y", "x")}


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([tag("x", "in_segment('x')")], ["the rule of 'x' asks for 'x'"]),
        (
            [tag("x", "in_segment('y')"), tag("y", "a > 1 AND in_segment('z')"), tag("z", "NOT in_segment('x')")],
            ["the rule of 'x' asks for 'y', the rule of 'y' asks for 'z', the rule of 'z' asks for 'x'"],
        ),
        (
            [rule("x", "in_segment('y')"), rule("y", "a > 1")],
            ["the rule of 'x' asks for 'y', 'y' is tried after 'x' in the group 'primary'"],
        ),
        (
            [rule("x", "in_segment('others')")],
            ["the rule of 'x' asks for 'others', 'others' is tried after 'x' in the group 'primary'"],
        ),
        (
            [rule("x", "in_segment('t')", "g"), rule("y", "a > 1", "g"), tag("t", "in_segment('y')")],
            ["the rule of 'x' asks for 't', the rule of 't' asks for 'y', 'y' is tried after 'x' in the group 'g'"],
        ),
        (
            [
                tag("a1", "in_segment('a2')"),
                tag("a2", "in_segment('a1')"),
                tag("b1", "in_segment('b1') AND in_segment('a1')"),
            ],
            ["the rule of 'a1' asks for 'a2', the rule of 'a2' asks for 'a1'", "the rule of 'b1' asks for 'b1'"],
        ),
    ],
)
def test_circles_are_told_with_the_way_round(rules: list[Definition], told: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_segments([*rules, LAST], SCOPE)
    assert caught.value.code == "segment-cycle"
    found = [line.removeprefix("  - ") for line in caught.value.message.splitlines()[1:]]
    assert sorted(map(turned, found)) == sorted(map(turned, told))


def turned(circle: str) -> list[str]:
    # Where a circle begins does not matter.
    steps = circle.split(", ")
    return min(steps[start:] + steps[:start] for start in range(len(steps)))


def test_a_question_within_the_group_is_fine_when_it_was_tried_before() -> None:
    plan = plan_segments([rule("x", "a > 1"), rule("y", "NOT in_segment('x') AND b > 1"), LAST], SCOPE)
    assert plan.stages == (("x", "others"), ("y",))


def test_clauses_of_all_rules_stand_once() -> None:
    plan = plan_segments(
        [
            tag("x", "a > 1 AND b > 1"),
            tag("y", "b  >  1 OR NOT a > 1"),
            tag("one", "region = 'a b'"),
            tag("two", "region = 'a  b'"),
            LAST,
        ],
        SCOPE,
    )
    assert len(plan.clauses) == 4
    assert plan.used == {"x": (0, 1), "y": (1, 0), "one": (2,), "two": (3,)}


@pytest.mark.parametrize("group", ["a", "user_id", "segment", "as_of"])
def test_a_group_is_not_named_like_a_column(group: str) -> None:
    with pytest.raises(ConfigError, match=f"name of a column: '{group}'") as caught:
        plan_segments([rule("x", "a > 1", group), LAST], SCOPE)
    assert caught.value.code == "segment-names"


def test_names_that_look_like_code_are_names() -> None:
    name = "x'); DROP TABLE users; --"
    plan = plan_segments([tag(name, "a > 1"), tag("y", f"in_segment('{name.replace(chr(39), chr(39) * 2)}')")], SCOPE)
    assert plan.depends_on["y"] == (name,)


def test_a_thousand_segments_each_asking_for_the_one_before() -> None:
    chain = [tag(f"s{number}", f"in_segment('s{number - 1}')" if number else "a > 1") for number in range(1000)]
    plan = plan_segments([*reversed(chain), LAST], SCOPE)
    assert len(plan.stages) == 1000
    assert plan.stages[-1] == ("s999",)
