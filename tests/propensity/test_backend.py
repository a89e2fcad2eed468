from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.propensity import backend, forest_kernel
from engine.propensity.backend import LoadedModel, load_model, model_scores
from engine.propensity.forest import Forest, forest_scores
from engine.propensity.train import TrainedModel

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fresh(model: TrainedModel) -> Callable[[], LoadedModel]:
    return lambda: load_model(model.text, model.spec.categorical)


@pytest.fixture(scope="session")
def rows(model: TrainedModel) -> np.ndarray:
    stored = np.array(model.spec.check_rows, dtype=np.float64)
    columns = [np.random.default_rng(5).permutation(np.resize(column, 3000)) for column in stored.T]
    return np.column_stack(columns)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_WORTH_LOADING", 0)
    monkeypatch.setattr(backend, "_WORTH_PREPARING", 0)


def test_the_backend_changes_no_bit(
    fresh: Callable[[], LoadedModel], rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fresh()
    monkeypatch.setattr(backend, "_WORTH_LOADING", 2**60)
    monkeypatch.setattr(backend, "_WORTH_PREPARING", 2**60)
    slow = model_scores(model, rows, 1)
    assert (model.backend, model.note) == ("lightgbm", "")
    monkeypatch.setattr(backend, "_WORTH_LOADING", 0)
    monkeypatch.setattr(backend, "_WORTH_PREPARING", 0)
    fast = model_scores(model, rows, 2)
    assert (model.backend, model.note) == ("kernel", "")
    assert fast.tobytes() == slow.tobytes()
    np.testing.assert_allclose(fast, model.booster.predict(rows, num_threads=1), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("loaded", "calls"), [(True, 6), (False, 12)])
def test_the_kernel_is_loaded_when_lightgbm_has_taken_as_long(
    fresh: Callable[[], LoadedModel], rows: np.ndarray, monkeypatch: pytest.MonkeyPatch, loaded: bool, calls: int
) -> None:
    model = fresh()
    work = len(rows) * len(model.trees)
    monkeypatch.setattr(backend, "kernel_is_loaded", lambda: loaded)
    monkeypatch.setattr(backend, "_WORTH_PREPARING", 6 * work)
    monkeypatch.setattr(backend, "_WORTH_LOADING", 12 * work)
    backends = []
    for _ in range(calls + 1):
        model_scores(model, rows, 1)
        backends.append(model.backend)
    assert backends == ["lightgbm"] * (calls - 1) + ["kernel"] * 2


def test_a_kernel_that_disagrees_is_not_used(
    fresh: Callable[[], LoadedModel], rows: np.ndarray, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(forest: Forest, matrix: np.ndarray, threads: int) -> np.ndarray:
        scores = forest_scores(forest, matrix, threads)
        scores[7] = np.nextafter(scores[7], np.inf)
        return scores

    model = fresh()
    expected = model_scores(fresh(), rows, 1)
    monkeypatch.setattr(backend, "forest_scores", wrong)
    assert model_scores(model, rows, 1).tobytes() == expected.tobytes()
    assert model.backend == "lightgbm"
    assert model.note.startswith("the fast kernel disagrees with LightGBM on 1 of 400 made-up rows; LightGBM predicts")


def test_without_numba_lightgbm_predicts(
    fresh: Callable[[], LoadedModel], rows: np.ndarray, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = model_scores(fresh(), rows, 1)
    model = fresh()
    monkeypatch.setitem(sys.modules, "numba", None)
    forest_kernel.load_kernel.cache_clear()
    try:
        assert model_scores(model, rows, 1).tobytes() == expected.tobytes()
    finally:
        forest_kernel.load_kernel.cache_clear()
    assert model.backend == "lightgbm"
    assert model.note.startswith("the fast kernel needs numba, which is not installed; LightGBM predicts instead")


def test_a_kernel_that_breaks_is_named(
    fresh: Callable[[], LoadedModel], rows: np.ndarray, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Callable[..., None]:
        raise OSError("no space left")

    model = fresh()
    monkeypatch.setattr("engine.propensity.forest.load_kernel", broken)
    assert model_scores(model, rows, 1).shape == (len(rows),)
    assert model.note.startswith("the fast kernel failed (OSError: no space left); LightGBM predicts instead")


def test_trees_that_are_too_wide_stay_with_lightgbm_without_a_word(
    fresh: Callable[[], LoadedModel], rows: np.ndarray, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_WIDEST_TREES", 5)
    model = fresh()
    model_scores(model, rows, 1)
    assert (model.backend, model.note) == ("lightgbm", "")


def test_no_rows_no_scores(fresh: Callable[[], LoadedModel]) -> None:
    assert model_scores(fresh(), np.empty((0, 7)), 2).shape == (0,)


LOAD = """
import sys
sys.path.insert(0, {root!r})
import numpy as np
from engine.propensity import forest_kernel
from engine.propensity.forest import compile_forest, forest_scores
from engine.propensity.model_text import Tree
empty = np.array([], dtype=np.int64)
tree = Tree(empty, empty.astype(float), empty, empty, empty, np.array([0.5]), np.array([0]), empty)
assert forest_scores(compile_forest([tree], 1), np.zeros((3, 1)), 1).tolist() == [0.5] * 3
stats = forest_kernel.load_kernel().stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.mark.slow
def test_the_compiled_kernel_is_kept_elsewhere_when_its_folder_is_read_only(tmp_path: Path) -> None:
    package = tmp_path / "site" / "engine"
    (package / "propensity").mkdir(parents=True)
    for name in ("__init__.py", "compiled.py", "errors.py", "propensity/__init__.py"):
        (package / name).write_bytes((ROOT / "engine" / name).read_bytes())
    for name in ("forest.py", "forest_kernel.py", "model_text.py"):
        (package / "propensity" / name).write_bytes((ROOT / "engine" / "propensity" / name).read_bytes())
    # A file where the folder would be stands for a folder that cannot be written, for the administrator too.
    (package / "propensity" / "__pycache__").write_text("", encoding="utf-8")

    def run(home: Path, **more: str) -> list[int]:
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA", "XDG"))}
        done = subprocess.run(
            [sys.executable, "-B", "-c", LOAD.format(root=str(tmp_path / "site"))],
            env={**variables, "HOME": str(home), **more},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return [int(count) for count in done.stdout.split()]

    home = tmp_path / "home"
    home.mkdir()
    assert run(home) == [0, 1]
    assert run(home) == [1, 0]
    named = {"NUMBA_CACHE_DIR": str(tmp_path / "named")}
    assert run(home, **named) == [0, 1]
    assert run(home, **named) == [1, 0]
    # Nowhere: compiled again each time.
    nowhere = tmp_path / "file"
    nowhere.write_text("", encoding="utf-8")
    assert run(nowhere) == run(nowhere) == [0, 1]
