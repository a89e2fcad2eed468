from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measure import Measurement
from benchmarks.predict import CATEGORICAL, FEATURES, Size, as_frame, bench, make_rows, size_from, speed_ratios
from engine.propensity.matrix import feature_matrix


@pytest.mark.slow
def test_a_tiny_run_agrees_and_writes_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.predict.TRAINING_ROWS", 3000)
    text = bench(Size(rows=5000, trees=5, leaves=15), turns=1, results=tmp_path)
    result = json.loads((tmp_path / "predict.json").read_text())
    assert result["size"] == {"rows": 5000, "trees": 5, "leaves": 15, "features": 60}
    assert result["raw_max_abs_difference"] == 0
    assert result["max_abs_difference"] < 1e-12
    assert result["model"]["trees"] == 5
    assert result["model"]["category_splits"] > 0
    assert 0 < result["first_call_seconds"] < result["compile_seconds"]
    assert "time_vs_lightgbm" in text


def test_the_frame_holds_what_the_matrix_holds() -> None:
    matrix, label = make_rows(500, seed=1)
    frame, codes = as_frame(matrix)
    assert [column in {table.column for table in codes} for column in frame.columns] == CATEGORICAL
    np.testing.assert_array_equal(feature_matrix(frame, frame.columns, codes), matrix)
    assert 0.01 < np.isnan(matrix).mean() < 0.2
    assert 0 < label.mean() < 1
    assert matrix.shape == (500, FEATURES)


def test_ratios_are_those_of_medians_against_the_faster_layout() -> None:
    seconds = {
        "lightgbm": [9.0, 10.0, 50.0],
        "lightgbm in columns": [8.0],
        "tamis": [1.0, 2.0, 9.0],
        "tamis in rows": [4.0],
        "lightgbm 1 thread, 1/5": [6.0],
        "tamis 1 thread, 1/5": [0.6],
    }
    ratios = speed_ratios([Measurement(what, each, 1.0) for what, times in seconds.items() for each in times])
    assert ratios == pytest.approx(
        {
            "time_vs_lightgbm": 0.25,
            "time_vs_lightgbm_in_rows": 0.5,
            "time_vs_lightgbm_1_thread": 0.1,
            "times_as_fast": 4.0,
        }
    )


def test_size_comes_from_the_environment() -> None:
    assert size_from({}) == Size(1_000_000, 300, 63, 60)
    assert size_from({"BENCH_ROWS": "1e5", "BENCH_LEAVES": "15", "BENCH_TREES": "20"}) == Size(100_000, 20, 15)
