from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from benchmarks import segments as module
from benchmarks.segments import Size, bench, by_duckdb, by_tamis, definitions, ensure_users, rules, size_from


def test_both_count_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUCKET", 900)
    ensure_users(tmp_path, Size(users=2000))
    files = sorted(map(str, tmp_path.glob("users-*.parquet")))
    assert [pl.read_parquet(file).shape for file in files] == [(900, 61), (900, 61), (200, 61)]
    ours, theirs = by_tamis(files), by_duckdb(files)
    assert ours["sizes"] == theirs["sizes"]
    assert len(ours["sizes"]) == 101
    # Rules that hold for nobody or everybody would cost nothing.
    assert sum(0 < size < 2000 for size in ours["sizes"].values()) > 90
    primary = [one.name for one in definitions() if one.group == "primary"]
    assert sum(ours["sizes"][name] for name in primary) == 2000


def test_rules_differ_and_share_their_parts(tmp_path: Path) -> None:
    assert len(set(rules())) == 100
    ensure_users(tmp_path, Size(users=10))
    done = by_tamis([str(tmp_path / "users-00000.parquet")])
    assert done["clauses"] < 100


@pytest.mark.slow
def test_the_result_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = bench(Size(users=3000), turns=1, folder=tmp_path / "data", results=tmp_path)
    result = json.loads((tmp_path / "segments.json").read_text())
    assert [one["what"] for one in result["measurements"]] == ["tamis", "duckdb", "tamis, one bucket"]
    assert result["size"] == {"users": 3000, "features": 60, "rules": 100}
    assert set(result["ratios"]) == {
        "seconds",
        "time_vs_duckdb",
        "peak_mb",
        "memory_vs_duckdb",
        "memory_vs_one_bucket",
    }
    assert "time_vs_duckdb" in text


def test_the_size_comes_from_the_environment() -> None:
    assert size_from({"BENCH_USERS": "1e5"}) == Size(users=100_000)
    assert size_from({}) == Size()
