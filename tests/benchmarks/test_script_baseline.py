from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import lightgbm
import numpy as np
import polars as pl
import pytest

from benchmarks.generate import generate
from benchmarks.script_baseline import RULES, load_bundle_parts, main, predict, run
from benchmarks.script_sql import FeatureSet, feature_query

END = date(2026, 1, 1)
AS_OF = END - timedelta(days=5)
CLUSTER_FEATURES = ("rfm_recency_days", "active_days_30d", "purchase_amount_total")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("log")
    generate(out, users=200, events=10_000, days=40, end=END)
    return out / "events"


@pytest.fixture(scope="module")
def features(log: Path) -> pl.DataFrame:
    with duckdb.connect() as connection:
        frame: pl.DataFrame = connection.sql(feature_query(log, AS_OF, FeatureSet())).pl()
    return frame.sort("user_id")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, features: pl.DataFrame) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "targets" / "purchase").mkdir(parents=True)
    names = ["days_since_purchase", "page_view_count_30d"]
    label = (features["add_to_cart_count_total"] > 1).to_numpy()
    data = lightgbm.Dataset(features.select(names).cast(pl.Float64).to_numpy(), label)
    settings = {"objective": "binary", "verbosity": -1, "min_data_in_leaf": 5, "num_threads": 1}
    lightgbm.train(settings, data, 5).save_model(folder / "targets" / "purchase" / "model.txt")
    (folder / "targets" / "purchase" / "model.json").write_text(json.dumps({"features": names}))
    preparation = {"features": CLUSTER_FEATURES, "fill": [40.0, 0.0, 0.0], "centre": [3.0, 1.0, 1.0]}
    preparation["scale"] = [1.0, 0.5, 2.0]
    centroids = [[0.7, -1, -0.5], [0, 1, 0], [-1, 1, 1]]
    turned = {"ids": [2, 0, 1], "centroids": [centroids[2], centroids[0], centroids[1]]}
    clusters = {"clustering": {"preparation": preparation, **turned}}
    (folder / "clusters.json").write_text(json.dumps(clusters))
    return folder


def by_hand(events: Iterable[dict[str, Any]], features: FeatureSet) -> dict[str, float | None]:
    rows = [(e["event_type"], (AS_OF - e["event_time"].date()).days, round((e["amount"] or 0) * 100)) for e in events]
    ago = {day for _, day, _ in rows}
    result: dict[str, float | None] = {"tenure_days": max(ago), "days_since_last_event": min(ago)}
    result["engagement_points"] = sum(day <= 90 for _, day, _ in rows)
    for window in features.windows:
        result[f"active_days_{window}d"] = sum(day <= window for day in ago)
    for name in features.types:
        mine = [(day, minor) for kind, day, minor in rows if kind == name]
        result[f"days_since_{name}"] = min((day for day, _ in mine), default=None)
        for suffix, window in [("total", 10**6), *((f"{window}d", window) for window in features.windows)]:
            result[f"{name}_count_{suffix}"] = sum(day <= window for day, _ in mine)
            if name in features.priced:
                result[f"{name}_amount_{suffix}"] = sum(minor for day, minor in mine if day <= window) / 100
    for window in features.windows:
        sent, opened, clicked, bought = (
            result[f"{name}_count_{window}d"] or 0 for name in ("email_sent", "email_open", "email_click", "purchase")
        )
        result[f"open_rate_{window}d"] = opened / sent if sent else None
        result[f"click_rate_{window}d"] = clicked / sent if sent else None
        result[f"click_to_open_rate_{window}d"] = clicked / opened if opened else None
        result[f"purchase_rate_{window}d"] = bought / sent if sent else None
    return result | rfm_by_hand([(day, minor) for kind, day, minor in rows if kind == "purchase"])


def rfm_by_hand(orders: list[tuple[int, int]]) -> dict[str, float | None]:
    days = sorted({day for day, _ in orders})
    spent, repeats = sum(minor for _, minor in orders), len(days) - 1
    later = sum(minor for day, minor in orders if day != days[-1])
    return {
        "rfm_recency_days": days[0] if orders else None,
        "rfm_frequency": len(orders) if orders else None,
        "rfm_monetary": spent / 100 if orders else None,
        "rfm_mean_order": spent / len(orders) / 100 if orders else None,
        "btyd_frequency": repeats if orders else None,
        "btyd_recency_days": days[-1] - days[0] if orders else None,
        "btyd_t_days": days[-1] - 1 if orders else None,
        "btyd_mean_repeat_spend": (later / repeats / 100 if repeats else 0.0) if orders else None,
    }


def test_features_are_those_counted_by_hand(log: Path, features: pl.DataFrame) -> None:
    events = pl.read_parquet(log / "*" / "*.parquet", hive_partitioning=False).unique("event_id")
    past = events.filter(pl.col("event_time").dt.date() < AS_OF)
    expected = [
        {"user_id": user, **by_hand(rows.iter_rows(named=True), FeatureSet())}
        for (user,), rows in sorted(past.group_by("user_id"))
    ]
    assert past.height < events.height
    assert set(expected[0]) == set(features.columns)
    for row, wanted in zip(features.iter_rows(named=True), expected, strict=True):
        missing = [name for name, value in wanted.items() if value is None]
        assert [name for name in wanted if row[name] is None] == missing
        assert row["user_id"] == wanted["user_id"]
        numbers = wanted.keys() - {"user_id", *missing}
        assert [row[name] for name in numbers] == pytest.approx([wanted[name] for name in numbers], rel=1e-12, abs=0)


def test_run_scores_assigns_and_writes_every_user_once(
    log: Path, bundle: Path, features: pl.DataFrame, tmp_path: Path
) -> None:
    figures = run(log, AS_OF, bundle, tmp_path / "out")
    written = pl.read_parquet(tmp_path / "out" / "as_of=2025-12-27" / "*" / "*.parquet", hive_partitioning=True).sort(
        "user_id"
    )
    assert written["user_id"].equals(features["user_id"])
    assert figures["users"] == features.height == sum(figures["segments"].values()) == sum(figures["clusters"])
    assert figures["purchases"] == features["purchase_count_total"].sum()
    assert dict(written["segment"].value_counts().iter_rows()) == figures["segments"]
    parts = load_bundle_parts(bundle)
    scores = predict(features, parts.targets[0])
    assert written["propensity_purchase"].to_list() == scores.tolist()
    assert figures["scores"]["purchase"] == pytest.approx(scores.mean())
    assert np.unique(scores).size > 2

    spent = features.select(CLUSTER_FEATURES).with_columns(pl.first().fill_null(40)).cast(pl.Float64).to_numpy()
    placed = (np.log1p(spent) - parts.clusters.mean) / parts.clusters.scale
    distances = np.linalg.norm(placed[:, None] - parts.clusters.centroids, axis=2)
    assert written["cluster"].to_list() == distances.argmin(axis=1).tolist()


def test_a_segment_is_the_first_rule_that_holds(log: Path, bundle: Path, tmp_path: Path) -> None:
    run(log, AS_OF, bundle, tmp_path / "out")
    written = pl.read_parquet(tmp_path / "out" / "as_of=2025-12-27" / "*" / "*.parquet", hive_partitioning=True)
    chain = pl.coalesce(
        *(pl.when(pl.sql_expr(rule)).then(pl.lit(name)) for name, rule in RULES.items()), pl.lit("others")
    )
    assert written["segment"].equals(written.select(chain).to_series(), check_names=False)
    assert written["segment"].n_unique() >= 4


def test_command_line_prints_the_figures(
    log: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([f"--events={log}", f"--as-of={AS_OF}", f"--bundle={bundle}", f"--out={tmp_path / 'out'}"])
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"users", "purchases", "spend", "segments", "clusters", "scores"}
