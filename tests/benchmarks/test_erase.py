from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from benchmarks.end_to_end import Size
from benchmarks.erase import bench, chosen, left, size_of


def test_people_are_spread_over_all_users_and_found_again(tmp_path: Path) -> None:
    for table, column in (("features", "user_id"), ("drift", "feature")):
        folder = tmp_path / table / "as_of=2026-01-01"
        folder.mkdir(parents=True)
        pl.DataFrame({column: range(1000)}).write_parquet(folder / "part-0.parquet")
    ids = chosen(tmp_path, 10)
    assert ids == [str(user) for user in range(0, 1000, 100)]
    assert left(tmp_path, [*ids, "1000"]) == 10


def test_the_size_that_is_asked_for() -> None:
    assert size_of({}) == Size(1_000_000, 10_000_000, 30)
    assert size_of({"BENCH_USERS": "5e4", "BENCH_DAYS": "7"}) == Size(50_000, 500_000, 7)


@pytest.mark.slow
def test_a_small_one(tmp_path: Path) -> None:
    told = bench(Size(400, 9000, 30), tmp_path / "data", tmp_path, people=5)
    result = json.loads((tmp_path / "erase.json").read_text())
    assert set(result["ratios"]) == {"files_rewritten", "files_rewritten_of_one"}
    assert 0 < result["erasures"]["many"]["files_rewritten"] < result["erasures"]["many"]["files"]
    assert "Written again: " in told
