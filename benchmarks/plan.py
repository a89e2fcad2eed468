"""`make bench-plan`: what `tamis plan` says of three logs, against what the runs take.

The machine is measured once (`tamis plan --calibrate`). Each log of BENCH_SIZES (`users:events:days`, separated by
spaces) is planned, and then run from nothing BENCH_TURNS times, each run a process of its own; the median counts. A
second run scores one new day with the bundle that is there, and was planned, too. BENCH_SHIP=1 makes what was measured
the costs that a machine is planned with on which nothing was.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from benchmarks.end_to_end import DATA, TAMIS
from benchmarks.measure import RESULTS, Measurement, run_measured, write_result
from engine.planning.costs import read_costs
from engine.planning.generated import END, Shape, write_log
from engine.planning.ship import shipped_source

SIZES = "40000:1000000:30 100000:4000000:60 200000:10000000:60"
ALLOWED = 0.25
ROWS_PER_TASK = 1_000_000


def sizes_from(text: str) -> list[Shape]:
    """The logs that BENCH_SIZES asks for; `1e6` is a number too."""
    parts = [[int(float(number)) for number in one.split(":")] for one in text.split()]
    return [Shape(users, events, days, ROWS_PER_TASK) for users, events, days in parts]


def bench(shapes: list[Shape], folder: Path, *, turns: int, results: Path, ship: bool = False) -> str:
    """Measure, plan, run and compare; write the result.

    Args:
        shapes: Sizes of the logs.
        folder: Where they are written, and everything of an earlier run is removed.
        turns: Runs per log.
        results: Folder for `plan.json`.
        ship: Whether to write `engine/planning/shipped_costs.py` anew.

    Returns:
        The table to print.

    Raises:
        RuntimeError: A run failed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    calibration = folder / "calibration.json"
    command = [*TAMIS, "plan", "--calibrate", f"--calibration={calibration}"]
    measurements = [run_measured("calibrate", command).measurement]
    ratios: dict[str, float] = {}
    lines = ["| run | planned s | real s | planned MB | real MB |", "|---|---:|---:|---:|---:|"]
    for shape in shapes:
        found: dict[str, list[tuple[dict[str, float], Measurement]]] = {"run": [], "day": []}
        for turn in range(turns):
            place = folder / f"log-{shape.events}-{turn}"
            place.mkdir()
            write_log(place, shape, hold_back=1)
            found["run"].append(_planned_and_run(place, END - timedelta(days=1), calibration, f"run {shape.events:,}"))
            write_log(place, shape)
            found["day"].append(_planned_and_run(place, END, calibration, f"day {shape.events:,}"))
            shutil.rmtree(place)
        for name, pairs in found.items():
            planned, real = median(plan["seconds"] for plan, _ in pairs), median(one.seconds for _, one in pairs)
            planned_mb = max(plan["memory"] for plan, _ in pairs) / 2**20
            measurements += [one for _, one in pairs]
            ratios[f"{name}_{shape.events}"] = planned / real
            peak = max(one.peak_mb for _, one in pairs)
            lines.append(
                f"| {name} {shape.events:,} | {planned:,.1f} | {real:,.1f} | {planned_mb:,.0f} | {peak:,.0f} |"
            )
    worst = max(abs(ratio - 1) for ratio in ratios.values())
    ratios["worst_error"] = worst
    size = {f"events_{number}": shape.events for number, shape in enumerate(shapes)}
    write_result("plan", size=size, measurements=measurements, ratios=ratios, folder=results)
    if ship:
        shipped_source(read_costs(calibration), Path(__file__).parents[1] / "engine/planning/shipped_costs.py")
    verdict = "within" if worst <= ALLOWED else "NOT within"
    return "\n".join([*lines, "", f"time is {verdict} {ALLOWED:.0%}: the worst is off by {worst:.0%}"])


def _planned_and_run(place: Path, day: date, calibration: Path, what: str) -> tuple[dict[str, float], Measurement]:
    common = [f"--config={place / 'tamis.toml'}", f"--as-of={day}"]
    plan = run_measured(f"plan of {what}", [*TAMIS, "plan", *common, f"--calibration={calibration}", "--json"])
    real = run_measured(what, [*TAMIS, "run", *common, "--quiet"]).measurement
    sys.stderr.write(f"{what}: {real.seconds:.1f} s, {real.peak_mb:,.0f} MiB\n")
    return json.loads(plan.stdout), real


def main() -> None:
    """Run with the sizes of the environment."""
    environment = dict(os.environ)
    turns = int(environment.get("BENCH_TURNS", "3"))
    folder = Path(environment.get("BENCH_DIR", str(DATA))) / "plan"
    shapes = sizes_from(environment.get("BENCH_SIZES", SIZES))
    report = bench(shapes, folder, turns=turns, results=RESULTS, ship=environment.get("BENCH_SHIP") == "1")
    sys.stdout.write(report + "\n")


if __name__ == "__main__":
    main()
