from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from engine.value import counts as module
from engine.value.counts import Counts, count_customers, count_files, merge
from tests.value.customers import btyd, counted

USERS = btyd(
    [
        (2, 30, 40, 4.5),
        (0, 0, 40, 0.0),
        (None, None, None, None),
        (2, 30, 40, 5.0),
        (1, 7, 9, -2.0),
        (0, 0, 40, 0.0),
        (1, 30, 40, 9.0),
    ]
)


def equal(one: Counts, other: Counts) -> None:
    assert_frame_equal(one.histories, other.histories, check_exact=True)
    assert_frame_equal(one.spend, other.spend, check_exact=True)


def test_customers_are_counted_by_history_and_by_spend() -> None:
    found = counted(USERS)
    assert found.histories.rows() == [(0, 0, 40, 2), (1, 7, 9, 1), (1, 30, 40, 1), (2, 30, 40, 2)]
    assert found.spend.rows() == [(1, -200, 1), (1, 900, 1), (2, 900, 1), (2, 1000, 1)]
    assert {*found.histories.dtypes, *found.spend.dtypes} == {pl.Int64()}


def test_nobody_gives_empty_counts() -> None:
    found = counted(USERS.clear())
    assert (found.histories.height, found.spend.height) == (0, 0)
    equal(merge([found, counted(USERS)]), counted(USERS))


rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(5, 8), st.integers(0, 4).map(float)), max_size=30
)


@given(rows, st.integers(1, 4), st.randoms())
def test_any_split_of_the_customers_adds_up_to_the_same(
    users: list[tuple[int, int, int, float]], parts: int, random: object
) -> None:
    random.shuffle(users)  # type: ignore[attr-defined]
    whole = counted(btyd(sorted(users)))
    equal(merge([counted(btyd(users[start::parts])) for start in range(parts)]), whole)


@pytest.mark.parametrize("pending", [0, 10_000])
def test_files_are_counted_one_by_one(pending: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PENDING_ROWS", pending)
    files = []
    for index in range(3):
        file = tmp_path / f"current-{index}.parquet"
        USERS[index::3].with_columns(other=pl.lit(1)).write_parquet(file)
        files.append(str(file))
    equal(count_files(files, 2), counted(USERS))


@pytest.mark.parametrize("digits", [0, 2, 3])
def test_the_sum_comes_back_from_the_mean_to_the_last_unit(digits: int) -> None:
    random = np.random.default_rng(0)
    spend = np.concatenate([random.integers(1, 10**6, 5000), random.integers(10**13, 10**15, 5000)])
    frequency = random.integers(1, 400, spend.size)
    frame = pl.DataFrame({"spend": spend, "btyd_frequency": frequency}).with_columns(
        btyd_recency_days=1,
        btyd_t_days=2,
        btyd_mean_repeat_spend=pl.col("spend") / (pl.col("btyd_frequency") * 10**digits),
    )
    found = count_customers(frame.lazy(), digits).spend
    expected = frame.group_by("btyd_frequency", "spend").len().sort("btyd_frequency", "spend")
    assert found.select("frequency", "spend_minor").rows() == expected.select("btyd_frequency", "spend").rows()
