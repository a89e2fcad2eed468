"""`make bench-ray`: the same score job in one process and on a local Ray, on one worker and on two; and empty tasks.

Every run is a process of its own, the ways take turns; the size comes from BENCH_USERS, BENCH_EVENTS and BENCH_DAYS,
the number of turns from BENCH_REPEATS, the larger number of empty tasks from BENCH_TASKS.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.end_to_end import DATA, END, TAMIS, Size, config_text, ensure_log, size_from
from benchmarks.measure import RESULTS, Measurement, run_measured, table, write_result

JOB = (sys.executable, "-m", "benchmarks.ray_job")
FEW_TASKS = 100
# Executor and processors of each way.
WAYS = {"local": ("local", 2), "ray, 2 workers": ("ray", 2), "ray, 1 worker": ("ray", 1)}


@dataclass(frozen=True)
class Run:
    """One run: the whole process, and what it says of itself."""

    measurement: Measurement
    told: dict[str, Any]


def run_job(what: str, *options: str) -> Run:
    """Run `benchmarks.ray_job`."""
    finished = run_measured(what, [*JOB, *options])
    return Run(finished.measurement, json.loads(finished.stdout.splitlines()[-1]))


def published(out: Path) -> str:
    """A hash of every published file and its name."""
    files = [path for path in sorted(out.rglob("*.parquet")) if not path.relative_to(out).parts[0].startswith("_")]
    whole = sha256()
    for path in files:
        whole.update(f"{path.relative_to(out)}\n".encode())
        whole.update(sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def bench(size: Size, folder: Path, *, repeats: int, many: int, results: Path) -> str:
    """Fit once, score in each way in turns, run empty tasks, and write the result.

    Args:
        size: Size of the log.
        folder: Where the log is kept and the outputs are written; the outputs of an earlier run are removed.
        repeats: Turns; the ratios are those of the medians.
        many: The larger number of empty tasks.
        results: Folder for `ray.json`.

    Returns:
        The table to print.

    Raises:
        RuntimeError: A step failed, or two ways published different bytes.
    """
    folder = folder.resolve()
    log, runs = folder / f"log-{size.users}-{size.events}-{size.days}", folder / "ray-runs"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    config = runs / "tamis.toml"
    config.write_text(config_text(log / "events", size), encoding="utf-8")
    ensure_log(log, size)
    day = f"--as-of={END.isoformat()}"
    fitted = runs / "fit"
    run_measured("tamis fit", [*TAMIS, "fit", "-c", str(config), day, f"--out={fitted}", "--quiet"])
    scores: dict[str, list[Run]] = {way: [] for way in WAYS}
    hashes = set()
    for _ in range(repeats):
        for way, (executor, cpus) in WAYS.items():
            out = runs / "score"
            # Without the rollups of the fit: all of the log is read.
            shutil.copytree(fitted / "_bundles", out / "_bundles")
            options = (f"--config={config}", day, f"--out={out}", f"--executor={executor}", f"--cpus={cpus}")
            scores[way].append(run_job(way, *options))
            hashes.add(published(out))
            shutil.rmtree(out)
    if len(hashes) != 1:
        message = "the executors published different bytes"
        raise RuntimeError(message)
    empty = {count: run_job(f"{count:,} empty tasks", f"--tasks={count}") for count in (FEW_TASKS, many)}
    shutil.rmtree(runs)
    seconds = {way: median(run.told["seconds"] for run in found) for way, found in scores.items()}
    few, most = (empty[count].told for count in (FEW_TASKS, many))
    ratios = {
        "ray_vs_local": seconds["ray, 2 workers"] / seconds["local"],
        "speedup_2_workers": seconds["ray, 1 worker"] / seconds["ray, 2 workers"],
        "driver_peak_mb": max(
            most["driver_peak_mb"], *(run.told["driver_peak_mb"] for run in scores["ray, 2 workers"])
        ),
        f"driver_peak_mb_{FEW_TASKS}_tasks": few["driver_peak_mb"],
        f"driver_peak_mb_{many}_tasks": most["driver_peak_mb"],
        "overhead_ms_per_task": 1_000 * (most["seconds"] - few["seconds"]) / (many - FEW_TASKS),
        "start_seconds": median(run.told["start_seconds"] for run in scores["ray, 2 workers"]),
    }
    measurements = [run.measurement for turn in zip(*scores.values(), strict=True) for run in turn]
    measurements += [run.measurement for run in empty.values()]
    told = {way: [run.told for run in found] for way, found in scores.items()}
    sizes = {"users": size.users, "events": size.events, "days": size.days, "tasks": many}
    write_result("ray", size=sizes, measurements=measurements, ratios=ratios, folder=results, more={"runs": told})
    return table(measurements, ratios)


def main() -> None:
    """Run the benchmark at the size that the environment asks for and print its table."""
    folder = Path(os.environ.get("BENCH_DIR", DATA))
    repeats, many = int(os.environ.get("BENCH_REPEATS", "3")), int(float(os.environ.get("BENCH_TASKS", "10000")))
    size = size_from(dict(os.environ))
    sys.stdout.write(bench(size, folder, repeats=repeats, many=many, results=RESULTS) + "\n")


if __name__ == "__main__":
    main()
