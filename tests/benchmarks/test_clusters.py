from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import clusters as module
from benchmarks.clusters import Size, bench, compare, ensure_rows, ratios_of, size_from


@pytest.mark.slow
def test_both_agree_and_the_result_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_ROWS", 3000)
    size = Size(rows=8000, features=4, k=3, iterations=2)
    text = bench(size, turns=1, faiss=None, folder=tmp_path / "data", results=tmp_path)
    result = json.loads((tmp_path / "clusters.json").read_text())
    assert [one["what"] for one in result["measurements"]] == ["tamis", "scikit-learn"]
    assert result["size"] == {"rows": 8000, "features": 4, "k": 3, "iterations": 2}
    assert set(result["ratios"]) == {
        "iteration_vs_sklearn",
        "memory_vs_sklearn",
        "assign_vs_sklearn",
        "silhouette_seconds",
    }
    runs = result["contenders"]
    assert runs["tamis"][0]["inertia"] == pytest.approx(runs["scikit-learn"][0]["inertia"], rel=1e-9)
    assert runs["tamis"][0]["iterations"] == runs["scikit-learn"][0]["iterations"] == 3
    assert "| scikit-learn |" in text


def test_rows_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_ROWS", 40)
    ensure_rows(tmp_path, Size(rows=100, features=2))
    files = sorted(tmp_path.glob("rows-*.npy"))
    assert [np.load(file).shape for file in files] == [(40, 2), (40, 2), (20, 2)]
    times = [file.stat().st_mtime_ns for file in files]
    ensure_rows(tmp_path, Size(rows=100, features=2))
    assert [file.stat().st_mtime_ns for file in files] == times


def test_the_size_comes_from_the_environment() -> None:
    assert size_from({"BENCH_ROWS": "1e6", "BENCH_K": "5"}) == Size(rows=1_000_000, k=5)


def run(centroid: float, seconds: float = 1.0) -> dict[str, object]:
    figures = ("iteration_seconds", "fit_peak_mb", "assign_seconds", "silhouette_seconds")
    return {"centroids": [[centroid]]} | dict.fromkeys(figures, seconds)


def test_a_disagreement_is_seen() -> None:
    labels = {"tamis": np.zeros(10), "scikit-learn": np.zeros(10)}
    found = {"tamis": [run(1.0)], "scikit-learn": [run(1.0 + 1e-9)]}
    assert compare(found, labels)["scikit-learn_labels"] == 1
    with pytest.raises(RuntimeError, match="disagree"):
        compare({"tamis": [run(1.0)], "scikit-learn": [run(1.1)]}, labels)
    with pytest.raises(RuntimeError, match="disagree"):
        compare(found, labels | {"scikit-learn": np.ones(10)})
    with pytest.raises(RuntimeError, match="from turn to turn"):
        compare({"tamis": [run(1.0), run(2.0)], "scikit-learn": [run(1.0)]}, labels)


def test_ratios_are_those_of_medians() -> None:
    found = {"tamis": [run(1, 2.0), run(1, 9.0), run(1, 3.0)], "scikit-learn": [run(1, 6.0)], "faiss": [run(1, 1.0)]}
    ratios = ratios_of(found)
    assert ratios["iteration_vs_sklearn"] == 0.5
    assert ratios["memory_vs_faiss"] == 3
    assert ratios["silhouette_seconds"] == 3
