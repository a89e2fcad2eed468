from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from benchmarks.publish import AS_OF, SEGMENTS, Size, bench, ensure_buckets, publish_buckets, ratios_of, size_from


def test_sizes() -> None:
    assert size_from({}) == Size(10_000_000)
    assert size_from({"BENCH_USERS": "1e6"}) == Size(1_000_000)
    assert [Size(users).buckets for users in (100, 1_000_000, 10_000_000)] == [1, 16, 128]


def test_what_is_published_is_what_was_given(tmp_path: Path) -> None:
    ensure_buckets(tmp_path / "rows", Size(2_000))
    about = publish_buckets(tmp_path / "rows", tmp_path / "out")
    assert (about["rows"], about["files"]) == (2_000, len(SEGMENTS))
    found = pl.read_parquet(
        tmp_path / "out" / "segments" / f"as_of={AS_OF}" / "**" / "*.parquet", hive_partitioning=True
    )
    given = pl.read_parquet(tmp_path / "rows" / "*.parquet")
    assert given.drop("segment").width == 40
    columns = [name for name in given.columns if not name.startswith("decile")]
    assert found.sort("user_id").select(columns).equals(given.sort("user_id").select(columns))


def test_ratios() -> None:
    found = {
        "publish": [{"seconds": 3.0, "cpu_seconds": 5.0, "bytes": 110, "anonymous_mb": 300}],
        "sink": [{"seconds": 2.0, "cpu_seconds": 4.0, "bytes": 100, "anonymous_mb": 100}],
        "publish a quarter": [{"seconds": 1.0, "cpu_seconds": 1.0, "bytes": 27, "anonymous_mb": 250}],
    }
    peaks = {"publish": [500.0], "sink": [900.0], "publish a quarter": [400.0]}
    assert ratios_of(found, peaks) == {
        "publish_vs_sink": 1.5,
        "publish_vs_sink_cpu": 1.25,
        "bytes_vs_sink": 1.1,
        "peak_mb": 500.0,
        "peak_vs_quarter": 1.25,
        "anonymous_mb": 300.0,
        "anonymous_vs_quarter": 1.2,
    }


@pytest.mark.slow
def test_the_whole_benchmark(tmp_path: Path) -> None:
    text = bench(Size(4_000), turns=1, folder=tmp_path, results=tmp_path, load=lambda: {"load_vs_copy": 1.25})
    assert "publish_vs_sink" in text
    ratios = json.loads((tmp_path / "publish.json").read_text())["ratios"]
    assert set(ratios) == {
        *("publish_vs_sink", "publish_vs_sink_cpu", "bytes_vs_sink", "load_vs_copy"),
        *("peak_mb", "peak_vs_quarter", "anonymous_mb", "anonymous_vs_quarter"),
    }
