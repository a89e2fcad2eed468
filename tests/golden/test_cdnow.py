from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.rollups.bucket import Bucket
from tests.features.logs import at, bucket_of, features_at, ingested, spec_of
from tests.golden.runs import published, score_log

FIRST_DAY = date(1997, 1, 1)
CALIBRATED = date(1997, 10, 1)
END = date(1998, 7, 1)
SPEC = spec_of(windows=(7,))


@pytest.fixture(scope="module")
def sample(reference_data: Path) -> pl.DataFrame:
    return pl.read_parquet(reference_data / "cdnow_sample.parquet")


@pytest.fixture(scope="module")
def bucket(sample: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Bucket:
    events = [
        at(day.isoformat(), user, amount=round(100 * amount))
        for user, day, amount in sample.select("sample_id", "date", "amount").iter_rows()
    ]
    return bucket_of(ingested(events, SPEC, tmp_path_factory.mktemp("cdnow")), END)


def test_the_published_summary_to_the_last_customer(bucket: Bucket, reference_data: Path) -> None:
    expected = pl.read_parquet(reference_data / "cdnow_sample_summary_weeks.parquet").sort("ID")
    found = features_at(bucket, CALIBRATED, SPEC)
    weeks = found.select(
        ID="user_id",
        x="btyd_frequency",
        t_x=(pl.col("btyd_recency_days") / 7).round(2, mode="half_away_from_zero"),
        T=(pl.col("btyd_t_days") / 7).round(2, mode="half_away_from_zero"),
        zbar="btyd_mean_repeat_spend",
    )
    assert weeks.height == 2357
    assert_frame_equal(weeks.drop("zbar"), expected.drop("zbar"), check_exact=True)
    assert (weeks["zbar"] - expected["zbar"]).abs().max() < 0.00501


def test_the_published_histogram_of_repeat_purchases(bucket: Bucket) -> None:
    frequency = features_at(bucket, CALIBRATED, SPEC)["btyd_frequency"].clip(0, 7)
    assert [(frequency == x).sum() for x in range(8)] == [1411, 439, 214, 100, 62, 38, 29, 64]


def test_the_published_cumulative_repeat_purchases(bucket: Bucket) -> None:
    found = [
        int(features_at(bucket, FIRST_DAY + timedelta(weeks=week), SPEC)["btyd_frequency"].sum())
        for week in range(20, 26)
    ]
    assert found == [1359, 1414, 1484, 1517, 1573, 1672]


def test_every_purchase_day_is_in_calibration_holdout_or_first(bucket: Bucket, sample: pl.DataFrame) -> None:
    whole = features_at(bucket, END, SPEC)
    calibrated = features_at(bucket, CALIBRATED, SPEC)
    assert whole["user_id"].to_list() == sorted(set(sample["sample_id"]))
    holdout = whole["btyd_frequency"] - calibrated["btyd_frequency"]
    distinct = sample.select("sample_id", "date").unique().height
    assert calibrated["btyd_frequency"].sum() + holdout.sum() + whole.height == distinct == 6696
    assert whole["rfm_frequency"].sum() == sample.height == 6919
    assert whole["rfm_monetary_minor"].sum() == (100 * sample["amount"]).round().cast(pl.Int64).sum()


@pytest.mark.parametrize("dtype", [pl.Date, pytest.param(pl.Datetime("us"), marks=pytest.mark.slow), pl.Datetime("ns")])
def test_dates_and_timestamps_give_the_same_tables(sample: pl.DataFrame, dtype: pl.DataType, tmp_path: Path) -> None:
    columns = {
        "user_id": "sample_id",
        "event_type": {"value": "purchase"},
        "event_time": "date",
        "amount": "amount",
    }
    digests = []
    for kind in (pl.Date, dtype):
        file, out = tmp_path / f"{kind}.parquet", tmp_path / f"out {kind}"
        sample.with_columns(pl.col("date").cast(kind)).write_parquet(file)
        score_log(out, CALIBRATED, {"path": str(file), "columns": columns})
        digests.append({table: published(out, table) for table in ("features", "scores", "segments")})
    for table, frame in digests[0].items():
        assert_frame_equal(frame, digests[1][table], check_exact=True)


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    found = features_at(bucket_of(ingested([at("2030-01-01")], SPEC, tmp_path), CALIBRATED), CALIBRATED, SPEC)
    assert found.is_empty()
