"""The real stages on generated logs, in a process of its own: what each kind of task took, for what it had to do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.features.windows import day_number
from engine.pipeline import run
from engine.planning.census import take_census
from engine.planning.generated import END, Shape, write_log
from engine.planning.inputs import due_jobs
from engine.planning.recording import Recording
from engine.planning.stages import fit_job
from engine.planning.work import Job
from engine.rollups.maintain import Selection
from engine.stages.upkeep import rebuild

WARM_UP: Final = Shape(5_000, 20_000, 12, 8_000, 10)
SIZES: Final = (
    Shape(20_000, 160_000, 30, 60_000, 60, resamples=4),
    Shape(4_000, 40_000, 60, 12_000, 20, resamples=4),
    Shape(20_000, 500_000, 25, 200_000, 30, resamples=4),
)
"""Of users and events in different proportion, so that what each of them costs can be told apart; on one thread the
first alone is run, and without the day after. Tasks that are equal are done a few times each."""
LARGE_UNITS: Final = (Shape(5_000, 80_000, 2, 20_000), Shape(10_000, 300_000, 2, 100_000))
"""Of units that are cut up; they are only rolled up."""


@dataclass(frozen=True)
class Sized:
    """What tasks of one kind took in one run.

    Attributes:
        kind: Of the tasks.
        run: Number of the run; 0 is the warm-up.
        planned: How many the plan has, and `sizes` what they have to do together.
        tasks: How many there were, and `seconds` what they took together.
        memory: Most bytes that one of them added to the process.
        day: 0 of the day that learns, 1 of the one after it.
    """

    kind: str
    run: int
    planned: int
    sizes: dict[str, float]
    tasks: int
    seconds: float
    memory: int
    day: int = 0


def measure(
    folder: Path, shapes: Sequence[Shape], large: Sequence[Shape], threads: int, *, days: int = 2
) -> list[Sized]:
    """Run everything on the logs, the first of which is the warm-up.

    Args:
        folder: An empty folder for them.
        shapes: Logs to fit and to score on so many days, on the second one with new data.
        large: Logs to roll up.
        threads: Threads that LightGBM may use; those of Polars were set before it was loaded.
        days: Days, 1 or 2.
    """
    seen: list[Sized] = []
    number = 0
    for shape in shapes:
        config = write_log(folder / f"log-{number}", shape, hold_back=1)
        for later, day in enumerate((END - timedelta(days=1), END)[:days]):
            if later:
                write_log(folder / f"log-{number}", shape, hold_back=0)
            census = take_census(config, day)
            jobs = due_jobs(config, census, day).jobs
            recording = Recording(LocalExecutor(threads=threads))
            start = time.perf_counter()
            run(config, day, executor=recording)
            seen += [replace(one, day=later) for one in _seen(number, jobs, recording, time.perf_counter() - start)]
        number += 1
    for shape in large:
        seen += _rolled(write_log(folder / f"log-{number}", shape), number, threads)
        number += 1
    return seen


def _rolled(config: Config, number: int, threads: int) -> list[Sized]:
    inputs = due_jobs(config, take_census(config, END), END).inputs
    planned = fit_job(inputs, day_number(END))
    recording = Recording(LocalExecutor(threads=threads))
    rebuild(config, Selection(), executor=recording)
    calls = tuple(call for call in planned.calls if call.work[0].kind in {"PartTask", "RangeTask"})
    return _seen(number, (replace(planned, calls=calls),), recording, None)


def _seen(number: int, jobs: Sequence[Job], recording: Recording, seconds: float | None) -> list[Sized]:
    sizes: dict[str, dict[str, float]] = {}
    planned: dict[str, int] = {}
    for work, times in ((work, call.times) for job in jobs for call in job.calls for work in call.work):
        planned[work.kind] = planned.get(work.kind, 0) + times * work.tasks
        own = sizes.setdefault(work.kind, {})
        for name, size in work.sizes.items():
            own[name] = own.get(name, 0.0) + times * work.tasks * size
    found: list[Sized] = []
    for kind, tasks in planned.items():
        those = [task for task in recording.tasks if task.kind == kind]
        if those:
            took = sum(task.seconds for task in those)
            memory = max(task.peak_bytes - task.held_bytes for task in those)
            found.append(Sized(kind, number, tasks, sizes[kind], len(those), took, max(0, memory)))
    if seconds is not None:
        left = seconds - sum(task.seconds for task in recording.tasks)
        # A fit and the score after it have one driver; the sizes of both count.
        name = "driver run" if len(jobs) > 1 else "driver score"
        both: dict[str, float] = {}
        for job in jobs:
            for key, size in job.driver.sizes.items():
                both[key] = both.get(key, 0.0) + size
        found.append(Sized(name, number, 1, both, 1, max(0.0, left), 0))
    return found


def main(folder: str, threads: str, *, quick: bool) -> None:
    """Measure, and write what was seen to standard output as one JSON object."""
    sizes = SIZES[:1] if quick else SIZES
    large, days = ((), 1) if quick else (LARGE_UNITS, 2)
    seen = measure(Path(folder), (WARM_UP, *sizes), large, int(threads), days=days)
    sys.stdout.write(json.dumps({"seen": [asdict(one) for one in seen]}) + "\n")
