"""`make bench-predict`: scores of a million rows, by the project's kernel and by `Booster.predict`.

One model, one matrix of numbers, one process; the contenders take turns. One value in twelve is missing, and a tenth of
the features are categories. The size comes from BENCH_ROWS, BENCH_TREES and BENCH_LEAVES, the number of turns from
BENCH_TURNS.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from benchmarks.measure import MEBIBYTE, RESULTS, Measurement, run_measured, table, write_result
from engine.propensity.backend import LoadedModel, load_model
from engine.propensity.codes import CodeTable
from engine.propensity.forest import Forest, compile_forest, forest_scores
from engine.propensity.matrix import feature_matrix
from engine.propensity.model_text import Tree, canonical_text, feature_name, parse_model_text
from engine.stable_math import sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = (2, 4, 6, 10, 20, 40)
COUNTS, AMOUNTS, RATES = 20, 20, 14
FEATURES = COUNTS + AMOUNTS + RATES + len(LEVELS)
CATEGORICAL = [position >= FEATURES - len(LEVELS) for position in range(FEATURES)]
MISSING = 0.08
TRAINING_ROWS = 120_000
# What a fresh process does before its first score, and the score.
FIRST_CALL = (sys.executable, "-m", "benchmarks.predict", "first-call")


@dataclass(frozen=True)
class Size:
    """Rows to score and the model's size; the features are always the same 60."""

    rows: int = 1_000_000
    trees: int = 300
    leaves: int = 63
    features: int = FEATURES


def size_from(env: dict[str, str]) -> Size:
    """The size that BENCH_ROWS, BENCH_TREES and BENCH_LEAVES ask for; `1e6` is a number too."""
    names = {"rows": "BENCH_ROWS", "trees": "BENCH_TREES", "leaves": "BENCH_LEAVES"}
    return Size(**{field: int(float(env[name])) for field, name in names.items() if name in env})


def make_rows(rows: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features (counts, amounts, rates, categories; gaps everywhere) and a label that depends on many of them."""
    draw = np.random.default_rng(seed)
    matrix = np.empty((rows, FEATURES), order="F")
    for position in range(FEATURES):
        if position < COUNTS:
            matrix[:, position] = draw.poisson(1 + position % 5, rows)
        elif position < COUNTS + AMOUNTS:
            matrix[:, position] = draw.lognormal(3, 1, rows)
        elif position < COUNTS + AMOUNTS + RATES:
            matrix[:, position] = draw.random(rows)
        else:
            matrix[:, position] = draw.integers(0, LEVELS[position - FEATURES], rows)
    odds = -2 + 0.3 * matrix[:, 0] + 0.3 * matrix[:, 50] * matrix[:, 3] + 0.5 * (matrix[:, 57] % 3 == 0)
    odds += 0.2 * np.cos(matrix[:, 5:40]).sum(axis=1) + 0.4 * np.sin(9 * matrix[:, 40:54]).sum(axis=1)
    label = draw.random(rows) < sigmoid(odds)
    matrix[draw.random(matrix.shape) < MISSING] = np.nan
    return matrix, label


def train_text(size: Size) -> str:
    """The text of a model of the size asked for."""
    import lightgbm

    matrix, label = make_rows(TRAINING_ROWS, seed=1)
    settings = {
        "objective": "binary",
        "num_leaves": size.leaves,
        "min_data_in_leaf": 20,
        "learning_rate": 0.05,
        "seed": 1,
        "deterministic": True,
        "force_col_wise": True,
        "enable_bundle": False,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(
        matrix,
        label=label,
        feature_name=[feature_name(position) for position in range(FEATURES)],
        categorical_feature=[position for position, coded in enumerate(CATEGORICAL) if coded],
    )
    return canonical_text(lightgbm.train(settings, data, num_boost_round=size.trees).model_to_string())


def as_frame(matrix: NDArray[np.float64]) -> tuple[pl.DataFrame, list[CodeTable]]:
    """The rows as a frame of the engine's types: whole numbers, floats, and text for categories, with nulls."""
    columns, codes = [], []
    for position, coded in enumerate(CATEGORICAL):
        values = pl.Series(feature_name(position), matrix[:, position]).fill_nan(None)
        if coded:
            names = tuple(f"level {level:02d}" for level in range(LEVELS[position - FEATURES]))
            codes.append(CodeTable(values.name, names))
            columns.append(values.replace_strict(dict(enumerate(names)), default=None, return_dtype=pl.String))
        else:
            columns.append(values.cast(pl.Int64) if position < COUNTS else values)
    return pl.DataFrame(columns), codes


def timed(what: str, action: Callable[[], Any]) -> tuple[Measurement, Any]:
    """Seconds of one call, and the largest memory the process has had so far."""
    started = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measurement(
        what, round(seconds, 4), round(peak / (MEBIBYTE if sys.platform == "darwin" else 1024), 1)
    ), result


def first_call() -> None:
    """Print the seconds from nothing to a first score, in a process that has imported numpy and Polars only."""
    leaf, none = np.array([0.5]), np.zeros(0, dtype=np.int64)
    tree = Tree(none, none.astype(np.float64), none, none, none, leaf, np.zeros(1, dtype=np.int64), none)
    measured, _ = timed("first", lambda: forest_scores(compile_forest([tree], 1), np.zeros((1, 1)), 1))
    print(json.dumps(measured.seconds))


def first_call_seconds() -> tuple[float, float]:
    """Seconds of the first score in a new process: when the kernel must be compiled, and when it is on disk."""
    with tempfile.TemporaryDirectory() as folder:
        env = {"NUMBA_CACHE_DIR": folder}
        compiled, read = (float(run_measured("first call", FIRST_CALL, env=env).stdout) for _ in range(2))
    return compiled, read


def bench(size: Size, *, turns: int, results: Path) -> str:
    """Run the comparison and write `<results>/predict.json`.

    Returns:
        The tables of the result.

    Raises:
        RuntimeError: The two disagree by more than 1e-12.
    """
    threads = os.cpu_count() or 1
    text = train_text(size)
    parsing, _ = timed("parse the text", lambda: parse_model_text(text, CATEGORICAL))
    model: LoadedModel = load_model(text, CATEGORICAL)
    conversion, forest = timed("conversion", lambda: compile_forest(model.trees, FEATURES))
    in_columns, _ = make_rows(size.rows, seed=2)
    in_rows = np.ascontiguousarray(in_columns)

    def lightgbm_scores(matrix: NDArray[np.float64], cores: int) -> NDArray[np.float64]:
        return np.asarray(model.booster.predict(matrix, num_threads=cores))

    def tamis_scores(matrix: NDArray[np.float64], cores: int) -> NDArray[np.float64]:
        return sigmoid(forest_scores(forest, matrix, cores))

    few = slice(0, max(1, size.rows // 5))
    contenders: dict[str, Callable[[], NDArray[np.float64]]] = {
        "lightgbm": lambda: lightgbm_scores(in_rows, threads),
        "lightgbm in columns": lambda: lightgbm_scores(in_columns, threads),
        "tamis": lambda: tamis_scores(in_columns, threads),
        "tamis in rows": lambda: tamis_scores(in_rows, threads),
        "lightgbm 1 thread, 1/5": lambda: lightgbm_scores(in_rows[few], 1),
        "tamis 1 thread, 1/5": lambda: tamis_scores(in_columns[few], 1),
    }
    # The kernel is read from disk, or compiled, before the clock runs.
    tamis_scores(in_columns[:64], 1)
    measurements = [parsing, conversion]
    scores: dict[str, NDArray[np.float64]] = {}
    for _ in range(turns):
        for what, action in contenders.items():
            measured, scores[what] = timed(what, action)
            measurements.append(measured)
    raw = np.asarray(model.booster.predict(in_rows, num_threads=threads, raw_score=True))
    difference = float(np.abs(scores["tamis"] - scores["lightgbm"]).max())
    raw_difference = float(np.abs(forest_scores(forest, in_columns, threads) - raw).max())
    if difference > 1e-12 or raw_difference > 0 or scores["tamis"].tobytes() != scores["tamis in rows"].tobytes():
        raise RuntimeError(f"the scores differ by {difference}, the raw scores by {raw_difference}")

    frame, codes = as_frame(in_columns)
    names = [feature_name(position) for position in range(FEATURES)]
    matrices = [timed("frame to matrix", lambda: feature_matrix(frame, names, codes))[0] for _ in range(turns)]
    measurements += matrices
    compiled, read = first_call_seconds()
    ratios = speed_ratios(measurements)
    more = {
        "threads": threads,
        "us_per_row": {what: round(median_of(measurements, what) / len(scores[what]) * 1e6, 3) for what in contenders},
        "conversion_seconds": conversion.seconds,
        "compile_seconds": round(compiled, 3),
        "first_call_seconds": round(read, 3),
        "model": model_shape(model, forest),
        "max_abs_difference": difference,
        "raw_max_abs_difference": raw_difference,
    }
    write_result("predict", size=asdict(size), measurements=measurements, ratios=ratios, folder=results, more=more)
    return table(measurements, ratios)


def model_shape(model: LoadedModel, forest: Forest) -> dict[str, int]:
    """What the model is made of."""
    decisions = np.concatenate([tree.decision_type for tree in model.trees])
    return {
        "trees": len(model.trees),
        "leaves": sum(tree.leaf_value.size for tree in model.trees),
        "numeric_splits": int(np.count_nonzero(decisions % 2 == 0)),
        "category_splits": int(np.count_nonzero(decisions % 2 == 1)),
        "bytes": sum(getattr(forest, name).nbytes for name in Forest.__dataclass_fields__),
    }


def median_of(measurements: list[Measurement], what: str) -> float:
    """Median seconds of the measurements of one contender."""
    return statistics.median(one.seconds for one in measurements if one.what == what)


def speed_ratios(measurements: list[Measurement]) -> dict[str, float]:
    """Medians of the project's turns divided by those of LightGBM's faster layout; below 1 is faster than LightGBM."""
    theirs = min(median_of(measurements, what) for what in ("lightgbm", "lightgbm in columns"))
    ours, single = median_of(measurements, "tamis"), median_of(measurements, "tamis 1 thread, 1/5")
    return {
        "time_vs_lightgbm": ours / theirs,
        "time_vs_lightgbm_in_rows": median_of(measurements, "tamis in rows") / theirs,
        "time_vs_lightgbm_1_thread": single / median_of(measurements, "lightgbm 1 thread, 1/5"),
        "times_as_fast": theirs / ours,
    }


def main() -> None:
    """Run the benchmark at the size that the environment asks for and print its tables."""
    if sys.argv[1:] == ["first-call"]:
        first_call()
        return
    env = dict(os.environ)
    print(bench(size_from(env), turns=max(1, int(env.get("BENCH_TURNS", "5"))), results=RESULTS))


if __name__ == "__main__":
    main()
