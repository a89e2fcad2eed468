from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.end_to_end import Size
from benchmarks.on_ray import WAYS, bench, published


@pytest.mark.ray
@pytest.mark.slow
def test_a_tiny_run_agrees_and_writes_its_result(tmp_path: Path) -> None:
    text = bench(Size(users=600, events=30_000, days=40), tmp_path, repeats=1, many=300, results=tmp_path / "results")
    result = json.loads((tmp_path / "results" / "ray.json").read_text())
    assert result["name"] == "ray"
    assert [one["what"] for one in result["measurements"]] == [*WAYS, "100 empty tasks", "300 empty tasks"]
    assert {"ray_vs_local", "speedup_2_workers", "driver_peak_mb", "overhead_ms_per_task"} <= set(result["ratios"])
    assert all(ratio > 0 for ratio in result["ratios"].values())
    assert "speedup_2_workers" in text
    assert not (tmp_path / "ray-runs").exists()


def test_every_published_byte_and_name_counts(tmp_path: Path) -> None:
    file = tmp_path / "scores" / "as_of=2026-01-01" / "part.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"a")
    (tmp_path / "_work").mkdir()
    (tmp_path / "_work" / "part.parquet").write_bytes(b"x")
    first = published(tmp_path)
    (tmp_path / "_work" / "part.parquet").write_bytes(b"y")
    assert published(tmp_path) == first
    file.write_bytes(b"b")
    assert published(tmp_path) != first
    file.write_bytes(b"a")
    file.rename(file.with_name("other.parquet"))
    assert published(tmp_path) != first
