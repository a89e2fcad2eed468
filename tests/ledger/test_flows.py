from __future__ import annotations

import itertools
import pickle
import random
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ledger import flows as module
from engine.ledger.causes import CLAUSE_FALSE, CLAUSE_TRUE, OTHER, SCORES, TEXTS, WAYS
from engine.ledger.flips import value_changes
from engine.ledger.flows import FLOW_SCHEMA, LONGEST_CLAUSE, flow_counts, flows_table
from engine.tables.layout import manifest_path, table_folder
from engine.tables.manifest import read_manifest
from tests.ledger.publishing import Day, Defined, publish_day, read

A, B = date(2018, 1, 1), date(2018, 2, 1)
PREMIUM = Defined("premium", rule="open_rate_90d > 0.5")
LOCAL = Defined("local", rule="city = 'Évry' AND days_since_purchase <= 90")
RFM = [Defined(name, kind="fallback") for name in ("champions", "loyal")]
STAGE = Defined("active", "stage", rule="days_since_purchase <= 30")
TAG = Defined("opens", None, rule="open_rate_90d > 0.25")
LIST = Defined("list", "campaign", kind="list", frozen_on=A)
OTHER_LIST = Defined("second list", "campaign", kind="list", frozen_on=A)
Row = dict[str, object]


def flows(out: Path, as_of: date) -> pl.DataFrame:
    files = list(table_folder(out, "segment_flows", as_of).glob("*.parquet"))
    assert len(files) <= 1
    return pl.read_parquet(files[0]) if files else pl.DataFrame(schema=FLOW_SCHEMA)


@pytest.mark.parametrize(
    ("defined", "users", "sets", "expected"),
    [
        pytest.param(
            [PREMIUM, *RFM],
            (
                {1: {"r_score": 5}, 2: {"r_score": 5}, 3: {"open_rate_90d": 0.9}, 4: {"r_score": 5, "f_score": 2}},
                {1: {"r_score": 4}, 2: {"open_rate_90d": 0.9}, 3: {"r_score": 5}, 4: {"r_score": 3, "f_score": 3}},
            ),
            (
                {1: ["champions"], 2: ["champions"], 3: ["premium"], 4: ["champions"]},
                {1: ["loyal"], 2: ["premium"], 3: ["champions"], 4: ["loyal"]},
            ),
            [
                ("primary", "champions", "loyal", "r_score_fell", "r_score fell", 2, 1),
                # Why premium took the user says more than that it did.
                ("primary", "champions", "premium", CLAUSE_TRUE, "open_rate_90d > 0.5", 1, 0),
                ("primary", "premium", "champions", CLAUSE_FALSE, "open_rate_90d > 0.5", 1, 0),
            ],
            id="scores and rules of one group",
        ),
        pytest.param(
            [LOCAL, *RFM],
            (
                {1: {"city": "Évry", "days_since_purchase": 80}, 2: {"city": "Évry", "days_since_purchase": 1}},
                {1: {"city": "Sète", "days_since_purchase": 111}, 2: {"city": "Sète", "days_since_purchase": 2}},
            ),
            ({1: ["local"], 2: ["local"]}, {1: ["loyal"], 2: ["loyal"]}),
            [("primary", "local", "loyal", CLAUSE_FALSE, "city = 'Évry'", 2, 1)],
            id="a contact attribute, whose values are nowhere",
        ),
        pytest.param(
            [*RFM, STAGE, TAG],
            (
                {1: {"days_since_purchase": 5}, 2: {"open_rate_90d": 0.5}, 3: {"days_since_purchase": None}},
                {1: {"days_since_purchase": 35}, 3: {"days_since_purchase": 3, "open_rate_90d": 0.5}, 4: {}},
            ),
            (
                {1: ["loyal", "active"], 2: ["loyal", "opens"], 3: ["loyal"]},
                {1: ["loyal"], 3: ["loyal", "active", "opens"], 4: ["champions"]},
            ),
            [
                ("primary", "loyal", None, "user_gone", "user is gone", 1, 0),
                ("primary", None, "champions", "new_user", "new user", 1, 0),
                ("stage", "active", None, CLAUSE_FALSE, "days_since_purchase <= 30", 1, 0),
                ("stage", None, "active", CLAUSE_TRUE, "days_since_purchase <= 30", 1, 0),
                (None, "opens", None, "user_gone", "user is gone", 1, 0),
                (None, None, "opens", CLAUSE_TRUE, "open_rate_90d > 0.25", 1, 0),
            ],
            id="people who came and went, a group of some, a tag",
        ),
        pytest.param(
            [LIST, OTHER_LIST],
            ({1: {}}, {1: {}}),
            ({1: ["list"]}, {1: ["second list"]}),
            [("campaign", "list", "second list", "other_segment", "another segment is tried first", 1, 0)],
            id="nothing but the other segment",
        ),
        pytest.param([TAG], ({1: {}}, {1: {}}), ({1: ["opens"]}, {1: ["opens"]}), [], id="nobody moved"),
        pytest.param(
            [Defined("x", "stage", rule="n >> 2"), Defined("y", "stage", rule="n << 2")],
            ({1: {}, 2: {}}, {1: {}, 2: {}}),
            ({1: ["x"], 2: ["x"]}, {1: ["y"]}),
            [
                ("stage", "x", "y", "other_segment", "another segment is tried first", 1, 0),
                ("stage", "x", None, "unknown", "cause unknown", 1, 0),
            ],
            id="rules that nobody understands any more",
        ),
    ],
)
def test_moves_and_their_causes(
    tmp_path: Path,
    defined: list[Defined],
    users: tuple[dict[int, Row], dict[int, Row]],
    sets: tuple[dict[int, list[str]], dict[int, list[str]]],
    expected: list[tuple[object, ...]],
) -> None:
    publish_day(tmp_path, Day(A, users[0], sets[0], defined))
    publish_day(tmp_path, Day(B, users[1], sets[1], defined, buckets=2))
    assert flows(tmp_path, B).rows() == expected
    assert set(flows(tmp_path, A)["cause"]) == {"first run"}


def test_configuration_that_changed(tmp_path: Path) -> None:
    users: dict[int | str, Row] = {1: {"days_since_purchase": 9}}
    publish_day(tmp_path, Day(A, users, {1: ["active"]}, [STAGE]))
    narrow = Defined("active", "stage", rule="days_since_purchase <= 7", version="v2")
    publish_day(tmp_path, Day(B, users, {1: ["idle"]}, [narrow, Defined("idle", "stage", rule="city = 'x'")]))
    assert flows(tmp_path, B).rows() == [("stage", "active", "idle", "rule_changed", "rule changed", 1, 0)]


DEFINED = [
    Defined("fresh", rule="days_since_purchase <= 10"),
    Defined("recent", rule="days_since_purchase <= 30"),
    *RFM,
    Defined("active", "stage", rule="days_since_purchase <= 20 AND city = 'secret 1'"),
    Defined("opens", None, rule="open_rate_90d > 0.5"),
]
DATES = [A + timedelta(days=30 * place) for place in range(4)]


def a_day(as_of: date, buckets: int) -> Day:
    draw = random.Random(f"{as_of} flows")
    columns, sets = {}, {}
    for user in range(60):
        if draw.random() < 0.1:
            continue
        days, opens, r_score = draw.randrange(60), draw.randrange(5) / 4, draw.choice((4, 5))
        city = f"secret {draw.randrange(3)}"
        columns[user] = {"days_since_purchase": days, "open_rate_90d": opens, "r_score": r_score, "city": city}
        low = "champions" if r_score == 5 else "loyal"
        names = ["fresh" if days <= 10 else "recent" if days <= 30 else low]
        names += ["active"] if days <= 20 and city == "secret 1" else []
        sets[user] = [*names, *(["opens"] if opens > 0.5 else [])]
    return Day(as_of, columns, sets, DEFINED, buckets)


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("in_order")
    for as_of in DATES:
        publish_day(out, a_day(as_of, 2))
    return out


def test_every_entry_and_every_exit_is_in_one_row(in_order: Path) -> None:
    for as_of in DATES:
        table, ledger = flows(in_order, as_of), read_manifest(manifest_path(in_order, as_of)).counts["ledger"]
        assert table.height
        for column, change in (("to_segment", "entries"), ("from_segment", "exits")):
            sums = table.drop_nulls(column).group_by(column).agg(pl.col("users").sum())
            assert dict(sums.rows()) == ledger[change]
        assert table.filter(pl.col("users_with_more") > pl.col("users")).is_empty()
        # Each move is of one group, and each row of changes tells the same move.
        listed = read(in_order, "membership_changes", as_of)
        ends: dict[tuple[int, str | None, str], dict[str, str]] = {}
        for user, segment, group, change in listed.select("user_id", "segment", "group", "change").iter_rows():
            ends.setdefault((user, group, "" if group else segment), {})[change] = segment
        counted = Counter((group, move.get("exit"), move.get("enter")) for (_, group, _), move in ends.items())
        found = table.group_by("group", "from_segment", "to_segment").agg(pl.col("users").sum())
        assert {row[:3]: row[3] for row in found.rows()} == counted


def test_no_value_of_a_person_is_in_a_row(in_order: Path) -> None:
    clauses = {"days_since_purchase <= 10", "days_since_purchase <= 20", "days_since_purchase <= 30"}
    clauses |= {"open_rate_90d > 0.5", "city = 'secret 1'"}
    for as_of in DATES:
        assert set(flows(in_order, as_of)["cause"]) <= {*clauses, *TEXTS.values()}
    reasons = read(in_order, "membership_changes", DATES[1])["reason"]
    assert reasons.str.contains("secret 2").any()


@pytest.mark.parametrize("order", [(3, 2, 1, 0), pytest.param((2, 0, 3, 1), marks=pytest.mark.slow)])
def test_a_date_that_comes_late_corrects_the_next(tmp_path: Path, in_order: Path, order: tuple[int, ...]) -> None:
    for place in order:
        publish_day(tmp_path, a_day(DATES[place], 2))
    for as_of in DATES:
        assert flows(tmp_path, as_of).equals(flows(in_order, as_of))


def test_the_number_of_buckets_changes_nothing(tmp_path: Path, in_order: Path) -> None:
    for as_of, buckets in zip(DATES, (4, 1, 8, 1), strict=True):
        publish_day(tmp_path, a_day(as_of, buckets))
        assert flows(tmp_path, as_of).equals(flows(in_order, as_of))


def test_a_segment_that_changes_its_group_is_neither_left_nor_entered(tmp_path: Path) -> None:
    users: dict[int | str, Row] = {1: {}}
    stage = [STAGE, Defined("next", "stage", rule="city = 'x'")]
    publish_day(tmp_path, Day(A, users, {1: ["active"]}, stage))
    moved = [Defined("active", "habits", rule=STAGE.rule), stage[1]]
    publish_day(tmp_path, Day(B, users, {1: ["active", "next"]}, moved))
    assert [row[:3] for row in flows(tmp_path, B).rows()] == [("stage", None, "next")]


changes = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from([("a", "g"), ("b", "g"), ("c", "h"), ("t", None)]),
        st.sampled_from(["enter", "exit"]),
        st.sampled_from([("clause_true", "x > 1"), ("clause_false", "x > 1"), ("new_user", None), ("unknown", None)]),
        st.booleans(),
    ),
    max_size=30,
    # A user enters or leaves one segment of a group at most, and each segment once.
    unique_by=(lambda row: (row[0], row[1][1] or row[1][0], row[2]), lambda row: (row[0], row[1][0])),
)


def frame(rows: list[tuple[int, tuple[str, str | None], str, tuple[str, str | None], bool]]) -> pl.DataFrame:
    names = ("user_id", "segment", "group", "change", "cause", "clause", "several")
    schema = dict(zip(names, (pl.Int64, *(pl.String,) * 5, pl.Boolean), strict=True))
    flat = [(user, *segment, change, *cause, more) for user, segment, change, cause, more in rows]
    return pl.DataFrame(flat, schema, orient="row")


@settings(deadline=None)
@given(changes)
def test_parts_add_up_to_the_whole_in_any_order(
    rows: list[tuple[int, tuple[str, str | None], str, tuple[str, str | None], bool]],
) -> None:
    whole = flows_table(flow_counts(frame(rows)))
    parts = [flow_counts(frame([row for row in rows if row[0] % 3 == place])) for place in (2, 0, 1)]
    assert flows_table(itertools.chain.from_iterable(parts)).equals(whole)
    assert flow_counts(frame(rows[::-1])) == flow_counts(frame(rows))
    assert whole["users"].sum() == len({(row[0], row[1][1] or row[1][0]) for row in rows})


def test_causes_beyond_the_limit_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CAUSES", 2)
    rows = [
        ("g", "a", "b", CLAUSE_TRUE, "rare", 1, 1),
        ("g", "a", "b", CLAUSE_TRUE, "rarer, by its name", 1, 0),
        ("g", "a", "b", CLAUSE_TRUE, "frequent", 5, 2),
        ("g", "b", "a", CLAUSE_TRUE, "rare", 1, 0),
        ("g", "b", "a", CLAUSE_TRUE, "less frequent", 4, 0),
        ("g", "b", "a", CLAUSE_FALSE, "rare", 1, 1),
    ]
    assert flows_table(rows).rows() == [
        ("g", "a", "b", CLAUSE_TRUE, "frequent", 5, 2),
        ("g", "a", "b", OTHER, "other causes", 2, 1),
        ("g", "b", "a", CLAUSE_TRUE, "less frequent", 4, 0),
        ("g", "b", "a", OTHER, "other causes", 2, 1),
    ]


def test_a_clause_as_long_as_a_list_is_cut() -> None:
    clause = "city IN (" + ", ".join(f"'{number}'" for number in range(999)) + ")"
    [row] = flow_counts(frame([(1, ("a", "g"), "enter", ("clause_true", clause), False)]))
    assert row[4] == clause[:LONGEST_CLAUSE] + "…"


def test_what_a_bucket_hands_over_is_small() -> None:
    draw = random.Random(1)
    rows = [
        (user, (f"s{draw.randrange(10)}", "g"), change, (CLAUSE_TRUE, f"x > {draw.randrange(20)}"), False)
        for user in range(3000)
        for change in ("enter", "exit")
    ]
    counted = flow_counts(frame(rows))
    assert sum(row[5] for row in counted) == 3000
    assert len(counted) <= 10 * 10 * 20
    assert len(pickle.dumps(counted)) < 60 * len(counted)


@pytest.mark.parametrize(
    ("then", "now", "way"),
    [(5, 4, "fell"), (4, 5, "rose"), (None, 1, "appeared"), (1, None, "vanished"), (3, 3, None), (None, None, None)],
)
def test_what_became_of_a_score(then: int | None, now: int | None, way: str | None) -> None:
    sides = [pl.DataFrame({"r_score": pl.Series([value], dtype=pl.Int32)}) for value in (then, now)]
    for score in SCORES:
        [cause] = value_changes(SCORES, *(side.rename({"r_score": score}) for side in sides))["cause"]
        assert cause == (None if way is None else f"{score}_{way}")
        assert way is None or TEXTS[cause] == f"{score} {way}"
    assert {f"{score}_{way}" for score in SCORES for way in WAYS} <= set(TEXTS)


def test_a_score_that_was_not_published_appears() -> None:
    then, now = pl.DataFrame({"n": [1]}), pl.DataFrame({"n": [1], "r_score": [3]})
    assert value_changes(SCORES, then, now).rows() == [("r_score: unknown → 3", "r_score_appeared", None, False)]
