from __future__ import annotations

import math
import random
from functools import reduce
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.segments.score_bins import (
    ENGAGEMENT_EDGES,
    PROPENSITY_EDGES,
    SCORE_DISTRIBUTION_SCHEMA,
    ScoreBins,
    add,
    score_bins,
    score_distribution,
)

NAMES = ("engagement_score", "propensity_buys", "propensity_leaves")
SCHEMA = dict.fromkeys(NAMES, pl.Float64())


def users_of(count: int, seed: int = 1) -> pl.DataFrame:
    draw = random.Random(seed)
    rows = [
        (
            draw.choice((0.0, 9.99, 10.0, 99.99, 100.0)),
            draw.choice((None, draw.random() ** 4)),
            draw.choice((*PROPENSITY_EDGES, math.nan)),
        )
        for _ in range(count)
    ]
    return pl.DataFrame(rows, SCHEMA, orient="row")


def test_ranges_are_those_of_a_loop_over_users() -> None:
    users = users_of(500)
    table = score_distribution(score_bins(users, NAMES[1:]))
    assert table.schema == SCORE_DISTRIBUTION_SCHEMA
    for name, edges in zip(NAMES, (ENGAGEMENT_EDGES, PROPENSITY_EDGES, PROPENSITY_EDGES), strict=True):
        rows = table.filter(pl.col("score") == name)
        missing = users[name].fill_nan(None).null_count()
        ends = [*pairwise(edges), *([(None, None)] if missing else [])]
        assert rows.select("low", "high").rows() == ends
        for low, high, count, share in rows.select("low", "high", "users", "share").iter_rows():
            values = [value for value in users[name] if value is not None and low is not None]
            here = [value for value in values if low <= value < high or value == high == edges[-1]]
            assert count == (missing if low is None else len(here))
            assert share == count / 500
        assert rows["users"].sum() == 500


def test_a_score_that_nobody_lacks_has_no_row_for_it() -> None:
    table = score_distribution(score_bins(users_of(9), ()))
    assert table["score"].unique().to_list() == ["engagement_score"]
    assert table["low"].null_count() == 0


def test_no_users_are_in_no_range() -> None:
    table = score_distribution(score_bins(users_of(0), NAMES[1:]))
    assert set(table["users"]) == {0}
    assert set(table["share"]) == {None}


@given(st.lists(st.integers(0, 100), max_size=4), st.integers(0, 3))
def test_any_cut_into_buckets_adds_up_to_the_whole(cuts: list[int], seed: int) -> None:
    users = users_of(100, seed)
    ends = [0, *sorted(cuts), 100]
    parts = [score_bins(users.slice(low, high - low), NAMES[1:]) for low, high in pairwise(ends)]
    assert reduce(add, parts) == score_bins(users, NAMES[1:])


def test_other_scores_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="expected bins of the same scores"):
        add((ScoreBins("a", (1,)),), (ScoreBins("b", (1,)),))
