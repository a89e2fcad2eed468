from __future__ import annotations

import random
from functools import reduce
from itertools import pairwise
from statistics import mean

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.segments.rfm_grid import RFM_GRID_SCHEMA, RfmGrid, add, rfm_counts, rfm_grid

SCHEMA = {
    "r_score": pl.Int8(),
    "f_score": pl.Int8(),
    "rfm_recency_days": pl.Int64(),
    "rfm_monetary_minor": pl.Int64(),
}


def users_of(count: int, bins: int, seed: int = 1) -> pl.DataFrame:
    draw = random.Random(seed)
    rows = [
        (None, None, None, None)
        if draw.random() < 0.2
        else (draw.randrange(1, bins + 1), draw.choice((1, bins)), draw.randrange(400), draw.randrange(-500, 90_000))
        for _ in range(count)
    ]
    return pl.DataFrame(rows, SCHEMA, orient="row")


@pytest.mark.parametrize(("bins", "digits"), [(5, 2), (3, 0), (2, 3), (9, 2)])
def test_cells_are_those_of_a_loop_over_users(bins: int, digits: int) -> None:
    users = users_of(400, bins)
    table = rfm_grid(rfm_counts(users, bins), digits)
    assert table.schema == RFM_GRID_SCHEMA
    codes = [(r, f) for r in range(1, bins + 1) for f in range(1, bins + 1)]
    assert table.select("r_score", "f_score").rows() == [*codes, (None, None)]
    rows = users.rows()
    for row in table.iter_rows(named=True):
        here = [user for user in rows if user[:2] == (row["r_score"], row["f_score"])]
        assert row["users"] == len(here)
        assert row["user_share"] == len(here) / 400
        assert row["total_value"] == sum(user[3] or 0 for user in here) / 10**digits
        if here and row["r_score"]:
            assert row["mean_value"] == pytest.approx(mean(user[3] for user in here) / 10**digits, rel=1e-12)
            assert row["mean_recency_days"] == pytest.approx(mean(user[2] for user in here), rel=1e-12)
        else:
            assert (row["mean_value"], row["mean_recency_days"]) == (None, None)
    assert table["users"].sum() == 400


def test_nobody_is_in_every_cell_of_no_users() -> None:
    table = rfm_grid(rfm_counts(users_of(0, 5), 5), 2)
    assert table.height == 26
    assert set(table["users"]) == {0}
    assert set(table["user_share"]) == {None}


def test_large_sums_keep_every_unit() -> None:
    users = pl.DataFrame([(1, 1, 0, 2**53), (1, 1, 0, 1)], SCHEMA, orient="row")
    assert rfm_counts(users, 3).spent_minor[0] == 2**53 + 1


@given(st.lists(st.integers(0, 200), max_size=4), st.integers(0, 3))
def test_any_cut_into_buckets_adds_up_to_the_whole(cuts: list[int], seed: int) -> None:
    users = users_of(200, 5, seed)
    ends = [0, *sorted(cuts), 200]
    parts = [rfm_counts(users.slice(low, high - low), 5) for low, high in pairwise(ends)]
    assert reduce(add, parts) == rfm_counts(users, 5)


def test_other_numbers_of_scores_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="equally many scores, got 1 and 2"):
        add(RfmGrid(1, (1, 0), (0, 0), (0, 0)), RfmGrid(2, (1,) * 5, (0,) * 5, (0,) * 5))
