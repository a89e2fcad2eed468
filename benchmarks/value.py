"""`make bench-value`: what customer value costs for many customers, against one customer at a time.

The customers are simulated (`customers.py`) and lie in files of at most a million, with the BTYD features that `fit`
and `score` have at hand. `tamis` counts them, fits both models and writes the value columns of everybody. `by hand`
(`value_by_hand.py`) fits and values a sample of such customers row by row, as the formulas of the papers are usually
written down. BENCH_CUSTOMERS and BENCH_SAMPLE set the sizes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.customers import simulate
from benchmarks.end_to_end import DATA
from benchmarks.measure import RESULTS, run_measured, table, write_result
from engine.config import CustomerValue
from engine.value.bgnbd import BgNbd
from engine.value.counts import count_files
from engine.value.gamma_gamma import GammaGamma
from engine.value.model import ValueModel, fit_value, value_columns

CUSTOMERS = 10_000_000
SAMPLE = 20_000
FILE_ROWS = 1_000_000
DAYS = 730
DIGITS = 2
PURCHASES = BgNbd(0.25, 4.5, 0.8, 2.5)
SPEND = GammaGamma(6.25, 3.74, 15.44)
# The two searches end where the likelihood no longer changes, which one by one is known to fewer digits.
AGREEMENT = 1e-3


def ensure_customers(folder: Path, customers: int) -> None:
    """Simulate the customers, file by file, unless they are in `folder` already."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, customers, FILE_ROWS)):
        file = folder / f"current-{number:05d}.parquet"
        if not file.exists():
            rows = min(FILE_ROWS, customers - start)
            frame = simulate(rows, PURCHASES, SPEND, days=DAYS, seed=number).drop("later")
            frame.write_parquet(file.with_suffix(".part"))
            file.with_suffix(".part").rename(file)


def value_everybody(files: list[Path], to: Path) -> dict[str, Any]:
    """Count, fit and value all customers of the files; what it took and what was found."""
    to.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    counts = count_files(map(str, files), DIGITS)
    counted = time.perf_counter()
    model = fit_value(counts, CustomerValue(), DIGITS)
    distinct = {"histories": counts.histories.height, "spend": counts.spend.height}
    del counts
    fitted = time.perf_counter()
    for file in files:
        pl.DataFrame(value_columns(pl.read_parquet(file), model)).write_parquet(to / file.name)
    valued = time.perf_counter()
    seconds = {"count": counted - started, "fit": fitted - counted, "columns": valued - fitted}
    return {
        "seconds": {stage: round(value, 2) for stage, value in seconds.items()},
        "cpu_seconds": round(time.process_time(), 2),
        "distinct": distinct,
        "model": json.loads(model.to_json()),
    }


def bench(customers: int, sample: int, folder: Path, results: Path) -> str:
    """Simulate, value everybody, value the sample by hand, compare, write `<results>/value.json`; the tables as text.

    Raises:
        RuntimeError: The two disagree on the sample.
    """
    everybody, some, to = folder / f"value-{customers}", folder / f"value-sample-{sample}", folder / "value-out"
    ensure_customers(everybody, customers)
    ensure_customers(some, sample)
    files = [str(file) for file in sorted(everybody.glob("*.parquet"))]
    tamis = run_measured("tamis", [sys.executable, "-m", "benchmarks.value", "run", str(to), *files])
    [sampled] = some.glob("*.parquet")
    by_hand = folder / "value-by-hand.parquet"
    command = [sys.executable, "-m", "benchmarks.value_by_hand", str(sampled), str(by_hand)]
    hand = run_measured("by hand, sample", command)
    found = json.loads(tamis.stdout)
    model = fit_value(count_files([str(sampled)], DIGITS), CustomerValue(), DIGITS)
    difference, overflowed = compare(model, pl.read_parquet(sampled), pl.read_parquet(by_hand))
    if difference > AGREEMENT:
        message = f"the values of the sample differ by {difference:.2e} of them"
        raise RuntimeError(message)
    per_customer = [done.measurement.seconds / rows for done, rows in ((tamis, customers), (hand, sample))]
    ratios = {"time_per_customer_vs_by_hand": per_customer[0] / per_customer[1]}
    write_result(
        "value",
        size={"customers": customers, "sample": sample, "days": DAYS},
        measurements=[tamis.measurement, hand.measurement],
        ratios=ratios,
        folder=results,
        more={**found, "max_relative_difference": float(f"{difference:.2g}"), "overflowed_by_hand": overflowed},
    )
    stages = ", ".join(f"{stage} {seconds} s" for stage, seconds in found["seconds"].items())
    distinct = ", ".join(f"{number:,} {what}" for what, number in found["distinct"].items())
    lines = [table([tamis.measurement, hand.measurement], ratios), "", f"{stages}; distinct: {distinct}"]
    return "\n".join(lines)


def compare(model: ValueModel, frame: pl.DataFrame, by_hand: pl.DataFrame) -> tuple[float, int]:
    """How far two valuations of the same customers are apart.

    Returns:
        The largest relative difference of the sums of a column, over the customers whose values could be computed by
        hand, and the number of the others.
    """
    ours = pl.DataFrame(value_columns(frame, model))
    computed = by_hand.select(pl.all_horizontal(pl.all().is_finite())).to_series()
    pairs = (
        (float(ours[name].filter(computed).sum()), float(by_hand[name].filter(computed).sum())) for name in ours.columns
    )
    return max(abs(other / own - 1) for own, other in pairs), int((~computed).sum())


def main(arguments: list[str]) -> None:
    """Run the benchmark at the size that the environment asks for; with `run`, the part of it that is measured."""
    if arguments[:1] == ["run"]:
        to, *files = map(Path, arguments[1:])
        sys.stdout.write(json.dumps(value_everybody(files, to)))
        return
    env = os.environ
    sizes = (
        int(float(env.get(name, usual))) for name, usual in [("BENCH_CUSTOMERS", CUSTOMERS), ("BENCH_SAMPLE", SAMPLE)]
    )
    sys.stdout.write(bench(*sizes, Path(env.get("BENCH_DIR", DATA)), RESULTS) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
