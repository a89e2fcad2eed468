"""`make bench-consent`: what consents and objections add to a score run.

The log of events is that of `make bench`. Beside it lies a log of consents: every user said something about three
purposes, a tenth changed their mind, a twentieth has not agreed to e-mails; and a list of a thousand users who object.
A score run with both is measured against one without, in turns; each has a bundle of its own, and the rollups lie there
already, so that nothing hides what is added. The size comes from BENCH_USERS, BENCH_EVENTS and BENCH_DAYS, the number
of turns from BENCH_TURNS.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

from benchmarks.end_to_end import DATA, END, TAMIS, Size, config_text, ensure_log, size_from
from benchmarks.measure import RESULTS, Measurement, run_measured, table, write_result

PURPOSES = ("profiling", "email_marketing", "open_tracking")
OPPOSED = 1_000
"""At most one user in a hundred, so that a small log is left with users to learn from."""
GOAL = 1.10
_SECTION = """
[consent]
path = "{consents}"

[privacy]
opposed = ["{opposed}"]
"""


def write_consents(events: Path, folder: Path) -> None:
    """Write `consents.parquet` and `opposed.txt` for the users of a log."""
    ids = pl.scan_parquet(events / "**/*.parquet").select(pl.col("user_id").unique()).collect()["user_id"].sort()
    rng = np.random.default_rng(7)
    start = datetime(END.year - 2, END.month, END.day, tzinfo=UTC)
    parts = []
    for purpose in PURPOSES:
        refused = rng.random(ids.len()) < (0.05 if purpose == "email_marketing" else 0)
        at = pl.Series(rng.integers(0, 600 * 86_400, ids.len()))
        said = pl.DataFrame({"user_id": ids, "at": at}).with_columns(
            purpose=pl.lit(purpose), status=pl.Series(np.where(refused, "withdrawn", "granted"))
        )
        changed = said.filter(pl.Series(rng.random(ids.len()) < 0.1))
        # First withdrawn, then as above: the last word stays.
        parts += [said, changed.with_columns(status=pl.lit("withdrawn"), at=pl.col("at") - 600 * 86_400)]
    rows = pl.concat(parts).with_columns(
        at=pl.lit(start) + pl.duration(seconds=pl.col("at")),
        form_version=pl.lit("2025-1"),
        source=pl.lit("web"),
    )
    rows.sort("at").write_parquet(folder / "consents.parquet", row_group_size=1_000_000)
    chosen = ids.gather_every(max(100, ids.len() // OPPOSED)).cast(pl.String)
    (folder / "opposed.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bench(size: Size, folder: Path, *, turns: int, results: Path) -> str:
    """Fit both, then score with and without in turns; the result is written as `consent.json`.

    Args:
        size: Size of the log.
        folder: Where the log is kept and the outputs are written.
        turns: Turns; the ratios are those of the medians.
        results: Folder for the result.

    Returns:
        The table to print.

    Raises:
        RuntimeError: A step failed.
    """
    folder = folder.resolve()
    log = folder / f"log-{size.users}-{size.events}-{size.days}"
    runs = folder / "consent"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    ensure_log(log, size)
    write_consents(log / "events", runs)
    text = config_text(log / "events", size)
    section = _SECTION.format(consents=runs / "consents.parquet", opposed=runs / "opposed.txt")
    kinds = {"without": text, "with": text + section}
    day = f"--as-of={END.isoformat()}"
    for name, content in kinds.items():
        (runs / f"{name}.toml").write_text(content, encoding="utf-8")
        run_measured("fit", [*TAMIS, "fit", "-c", str(runs / f"{name}.toml"), day, f"--out={runs / name}"])
    walls: dict[str, list[Measurement]] = {name: [] for name in kinds}
    cpus: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(turns):
        for name in kinds if turn % 2 == 0 else reversed(kinds):
            out = runs / f"{name}-{turn}"
            shutil.copytree(runs / name, out)
            before = _cpu()
            command = [*TAMIS, "score", "-c", str(runs / f"{name}.toml"), day, f"--out={out}", "--json"]
            walls[name].append(run_measured(f"score {name} consents", command).measurement)
            cpus[name].append(_cpu() - before)
            shutil.rmtree(out)
    ratios = {
        "seconds_vs_without": median(one.seconds for one in walls["with"])
        / median(one.seconds for one in walls["without"]),
        "cpu_vs_without": median(cpus["with"]) / median(cpus["without"]),
        "peak_vs_without": median(one.peak_mb for one in walls["with"])
        / median(one.peak_mb for one in walls["without"]),
    }
    measurements = [one for turn in zip(walls["without"], walls["with"], strict=True) for one in turn]
    sizes = {"users": size.users, "events": size.events, "days": size.days}
    write_result("consent", size=sizes, measurements=measurements, ratios=ratios, folder=results)
    return table(measurements, ratios)


def main() -> None:
    """Run the benchmark of the environment's size."""
    folder = Path(os.environ.get("BENCH_DIR", DATA))
    turns = int(os.environ.get("BENCH_TURNS", "3"))
    sys.stdout.write(bench(size_from(dict(os.environ)), folder, turns=turns, results=RESULTS) + "\n")


if __name__ == "__main__":
    main()
