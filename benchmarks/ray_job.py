"""What `make bench-ray` runs in a process of its own: one score job, or very many tasks that do nothing."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any


def score(config_path: Path, day: date, overrides: list[tuple[str, object]]) -> dict[str, Any]:
    """Score as the command line does; seconds of the start-up and of the job apart."""
    from engine.config_file import load_config
    from engine.pipeline import score_run
    from jobs.session import session

    config = load_config(config_path, overrides=overrides).config
    begun = time.perf_counter()
    with session(config, quiet=True) as opened:
        started = time.perf_counter()
        record = score_run(opened.config, day, executor=opened.executor)
        seconds = time.perf_counter() - started
    tables = {name: table.rows for name, table in record.tables.items()}
    return {"start_seconds": started - begun, "seconds": seconds, "timings": record.timings, "tables": tables}


def nothing(task: int) -> int:
    """A task that takes no time."""
    return task


def tasks(count: int, cpus: int) -> dict[str, Any]:
    """Run tasks that do nothing on a local Ray."""
    from engine.config import Execution
    from engine.execution.on_ray import ray_executor

    with ray_executor(Execution(executor="ray", local_cpus=cpus)) as executor:
        executor.map(nothing, range(2 * cpus))
        started = time.perf_counter()
        done = executor.map(nothing, range(count))
        seconds = time.perf_counter() - started
    if done != list(range(count)):
        message = "results are out of order"
        raise RuntimeError(message)
    return {"seconds": seconds, "tasks": count}


def _peak_mb() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Run what the arguments say and print it as one JSON object, with the peak memory (MiB) of this process."""
    # As `jobs.app.main`; before Polars is loaded.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:1000,muzzy_decay_ms:0")
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--as-of", type=date.fromisoformat)
    parser.add_argument("--out")
    parser.add_argument("--executor", default="local")
    parser.add_argument("--cpus", type=int, default=2)
    asked = parser.parse_args()
    if asked.tasks is not None:
        found = tasks(asked.tasks, asked.cpus)
    else:
        execution = {"execution.executor": asked.executor, "execution.local_cpus": asked.cpus}
        found = score(asked.config, asked.as_of, [("out", asked.out), *execution.items()])
    sys.stdout.write(json.dumps(found | {"driver_peak_mb": _peak_mb()}) + "\n")


if __name__ == "__main__":
    main()
