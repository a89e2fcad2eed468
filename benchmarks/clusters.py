"""`make bench-clusters`: k-means over blocks in files, against scikit-learn and faiss with all rows in memory.

Users of some overlapping groups lie in files of column-major floats (`clusters_contenders.py` reads them). The same
start and the same number of iterations for all; contenders take turns, each in a process of its own. BENCH_ROWS,
BENCH_FEATURES, BENCH_K, BENCH_ITERATIONS and BENCH_TURNS set the size; BENCH_FAISS names a Python that has faiss, which
is left out without it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.end_to_end import DATA
from benchmarks.measure import RESULTS, Measurement, run_measured, table, write_result
from engine.clusters.blocks import write_block
from engine.clusters.units import rounded

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_ROWS = 500_000
GROUPS = 12
# Single precision leads to other roundings, and the last iterations are not at rest: faiss is not compared as closely.
AGREEMENT = 1e-6
SAME_LABELS = 0.9999


@dataclass(frozen=True)
class Size:
    """Users, features, clusters, and the iterations whose time is taken."""

    rows: int = 10_000_000
    features: int = 20
    k: int = 8
    iterations: int = 10


def size_from(env: Mapping[str, str]) -> Size:
    """The size that the environment asks for; `1e6` is a number too."""
    names = {"rows": "BENCH_ROWS", "features": "BENCH_FEATURES", "k": "BENCH_K", "iterations": "BENCH_ITERATIONS"}
    return Size(**{field: int(float(env[name])) for field, name in names.items() if name in env})


def ensure_rows(folder: Path, size: Size) -> None:
    """Write the prepared rows of overlapping groups, file by file, unless they are in `folder` already."""
    folder.mkdir(parents=True, exist_ok=True)
    centres = np.random.default_rng(0).normal(size=(GROUPS, size.features))
    for number, start in enumerate(range(0, size.rows, FILE_ROWS)):
        file = folder / f"rows-{number:05d}.npy"
        if not file.exists():
            draw = np.random.default_rng([1, number])
            rows = min(FILE_ROWS, size.rows - start)
            values = draw.standard_normal((size.features, rows)).T
            values += centres[draw.integers(0, GROUPS, rows)]
            write_block(rounded(values), file)


def bench(size: Size, *, turns: int, faiss: str | None, folder: Path, results: Path) -> str:
    """Measure all contenders and write `<results>/clusters.json`; the tables as text.

    Args:
        size: What is clustered.
        turns: Runs of each contender; ratios are those of the medians.
        faiss: A Python that has faiss, or None.
        folder: Where the rows are kept and used again.
        results: Where the result is written.

    Raises:
        RuntimeError: The project and scikit-learn disagree.
    """
    rows = folder / f"clusters-{size.rows}-{size.features}"
    ensure_rows(rows, size)
    pythons = {"tamis": sys.executable, "scikit-learn": sys.executable} | ({"faiss": faiss} if faiss else {})
    measurements: list[Measurement] = []
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
    for _ in range(turns):
        for name, python in pythons.items():
            command = [python, "-m", "benchmarks.clusters_contenders", name, str(rows)]
            command += [str(folder / f"clusters-{name}.npy"), str(size.k), str(size.iterations)]
            done = run_measured(name, command)
            measurements.append(done.measurement)
            found[name].append(json.loads(done.stdout))
    agreement = compare(found, {name: np.load(folder / f"clusters-{name}.npy") for name in pythons})
    ratios = ratios_of(found)
    more = {
        "threads": found["tamis"][0]["threads"],
        "contenders": {name: [without(run, "centroids") for run in runs] for name, runs in found.items()},
        "agreement": agreement,
    }
    write_result("clusters", size=asdict(size), measurements=measurements, ratios=ratios, folder=results, more=more)
    return "\n".join([contenders_table(found), "", table([], ratios)])


def compare(found: Mapping[str, list[dict[str, Any]]], labels: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How far centroids and labels of the others are from the project's.

    Raises:
        RuntimeError: scikit-learn's are further away than rounding explains, or one's own turns differ.
    """
    ours = found["tamis"]
    if any(run["centroids"] != ours[0]["centroids"] for run in ours):
        raise RuntimeError("the project's centroids differ from turn to turn")
    agreement = {}
    for name in sorted(set(found) - {"tamis"}):
        away = np.abs(np.array(found[name][0]["centroids"]) - np.array(ours[0]["centroids"]))
        agreement[f"{name}_centroids"] = float(away.max())
        agreement[f"{name}_labels"] = float((labels[name] == labels["tamis"]).mean())
    if agreement["scikit-learn_centroids"] > AGREEMENT or agreement["scikit-learn_labels"] < SAME_LABELS:
        message = f"the project and scikit-learn disagree: {agreement}"
        raise RuntimeError(message)
    return agreement


def ratios_of(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Medians of the project's turns divided by those of the others, and the seconds of the silhouette."""

    def median(name: str, figure: str) -> float:
        return statistics.median(run[figure] for run in found[name])

    ratios = {}
    for name in sorted(set(found) - {"tamis"}, reverse=True):
        short = "sklearn" if name == "scikit-learn" else name
        for ratio, figure in (
            ("iteration", "iteration_seconds"),
            ("memory", "fit_peak_mb"),
            ("assign", "assign_seconds"),
        ):
            ratios[f"{ratio}_vs_{short}"] = median("tamis", figure) / median(name, figure)
    return ratios | {"silhouette_seconds": median("tamis", "silhouette_seconds")}


def contenders_table(found: Mapping[str, list[dict[str, Any]]]) -> str:
    """Medians of the turns of each contender, as a Markdown table."""
    figures = ("iteration_seconds", "fit_seconds", "assign_seconds", "fit_peak_mb")
    lines = ["| what | iteration s | fit s | assign s | fit peak MiB |", "|---|---:|---:|---:|---:|"]
    for name, runs in found.items():
        cells = [statistics.median(run[figure] for run in runs) for figure in figures]
        lines.append(
            f"| {name} | " + " | ".join(f"{cell:,.0f}" if cell > 100 else f"{cell:.2f}" for cell in cells) + " |"
        )
    return "\n".join(lines)


def without(run: dict[str, Any], name: str) -> dict[str, Any]:
    """A run's figures but one, rounded to what can be told apart."""
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in run.items() if key != name}


def main() -> None:
    """Run the benchmark at the size that the environment asks for and print its tables."""
    env = os.environ
    text = bench(
        size_from(env),
        turns=max(1, int(env.get("BENCH_TURNS", "3"))),
        faiss=env.get("BENCH_FAISS"),
        folder=Path(env.get("BENCH_DIR", DATA)),
        results=RESULTS,
    )
    print(text)


if __name__ == "__main__":
    main()
