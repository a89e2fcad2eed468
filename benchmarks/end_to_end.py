"""`make bench`: the daily job against what one would write by hand, on the same data, models and centroids.

Every step runs in a process of its own, the two contestants in turns. The size comes from BENCH_USERS, BENCH_EVENTS and
BENCH_DAYS, the number of turns from BENCH_REPEATS; the data are kept under BENCH_DIR and used again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.compare import differences, published_figures
from benchmarks.measure import RESULTS, Measurement, run_measured, table, write_result
from benchmarks.script_baseline import FALLBACK, RULES

END = date(2026, 1, 1)
TARGET = "purchase"
TAMIS = (sys.executable, "-c", "from jobs.app import main; main()")
SCRIPT = (sys.executable, "-m", "benchmarks.script_baseline")
GENERATE = (sys.executable, "-m", "benchmarks.generate")
DATA = Path(__file__).parent / ".data"


@dataclass(frozen=True)
class Size:
    """Size of the log; the defaults are the reference size."""

    users: int = 1_000_000
    events: int = 50_000_000
    days: int = 100

    @property
    def horizon_days(self) -> int:
        """Horizon of the target: three of them, to learn from, to validate and to test on, fit into the log."""
        return max(1, min(30, self.days * 3 // 10))


def size_from(env: dict[str, str]) -> Size:
    """The size that BENCH_USERS, BENCH_EVENTS and BENCH_DAYS ask for; `1e6` is a number too."""
    names = {"users": "BENCH_USERS", "events": "BENCH_EVENTS", "days": "BENCH_DAYS"}
    return Size(**{field: int(float(env[name])) for field, name in names.items() if name in env})


def ensure_log(folder: Path, size: Size) -> Measurement | None:
    """Generate the log unless `folder` holds it already; None when it does."""
    asked = {"users": size.users, "events": size.events, "days": size.days, "end": END.isoformat()}
    written = folder / "log.json"
    if written.exists():
        found: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
        if asked.items() <= found.items():
            return None
    shutil.rmtree(folder, ignore_errors=True)
    options = [f"--{name}={value}" for name, value in asked.items()]
    return run_measured("generate", [*GENERATE, *options, f"--out={folder}"]).measurement


def config_text(events: Path, size: Size) -> str:
    """The configuration of the benchmark: every default, one target, the script's segments."""
    segments = "\n".join(
        f"[[segments]]\nname = {_quoted(name)}\nwhere = {_quoted(where)}\n" for name, where in RULES.items()
    )
    return f"""segment_fallback = {_quoted(FALLBACK)}

[[sources]]
name = "log"
path = {_quoted(str(events))}

[sources.columns]
user_id = "user_id"
event_type = "event_type"
event_time = "event_time"
event_id = "event_id"
amount = "amount"

[events]
purchase = "purchase"
send = "email_sent"
open = "email_open"
click = "email_click"

[[targets]]
name = "{TARGET}"
event = "purchase"
horizon_days = {size.horizon_days}

# The script applies LightGBM's own scores; whether the model is any good does not matter here.
[model]
trees = 100
early_stopping_rounds = 0
train_anchors = 1
test_users = 0
min_positives = 5
calibration = "none"
gate = "warn"

{segments}"""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _current_bundle(out: Path) -> Path:
    current: dict[str, str] = json.loads((out / "_bundles" / "current").read_text(encoding="utf-8"))
    return out / "_bundles" / current["bundle"]


def bench(size: Size, folder: Path, *, repeats: int, results: Path) -> str:
    """Generate, fit once, then score and run the script in turns; compare what they wrote and write the result.

    Args:
        size: Size of the log.
        folder: Where the log is kept and the outputs are written; the outputs of an earlier run are removed.
        repeats: Turns; the ratios are those of the medians.
        results: Folder for `end_to_end.json`.

    Returns:
        The table to print.

    Raises:
        RuntimeError: A step failed, or the two outputs disagree.
    """
    folder = folder.resolve()
    log = folder / f"log-{size.users}-{size.events}-{size.days}"
    runs = folder / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    config = runs / "tamis.toml"
    config.write_text(config_text(log / "events", size), encoding="utf-8")
    day = f"--as-of={END.isoformat()}"

    generated = ensure_log(log, size)
    fit_out = runs / "fit"
    measurements = [] if generated is None else [generated]
    fit = run_measured("tamis fit", [*TAMIS, "fit", "-c", str(config), day, f"--out={fit_out}"])
    measurements.append(fit.measurement)
    bundle = _current_bundle(fit_out)
    scores: list[Measurement] = []
    scripts: list[Measurement] = []
    for turn in range(repeats):
        # Each turn publishes for the first time: a second run of a date may find its work done.
        out, by_hand = runs / f"score-{turn}", runs / f"script-{turn}"
        shutil.copytree(fit_out / "_bundles", out / "_bundles")
        score = run_measured("tamis score", [*TAMIS, "score", "-c", str(config), day, f"--out={out}", "--json"])
        options = [f"--events={log / 'events'}", day, f"--bundle={bundle}", f"--out={by_hand}"]
        script = run_measured("script", [*SCRIPT, *options])
        scores.append(score.measurement)
        scripts.append(script.measurement)
        unequal = differences(published_figures(out, END, [TARGET]), json.loads(script.stdout))
        if unequal:
            message = "the project and the script disagree\n" + "\n".join(unequal)
            raise RuntimeError(message)
        shutil.rmtree(out)
        shutil.rmtree(by_hand)
    ratios = {
        "time_vs_script": median(one.seconds for one in scores) / median(one.seconds for one in scripts),
        "memory_vs_script": median(one.peak_mb for one in scores) / median(one.peak_mb for one in scripts),
    }
    measurements += [one for turn in zip(scores, scripts, strict=True) for one in turn]
    sizes = {"users": size.users, "events": size.events, "days": size.days}
    write_result("end_to_end", size=sizes, measurements=measurements, ratios=ratios, folder=results)
    return table(measurements, ratios)


def main() -> None:
    """Run the benchmark at the size that the environment asks for and print its table."""
    folder = Path(os.environ.get("BENCH_DIR", DATA))
    repeats = int(os.environ.get("BENCH_REPEATS", "3"))
    sys.stdout.write(bench(size_from(dict(os.environ)), folder, repeats=repeats, results=RESULTS) + "\n")


if __name__ == "__main__":
    main()
