from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from benchmarks.duplicates import Quality, bench, quality
from benchmarks.people import people


@pytest.mark.slow
def test_the_duplicates_of_a_thousand_contacts_are_found_and_the_result_is_written(tmp_path: Path) -> None:
    text = bench(1_000, tmp_path / "data", tmp_path)
    result = json.loads((tmp_path / "duplicates.json").read_text())
    assert [one["what"] for one in result["measurements"]] == ["tamis duplicates find"]
    assert result["size"]["contacts"] == 1_000
    assert result["pairs"]["review"]["recall"] >= result["pairs"]["merge"]["recall"] > 0.8
    assert result["pairs"]["merge"]["precision"] > 0.95
    assert f"recall {result['pairs']['review']['recall']:.1%}" in text


@pytest.mark.slow
def test_planted_people() -> None:
    table = people(2_000, seed=3)
    assert_frame_equal(people(2_000, seed=3), table)
    assert (table.height, table["user_id"].n_unique(), table["person"].n_unique()) == (2_000, 2_000, 1_800)
    twice = table.filter(pl.col("person").is_duplicated())
    assert 200 < twice.height <= 400
    again = twice.group_by("person").agg(pl.all().n_unique())
    for name in ("first_name", "last_name", "email", "street", "phone", "birth_date"):
        assert 0.1 < (again[name] > 1).mean() < 0.9  # type: ignore[operator]


def test_quality_of_pairs() -> None:
    truth = pl.DataFrame({"user_id": ["1", "2", "3", "4", "5"], "person": [1, 1, 1, 2, 3]})
    pairs = pl.DataFrame(
        {
            "user_id": ["1", "1", "4", "2"],
            "other_id": ["2", "3", "5", "5"],
            "kind": ["exact", "fuzzy", "fuzzy", "fuzzy"],
            "score": [None, 0.9, 0.95, 0.5],
        }
    )
    assert quality(pairs, truth, 0.9) == Quality(3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert quality(pairs, truth, 0.99) == Quality(1, pytest.approx(1 / 3), 1.0)
