from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError, IntegrityError
from engine.rules.scope import Scope
from engine.segments.arms import arm_bounds, places
from engine.segments.definition import Arm, Definition, StaticList
from engine.segments.evaluate import Evaluated, evaluate
from engine.segments.plan import plan_segments

AS_OF = date(2026, 1, 31)
SCHEMA: dict[str, pl.DataType] = {"user_id": pl.Int64(), "a": pl.Int64(), "x": pl.Float64(), "rfm_segment": pl.String()}
SCOPE = Scope(columns={name: dtype for name, dtype in SCHEMA.items() if name != "user_id"}, as_of=AS_OF)
OTHERS = Definition("others", "fallback", "primary")


def rule(name: str, where: str, group: str | None = "primary", priority: int = 0) -> Definition:
    return Definition(name, "rule", group, where, priority=priority)


def tag(name: str, where: str) -> Definition:
    return rule(name, where, None)


def frame(values: Sequence[int | None], **columns: list[object]) -> pl.DataFrame:
    rows = range(len(values))
    given = {"user_id": list(rows), "a": list(values), "x": [1.0 for _ in rows], "rfm_segment": ["lost" for _ in rows]}
    return pl.DataFrame({**given, **columns}, schema=SCHEMA)


def run(
    definitions: Sequence[Definition],
    users: pl.DataFrame,
    lists: dict[str, pl.Series] | None = None,
    tenures: pl.DataFrame | None = None,
) -> Evaluated:
    return evaluate(plan_segments(definitions, SCOPE), users, lists or {}, tenures, AS_OF)


def test_the_first_of_the_group_wins_and_every_tag_counts() -> None:
    result = run(
        [
            rule("Très / engagé é", "a > 80"),
            rule("high", "a > 30"),
            rule("nobody", "a > 1000"),
            tag("even", "a = 90 OR a = 30"),
            tag("all", "COALESCE(a, 0) >= 0"),
            OTHERS,
        ],
        frame([90, 31, 30, None]),
    )
    assert result.users.columns == [*SCHEMA, "segment"]
    assert result.users["segment"].to_list() == ["Très / engagé é", "high", "others", "others"]
    assert result.matched == {"Très / engagé é": 1, "high": 2, "nobody": 0}
    assert result.members.rows() == [
        (0, "Très / engagé é", "primary"),
        (0, "all", None),
        (0, "even", None),
        (1, "all", None),
        (1, "high", "primary"),
        (2, "all", None),
        (2, "even", None),
        (2, "others", "primary"),
        (3, "all", None),
        (3, "others", "primary"),
    ]
    assert result.holds.columns == ["Très / engagé é", "high", "nobody", "even", "all", "others"]
    assert result.holds["high"].to_list() == [False, True, False, False]
    # A clause is counted whether or not the user was taken before.
    assert [(name, users) for name, _, users in result.clauses] == [
        ("Très / engagé é", 1),
        ("high", 2),
        ("nobody", 0),
        ("even", 1),
        ("even", 1),
        ("all", 4),
    ]


@pytest.mark.parametrize(
    ("priorities", "segment"), [((0, 0), "low"), ((0, 1), "high"), ((5, 5), "low"), ((-2, -1), "high")]
)
def test_more_priority_is_tried_first(priorities: tuple[int, int], segment: str) -> None:
    low, high = priorities
    users = frame([50])
    result = run([rule("low", "a > 1", priority=low), rule("high", "a > 2", priority=high), OTHERS], users)
    assert result.users["segment"].to_list() == [segment]


def test_every_other_group_is_a_column() -> None:
    result = run(
        [
            rule("new", "a < 10", "stage"),
            rule("old", "a >= 50", "stage"),
            rule("young", "a < 20", "age", priority=1),
            rule("any", "a > 0", "age", priority=2),
            OTHERS,
        ],
        frame([5, 15, 60, None]),
    )
    assert result.users.columns == [*SCHEMA, "segment", "stage", "age"]
    assert result.users["stage"].to_list() == ["new", None, "old", None]
    assert result.users["age"].to_list() == ["any", "any", "any", None]
    assert result.users.schema["stage"] == pl.String()


def test_segments_ask_for_members() -> None:
    result = run(
        [
            tag("asks", "in_segment('second') AND NOT in_segment('t')"),
            rule("first", "a > 50"),
            rule("second", "a > 10"),
            tag("t", "in_segment('first') OR a = 20"),
            tag("left", "in_segment('others')"),
            OTHERS,
        ],
        frame([60, 20, 15, 5, None]),
    )
    # 60 satisfies the rule of `second` and is no member: `first` took them.
    assert result.holds.select(pl.all().arg_true().implode()).row(0, named=True) == {
        "asks": [2],
        "first": [0],
        "second": [1, 2],
        "t": [0, 1],
        "left": [3, 4],
        "others": [3, 4],
    }


def test_the_rfm_map_takes_whoever_is_left() -> None:
    maps = [Definition(name, "fallback", "primary", priority=7) for name in ("lost", "champions", "no_purchase")]
    users = frame([9, 1, 1, 1], rfm_segment=[None, "lost", "champions", "no_purchase"])
    result = run([rule("high", "a > 5"), *maps, tag("best", "in_segment('champions')")], users)
    assert result.users["segment"].to_list() == ["high", "lost", "champions", "no_purchase"]
    assert result.holds["best"].to_list() == [False, False, True, False]


@pytest.mark.parametrize("segment", [None, "of another map"])
def test_a_user_without_segment_is_an_error(segment: str | None) -> None:
    maps = [Definition(name, "fallback", "primary") for name in ("lost", "champions")]
    with pytest.raises(IntegrityError, match="1 of 2 users are in no segment") as caught:
        run(maps, frame([1, 2], rfm_segment=["lost", segment]))
    assert caught.value.code == "segments-incomplete"


@pytest.mark.parametrize(
    ("frozen_on", "expires_on", "members"),
    [
        (date(2026, 1, 31), None, [1, 3]),
        (date(2026, 2, 1), None, []),
        (date(2026, 1, 1), date(2026, 1, 31), []),
        (date(2026, 1, 1), date(2026, 2, 1), [1, 3]),
    ],
)
def test_lists_count_while_they_are_in_force(frozen_on: date, expires_on: date | None, members: list[int]) -> None:
    vip = Definition("VIP", "list", None, list=StaticList("vip.txt", frozen_on, expires_on, refuse_unknown=True))
    lists = {"VIP": pl.Series([3, 1, 99])}
    result = run([vip, tag("not VIP", "NOT in_segment('VIP')"), OTHERS], frame([0] * 5), lists)
    assert result.holds["VIP"].arg_true().to_list() == members
    assert (result.holds["VIP"] ^ result.holds["not VIP"]).all()
    assert result.listed == {"VIP": 2}
    assert run([vip, OTHERS], frame([0] * 5)).holds["VIP"].sum() == 0


def test_arms_share_out_who_takes_part() -> None:
    bounds = arm_bounds({"control": 1, "offer": 3})
    arms = [
        Definition(f"t_{arm}", "arm", None, "a > 0", arm=Arm("t", "key", low, high))
        for arm, (low, high) in bounds.items()
    ]
    result = run([*arms, OTHERS], frame([1, 0] * 500))
    place = places(result.users["user_id"], "key")
    takes_part = result.users["a"] > 0
    assert (result.holds["t_control"] == (takes_part & (place < 2**30))).all()
    assert (result.holds["t_offer"] == (takes_part & (place >= 2**30))).all()
    assert 90 < result.holds["t_control"].sum() < 160


def test_days_of_membership_come_from_the_date_before() -> None:
    tenures = pl.DataFrame(
        {
            "user_id": [3, 1, 0, 2, 77],
            "segment": ["base", "base", "base", "other", "base"],
            "entered_on": [date(2026, 1, 1), date(2026, 1, 2), date(2025, 1, 1), date(2025, 1, 1), date(2025, 1, 1)],
        }
    )
    definitions = [
        tag("base", "a > 0"),
        tag("long", "in_segment('base', 30)"),
        tag("since", "in_segment('base', 0)"),
        OTHERS,
    ]
    users = frame([0, 1, 1, 1])
    result = run(definitions, users, tenures=tenures)
    assert result.holds["long"].to_list() == [False, False, False, True]
    assert result.holds["since"].to_list() == [False, True, True, True]
    assert run(definitions, users).holds["long"].sum() == 0


def test_nan_is_null_and_the_frame_stays_as_it_is() -> None:
    users = frame([1, 1, 1], x=[float("nan"), None, 5.0])
    result = run([tag("large", "x > 1"), tag("rest", "NOT x > 1"), tag("gap", "x IS NULL"), OTHERS], users)
    assert result.holds["large"].to_list() == [False, False, True]
    assert result.holds["rest"].to_list() == [True, True, False]
    assert result.holds["gap"].to_list() == [True, True, False]
    assert result.users["x"].is_nan().to_list() == [True, None, False]


def test_rows_keep_their_order_and_members_are_sorted() -> None:
    users = frame([1, 2, 3]).with_columns(user_id=pl.Series([30, 10, 20]))
    result = run([tag("b", "a > 1"), tag("a", "a > 0"), OTHERS], users)
    assert result.users["user_id"].to_list() == [30, 10, 20]
    assert result.holds["b"].to_list() == [False, True, True]
    assert result.members.select("user_id", "segment").rows() == [
        *((10, name) for name in ("a", "b", "others")),
        *((20, name) for name in ("a", "b", "others")),
        *((30, name) for name in ("a", "others")),
    ]


def test_without_users_the_columns_are_there() -> None:
    result = run([rule("x", "a > 1"), rule("y", "a > 1", "stage"), OTHERS], frame([]))
    assert result.users.schema == pl.Schema({**SCHEMA, "segment": pl.String(), "stage": pl.String()})
    assert result.members.schema == pl.Schema({"user_id": pl.Int64(), "segment": pl.String(), "group": pl.String()})
    assert result.clauses == (("x", "a > 1", 0), ("y", "a > 1", 0))


def test_a_failing_rule_is_named_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_segments([tag("fine", "a > 1"), tag("bad", "a > 2"), OTHERS], SCOPE)
    broken = pl.col("rfm_segment").str.to_integer() > 0
    at = plan.used["bad"][0]
    object.__setattr__(plan.clauses[at], "expr", broken)
    object.__setattr__(plan.rules["bad"].clauses[0], "expr", broken)
    with pytest.raises(ConfigError) as caught:
        evaluate(plan, frame([1], rfm_segment=["secret"]), {}, None, AS_OF)
    assert caught.value.code == "segment-rule-failed"
    assert "'bad': a > 2" in caught.value.message
    assert "fine" not in caught.value.message
    assert "secret" not in caught.value.message


def test_a_thousand_segments() -> None:
    many = [rule(f"s {number:03d}", f"a = {number}") for number in range(500)]
    many += [tag(f"t {number:03d}", f"a >= {number}") for number in range(500)]
    result = run([*many, OTHERS], frame(list(range(-1, 600))))
    assert result.users["segment"].to_list() == [
        "others",
        *(f"s {number:03d}" for number in range(500)),
        *["others"] * 100,
    ]
    assert result.members.height == 601 + sum(601 - 1 - number for number in range(500))


BOUNDS = st.integers(-6, 6)


@given(
    values=st.lists(st.none() | st.integers(-5, 5), max_size=40),
    rules=st.lists(st.tuples(BOUNDS, st.sampled_from(["primary", "g", "h", None]), st.integers(-1, 1)), max_size=9),
    shuffled=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_the_primary_segment_is_a_partition_and_groups_are_exclusive(
    values: list[int | None], rules: list[tuple[int, str | None, int]], shuffled: object
) -> None:
    definitions = [
        rule(f"r{index}", f"a > {bound}", group, 0 if group is None else priority)
        for index, (bound, group, priority) in enumerate(rules)
    ]
    users = frame(values).sample(fraction=1, shuffle=True, seed=shuffled.randint(0, 99))  # type: ignore[attr-defined]
    result = run([*definitions, OTHERS], users)
    expected = []
    for user_id, value in users.select("user_id", "a").iter_rows():
        taken: set[str | None] = set()
        for definition in sorted([*definitions, OTHERS], key=lambda one: (one is OTHERS, -one.priority)):
            bound = None if definition.where is None else int(definition.where.split()[-1])
            holds = bound is None or (value is not None and value > bound)
            if holds and (definition.group is None or definition.group not in taken):
                expected.append((user_id, definition.name, definition.group))
                taken.add(definition.group)
    assert result.members.rows() == sorted(expected, key=lambda row: row[:2])
    primary = result.members.filter(pl.col("group") == "primary")
    assert primary["user_id"].to_list() == sorted(users["user_id"])
    grouped = result.members.filter(pl.col("group").is_not_null())
    assert not grouped.select("user_id", "group").is_duplicated().any()
    assert result.holds.sum().transpose().to_series().sum() == result.members.height
