from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.behaviour import EVENT_TYPES
from benchmarks.generate import GeneratedLog, generate

END = date(2026, 1, 1)
EMAIL = ("email_sent", "email_open", "email_click")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GeneratedLog]:
    out = tmp_path_factory.mktemp("generated")
    return out, generate(out, users=3000, events=150_000, days=100, end=END)


@pytest.fixture(scope="module")
def log(made: tuple[Path, GeneratedLog]) -> pl.DataFrame:
    return read(made[0])


def read(out: Path) -> pl.DataFrame:
    return pl.read_parquet(out / "events" / "*" / "*.parquet", hive_partitioning=True).rename({"event_date": "arrived"})


def first_arrivals(log: pl.DataFrame) -> pl.DataFrame:
    return log.sort("arrived").unique("event_id", keep="first", maintain_order=True)


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.*")) if path.is_file()}


@pytest.mark.parametrize(
    ("users", "events", "days"), [(1000, 20_000, 30), (200, 60_000, 10), (5000, 10_000, 60), (50, 3000, 3)]
)
def test_rows_are_as_many_as_asked(tmp_path: Path, users: int, events: int, days: int) -> None:
    made = generate(tmp_path, users=users, events=events, days=days, end=END)
    assert made.rows == read(tmp_path).height == pytest.approx(events, rel=0.02)
    assert pl.read_parquet(tmp_path / "contacts.parquet").height == users
    assert sum(made.rows_by_type.values()) == made.rows


def test_same_arguments_same_bytes_for_any_number_of_threads(tmp_path: Path) -> None:
    generate(tmp_path / "here", users=500, events=20_000, days=20, end=END)
    command = [sys.executable, "-m", "benchmarks.generate", "--users=500", "--events=20000", "--days=20"]
    command += [f"--end={END}", f"--out={tmp_path / 'there'}"]
    project = Path(__file__).parents[2]
    subprocess.run(command, check=True, capture_output=True, cwd=project, env={**os.environ, "POLARS_MAX_THREADS": "1"})
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_another_seed_gives_another_log(tmp_path: Path) -> None:
    for seed in (1, 2):
        generate(tmp_path / str(seed), users=100, events=2000, days=5, end=END, seed=seed)
    assert not read(tmp_path / "1").equals(read(tmp_path / "2"))


@pytest.mark.parametrize(("kind", "dtype"), [("string", pl.String), ("int", pl.Int64)])
def test_schema(tmp_path: Path, kind: str, dtype: pl.DataType) -> None:
    generate(tmp_path, users=100, events=2000, days=5, end=END, user_id=kind)
    file = tmp_path / "events" / "event_date=2025-12-31" / "part-0.parquet"
    assert pl.read_parquet_schema(file) == {
        "event_id": pl.Int64,
        "user_id": dtype,
        "event_type": pl.String,
        "event_time": pl.Datetime("us", "UTC"),
        "amount": pl.Float64,
        "campaign_id": pl.String,
    }
    contacts = pl.read_parquet(tmp_path / "contacts.parquet")
    assert contacts.schema == {"user_id": dtype, "country": pl.String, "signup_date": pl.Date, "plan": pl.String}
    assert set(read(tmp_path)["user_id"]) <= set(contacts["user_id"])


def test_says_what_it_wrote(made: tuple[Path, GeneratedLog], log: pl.DataFrame) -> None:
    out, said = made
    assert json.loads((out / "log.json").read_text()) == asdict(said)
    assert said.repeats == log.height - log["event_id"].n_unique()
    assert said.late == log.filter(pl.col("event_time").dt.date() < pl.col("arrived")).height
    assert said.rows_by_type == dict(log["event_type"].value_counts().iter_rows())
    assert set(said.rows_by_type) == set(EVENT_TYPES)


def test_one_file_per_day_sorted_by_time(made: tuple[Path, GeneratedLog]) -> None:
    files = sorted((made[0] / "events").rglob("*.parquet"))
    assert [file.parent.name for file in files] == [
        f"event_date={END - timedelta(days=100 - day)}" for day in range(100)
    ]
    assert all(pl.read_parquet(file)["event_time"].is_sorted() for file in files[::20])


def test_some_events_are_late_and_none_is_early(log: pl.DataFrame) -> None:
    delays = first_arrivals(log).select((pl.col("arrived") - pl.col("event_time").dt.date()).dt.total_days())
    counts = dict(delays.to_series().value_counts().iter_rows())
    assert set(counts) == {0, 1, 2, 3}
    assert 0.004 < 1 - counts[0] / delays.height < 0.006


def test_some_events_are_repeated_exactly(log: pl.DataFrame) -> None:
    repeated = log.filter(pl.col("event_id").is_duplicated())
    share = (log.height - log["event_id"].n_unique()) / log.height
    assert 0.004 < share < 0.006
    assert repeated.drop("arrived").n_unique() == repeated["event_id"].n_unique()
    apart = repeated.group_by("event_id").agg((pl.col("arrived").max() - pl.col("arrived").min()).dt.total_days())
    assert set(apart["arrived"]) == {0, 1}


def test_amounts_and_campaigns_stand_where_they_belong(log: pl.DataFrame) -> None:
    assert log.filter(pl.col("amount").is_not_null())["event_type"].unique().to_list() == ["purchase"]
    amounts = log.filter(pl.col("event_type") == "purchase")["amount"]
    assert amounts.null_count() == 0
    assert (amounts == (amounts * 100).round() / 100).all()
    assert amounts.ge(1).all()
    assert set(log.filter(pl.col("campaign_id").is_not_null())["event_type"]) == set(EMAIL)
    assert log.filter(pl.col("event_type").is_in(EMAIL))["campaign_id"].null_count() == 0


def test_opens_follow_sends_and_clicks_follow_opens(log: pl.DataFrame) -> None:
    mails = first_arrivals(log).filter(pl.col("event_type").is_in(EMAIL))
    journeys = mails.pivot("event_type", index=["user_id", "campaign_id"], values="event_time")
    opened = journeys.drop_nulls("email_open")
    delay = opened["email_open"] - opened["email_sent"]
    assert delay.null_count() == 0
    hours = (delay.dt.total_seconds() / 3600).to_numpy()
    assert 0 < hours.min() < hours.max() <= 60
    assert 1 < np.median(hours) < 5
    # A click whose open was late and came after the end of the log has none.
    clicked = journeys.drop_nulls(["email_click", "email_open"])
    assert (clicked["email_click"] > clicked["email_open"]).all()
    assert 0.2 < opened.height / journeys.height < 0.4


def test_no_event_before_sign_up(made: tuple[Path, GeneratedLog], log: pl.DataFrame) -> None:
    joined = log.join(pl.read_parquet(made[0] / "contacts.parquet"), on="user_id")
    assert (joined["event_time"].dt.date() >= joined["signup_date"]).all()
    assert joined["signup_date"].n_unique() > 100


def test_activity_has_a_heavy_tail(log: pl.DataFrame) -> None:
    visits = log.filter(~pl.col("event_type").is_in(EMAIL)).group_by("user_id").len()
    sizes = np.sort(visits["len"].to_numpy())
    assert sizes[-len(sizes) // 100 :].sum() > 0.1 * sizes.sum()
    assert sizes.mean() > 1.7 * np.median(sizes)


def test_purchases_of_the_next_month_can_be_foretold(made: tuple[Path, GeneratedLog], log: pl.DataFrame) -> None:
    anchor = END - timedelta(days=30)
    day = pl.col("event_time").dt.date()
    events = first_arrivals(log)
    bought, visited = pl.col("event_type") == "purchase", ~pl.col("event_type").is_in(EMAIL)
    before = (
        events.filter(day < anchor)
        .group_by("user_id")
        .agg(orders=bought.sum(), recent=(visited & (day >= anchor - timedelta(days=30))).sum())
    )
    after = events.filter(day >= anchor).group_by("user_id").agg(label=bought.any())
    users = pl.read_parquet(made[0] / "contacts.parquet", columns=["user_id"])
    table = users.join(before, on="user_id", how="left").join(after, on="user_id", how="left")
    table = table.with_columns(pl.col("orders", "recent").fill_null(0), pl.col("label").fill_null(value=False))
    score = np.log1p(table["orders"].to_numpy()) + np.log1p(table["recent"].to_numpy())
    label = table["label"].to_numpy()
    assert 0.05 < label.mean() < 0.5
    assert 0.75 < auc(score, label) < 0.98


def auc(score: np.ndarray, label: np.ndarray) -> float:
    ranks = pl.Series(score).rank("average").to_numpy()
    positives = int(label.sum())
    return float((ranks[label].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives)))


def test_refuses_a_folder_that_holds_a_log(tmp_path: Path) -> None:
    generate(tmp_path, users=50, events=500, days=3, end=END)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError):
        generate(tmp_path, users=50, events=500, days=3, end=END)
    assert contents(tmp_path) == before
