from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from benchmarks import value as module
from benchmarks.customers import simulate
from benchmarks.value import PURCHASES, SPEND, bench, compare, ensure_customers
from benchmarks.value_by_hand import values
from engine.config import CustomerValue
from engine.value.counts import count_customers
from engine.value.model import fit_value


@pytest.mark.slow
def test_both_ways_agree_and_the_result_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_ROWS", 3000)
    text = bench(5000, 2000, tmp_path / "data", tmp_path)
    result = json.loads((tmp_path / "value.json").read_text())
    assert [one["what"] for one in result["measurements"]] == ["tamis", "by hand, sample"]
    assert result["size"] == {"customers": 5000, "sample": 2000, "days": 730}
    assert set(result["seconds"]) == {"count", "fit", "columns"}
    assert result["max_relative_difference"] < 1e-3
    assert result["model"]["fit"]["customers"] == 5000
    assert f"{result['distinct']['histories']:,} histories" in text
    written = pl.read_parquet(tmp_path / "data" / "value-out" / "*.parquet")
    assert written.height == 5000
    assert written.null_count().row(0) == (0, 0, 0, 0)


def test_customers_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_ROWS", 40)
    ensure_customers(tmp_path, 100)
    files = sorted(tmp_path.iterdir())
    assert [pl.read_parquet(file).height for file in files] == [40, 40, 20]
    times = [file.stat().st_mtime_ns for file in files]
    ensure_customers(tmp_path, 100)
    assert [file.stat().st_mtime_ns for file in files] == times


def test_a_difference_is_seen() -> None:
    frame = simulate(3000, PURCHASES, SPEND, days=730).drop("later")
    model = fit_value(count_customers(frame.lazy(), 2), CustomerValue(), 2)
    by_hand = values(frame)
    difference, overflowed = compare(model, frame, by_hand)
    assert difference < 1e-3
    assert overflowed == 0
    dearer = by_hand.with_columns(pl.col("value_clv") * 1.1)
    assert compare(model, frame, dearer)[0] > 0.05
    infinite = dearer.with_columns(value_clv=pl.lit(float("inf")))[:1]
    assert compare(model, frame, pl.concat([infinite, by_hand[1:]]))[1] == 1


def test_simulated_customers_have_sound_histories() -> None:
    frame = simulate(5000, PURCHASES, SPEND, days=300, ahead=30)
    x, recency, age = (pl.col(f"btyd_{name}") for name in ("frequency", "recency_days", "t_days"))
    sound = (x >= 0) & (x <= recency) & (recency <= age) & (age < 300) & ((x == 0) == (recency == 0))
    assert frame.select(sound.all()).item()
    assert frame.filter((x == 0) & (pl.col("btyd_mean_repeat_spend") != 0)).is_empty()
    assert frame["later"].sum() > 0
