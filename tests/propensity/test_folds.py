from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events.mapping import stable_hash
from engine.propensity.folds import fold_place, in_sample, in_test, in_valid
from engine.rollups.ranges import KEYS

KEY = pl.col("user_key")
USERS = 40_000
# Five standard deviations of a share among so many users.
NEAR = 5 * 0.5 / USERS**0.5


@pytest.fixture(scope="module")
def users() -> pl.DataFrame:
    return pl.DataFrame({"id": range(USERS)}).select(stable_hash(pl.col("id")).alias("user_key"))


def share_of(users: pl.DataFrame, fold: pl.Expr) -> float:
    return float(users.select(fold.cast(pl.Float64).mean().alias("share")).item())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.5, 0.99])
def test_folds_have_the_share_of_users_asked_for(users: pl.DataFrame, share: float) -> None:
    assert share_of(users, in_test(KEY, share)) == pytest.approx(share, abs=NEAR)
    assert share_of(users, in_valid(KEY, share)) == pytest.approx((1 - share) / 3, abs=NEAR)
    assert share_of(users, in_test(KEY, share) & in_valid(KEY, share)) == 0


def test_a_larger_fold_holds_the_smaller_one(users: pl.DataFrame) -> None:
    assert share_of(users, in_test(KEY, 0.2) & ~in_test(KEY, 0.3)) == 0


@pytest.mark.parametrize("buckets", [2, 16])
def test_folds_have_nothing_to_do_with_buckets_or_samples(users: pl.DataFrame, buckets: int) -> None:
    keys = users.with_columns(bucket=KEY // pl.lit(KEYS // buckets, pl.UInt64), sampled=in_sample(KEY, 2, 1))
    shares = keys.group_by("bucket", "sampled").agg(in_test(KEY, 0.25).cast(pl.Float64).mean().alias("share"))
    assert shares.height == 2 * buckets
    assert (shares["share"] - 0.25).abs().max() < NEAR * (2 * buckets) ** 0.5
    lowest = users.sort("user_key").head(USERS // 4)
    assert share_of(lowest, in_test(KEY, 0.25)) == pytest.approx(0.25, abs=2 * NEAR)
    assert share_of(users.filter(in_test(KEY, 0.25)), in_sample(KEY, 2, 1)) == pytest.approx(0.5, abs=2 * NEAR)


def test_places_never_change() -> None:
    # Read off the first version: published models name their folds by share alone.
    keys = pl.DataFrame({"user_key": pl.Series([0, 1, 2, 3, 2**63, 2**64 - 1], dtype=pl.UInt64)})
    assert keys.select(fold_place(KEY).alias("place"))["place"].to_list() == [
        9_322_150_459_130_755_473,
        3_316_771_968_360_525_384,
        17_885_886_720_040_651_020,
        1_974_933_986_935_571_587,
        16_684_580_300_765_306_035,
        14_097_121_686_309_254_482,
    ]
    found = keys.select(test=in_test(KEY, 0.25), valid=in_valid(KEY, 0.1), sample=in_sample(KEY, 4, 1))
    assert found.to_dict(as_series=False) == {
        "test": [False, True, False, True, False, False],
        "valid": [False, True, False, True, False, False],
        "sample": [False, True, False, False, True, False],
    }


@given(rows=st.integers(1, 1000), limit=st.integers(1, 2000), more=st.integers(0, 500))
def test_a_larger_sample_holds_the_smaller_one_and_the_largest_everyone(rows: int, limit: int, more: int) -> None:
    keys = pl.DataFrame({"user_key": pl.Series([KEYS // 200 * user for user in range(200)], dtype=pl.UInt64)})
    small = keys.filter(in_sample(KEY, rows, limit))["user_key"]
    large = keys.filter(in_sample(KEY, rows, limit + more))["user_key"]
    assert set(small) <= set(large)
    assert (small.len() == 200) or limit < rows


def test_a_sample_has_about_the_rows_asked_for(users: pl.DataFrame) -> None:
    assert share_of(users, in_sample(KEY, 1_000_003, 300_000)) == pytest.approx(0.3, abs=NEAR)
