"""Measure a machine: the real stages run on generated logs, and what tasks cost is read off.

Three processes run: one with all threads, a daily run as the command line does it, and one with a single thread. Costs
are the non-negative least squares of relative errors: C. Lawson and R. Hanson, "Solving Least Squares Problems" (1974),
chapter 23.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from engine.config_file import load_config
from engine.errors import ResourceError
from engine.execution.local import usable_cpus
from engine.planning.census import take_census
from engine.planning.costs import LEAST, MEMORY_TERMS, TERMS, Cost, Costs
from engine.planning.estimate import estimate
from engine.planning.generated import END
from engine.planning.inputs import due_jobs
from engine.planning.measure import Sized
from engine.planning.schedule import Workers
from engine.planning.shipped_costs import SHIPPED
from engine.planning.work import Job
from engine.privacy.key import child_environment

_VARIABLES: Final = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_PACKAGES: Final = ("tamis", "polars", "lightgbm", "numpy")
_SECONDS: Final = 600.0
_LEAST_START: Final = 0.5
_CHILD: Final = """
import os, sys
for name in {variables!r}:
    os.environ[name] = {threads!r}
from engine.planning.measure import main
main({folder!r}, {threads!r}, quick={quick!r})
"""
_DAILY: Final = """
import json, os, sys
for name in {variables!r}:
    os.environ[name] = {threads!r}
sys.argv = ["tamis", "run", "--quiet", "--config={config}", "--as-of={day}"]
from jobs.app import main
try:
    main()
except SystemExit as done:
    if done.code:
        raise
from engine.planning.recording import memory_now
print(json.dumps({{"process": memory_now()}}))
"""


def calibrate(today: date, folder: Path | None = None) -> Costs:
    """What tasks cost on this machine; takes less than a minute on an idle one.

    Args:
        today: The day that the result is marked with.
        folder: Where the generated logs are written, and removed again; a temporary folder when None.

    Raises:
        ResourceError: The stages did not run, or took too long.
    """
    begun = time.perf_counter()
    threads = usable_cpus()
    with TemporaryDirectory(prefix="tamis-calibration-", dir=folder) as place:
        seen = _seen(place, threads, quick=False)
        config = Path(place) / "log-0" / "tamis.toml"
        code = _DAILY.format(variables=_VARIABLES, threads=str(threads), config=config, day=END)
        daily = time.perf_counter()
        process = float(_answer(code)["process"])
        daily = time.perf_counter() - daily
        jobs = _jobs(config)
    with TemporaryDirectory(prefix="tamis-calibration-", dir=folder) as place:
        alone = seen if threads == 1 else _seen(place, 1, quick=True)
    costs = Costs(
        source=today.isoformat(),
        threads=threads,
        start=0.0,
        process=process,
        # What the generated log has nothing of is taken from elsewhere: consents.
        kinds={**SHIPPED.kinds, **costs_from(seen, alone, threads)},
        versions={name: version(name) for name in _PACKAGES},
    )
    # What the command takes beside its tasks and its driver: the same for a small log and a large one.
    start = daily - estimate(jobs, costs, Workers(1, threads, 0.0, threads, local=True)).seconds
    measured = round(time.perf_counter() - begun, 1)
    return replace(costs, start=max(_LEAST_START, start), measured_seconds=measured)


def _jobs(config: Path) -> tuple[Job, ...]:
    loaded = load_config(config).config
    return due_jobs(loaded, take_census(loaded, END), END).jobs


def _seen(folder: str, threads: int, *, quick: bool) -> list[Sized]:
    code = _CHILD.format(variables=_VARIABLES, threads=str(threads), folder=folder, quick=quick)
    return [Sized(**one) for one in _answer(code)["seen"]]


def _answer(code: str) -> dict[str, Any]:
    """What a process of its own says in its last line."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            env=child_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise ResourceError(
            f"the calibration did not end within {_SECONDS:.0f} seconds",
            code="plan-calibration-failed",
            hint="Measure when the machine is idle.",
        ) from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ResourceError(
            f"the calibration failed: {last[0]}",
            code="plan-calibration-failed",
            hint="It needs about 200 MB in the temporary folder, and 1 GB of memory.",
        )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def costs_from(seen: Sequence[Sized], alone: Sequence[Sized], threads: int) -> dict[str, Cost]:
    """Costs by kind.

    Args:
        seen: What was seen with all threads; of run 0 everything was done for the first time.
        alone: What was seen with one thread, in some of the same runs and days.
        threads: All threads.
    """
    drivers = _drivers(seen)
    costs = {}
    for kind in sorted({one.kind for one in seen} - {"driver run", "driver score"}):
        own = [one for one in seen if one.kind == kind]
        later = [one for one in own if one.run] or own
        fixed, per = _fitted(later, TERMS.get(kind, ()))
        first = max((one.seconds - _predicted(one, fixed, per) for one in own if not one.run), default=0.0)
        memory, memory_per = _memory(later, MEMORY_TERMS.get(kind))
        serial = _serial(later, [one for one in alone if one.kind == kind and one.run], threads)
        costs[kind] = Cost(fixed, per, max(0.0, first), serial, memory, memory_per)
    return {kind: replace(cost, per=_at_least(kind, cost.per)) for kind, cost in {**costs, **drivers}.items()}


def _at_least(kind: str, per: Mapping[str, float]) -> dict[str, float]:
    least = LEAST.get(kind, {})
    return {name: max(per.get(name, 0.0), least.get(name, 0.0)) for name in dict.fromkeys((*per, *least))}


def _drivers(seen: Sequence[Sized]) -> dict[str, Cost]:
    scores = [one for one in seen if one.kind == "driver score"]
    later = [one for one in scores if one.run] or scores
    fixed, per = _fitted(later, TERMS["driver score"])
    both = [one for one in seen if one.kind == "driver run"]
    # What a fit adds to the score after it.
    left = [max(0.0, one.seconds - _predicted(one, fixed, per)) for one in both if one.run]
    first = max((one.seconds - _predicted(one, fixed, per) for one in both if not one.run), default=0.0)
    more = sorted(left)[len(left) // 2] if left else 0.0
    return {"driver score": Cost(fixed, per, 0.0), "driver fit": Cost(more, {}, max(0.0, first - more))}


def _predicted(one: Sized, fixed: float, per: Mapping[str, float]) -> float:
    return fixed * one.planned + sum(each * one.sizes.get(name, 0.0) for name, each in per.items())


def _fitted(seen: Sequence[Sized], terms: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Seconds of every task, and for one unit of each size."""
    import numpy as np
    from scipy.optimize import nnls

    if not seen:
        return 0.0, {}
    rows = [[float(one.planned), *(one.sizes.get(name, 0.0) for name in terms)] for one in seen]
    seconds = np.array([max(one.seconds, 1e-6) for one in seen])
    # Relative errors count: a small log is as good a witness as a large one.
    table = np.array(rows) / seconds[:, None]
    widths = np.abs(table).max(axis=0)
    widths[widths == 0] = 1.0
    found: Any = nnls(table / widths, np.ones(len(seen)))[0] / widths
    return float(found[0]), {name: float(each) for name, each in zip(terms, found[1:].tolist(), strict=True) if each}


def _memory(seen: Sequence[Sized], term: str | None) -> tuple[float, float]:
    """Bytes of every task, and for one unit of the size they grow with: a line over what was seen."""
    if term is None or not seen:
        return float(max((one.memory for one in seen), default=0)), 0.0
    sizes = [one.sizes.get(term, 0.0) / one.planned for one in seen]
    widest = max(range(len(seen)), key=lambda number: sizes[number])
    least = min(range(len(seen)), key=lambda number: sizes[number])
    grown = sizes[widest] - sizes[least]
    slope = max(0.0, (seen[widest].memory - seen[least].memory) / grown) if grown else 0.0
    fixed = max(one.memory - slope * size for one, size in zip(seen, sizes, strict=True))
    return max(0.0, fixed), slope


def _serial(seen: Sequence[Sized], alone: Sequence[Sized], threads: int) -> float:
    """Share of the time on one thread that `threads` threads do not shorten."""
    runs = {(one.run, one.day) for one in alone}
    many = sum(one.seconds for one in seen if (one.run, one.day) in runs)
    single = sum(one.seconds for one in alone)
    if threads == 1 or not single or not many:
        return 1.0
    share = (1 - many / single) / (1 - 1 / threads)
    return min(1.0, max(0.0, 1 - share))
