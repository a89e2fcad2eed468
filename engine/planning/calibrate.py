"""Measure a machine: the real stages run on generated logs, and what tasks cost is read off.

Two processes run, one with all threads and one with a single one. Costs are the non-negative least squares of relative
errors: C. Lawson and R. Hanson, "Solving Least Squares Problems" (1974), chapter 23.
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

from engine.errors import ResourceError
from engine.execution.local import usable_cpus
from engine.planning.costs import LEAST, MEMORY_TERMS, TERMS, Cost, Costs
from engine.planning.measure import Sized

_VARIABLES: Final = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_PACKAGES: Final = ("tamis", "polars", "lightgbm", "numpy")
_SECONDS: Final = 600.0
_CHILD: Final = """
import os, sys
for name in {variables!r}:
    os.environ[name] = {threads!r}
from engine.planning.measure import main
main({folder!r}, {threads!r}, quick={quick!r})
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
    process, seen, start = _measured(folder, threads, quick=False)
    alone = seen if threads == 1 else _measured(folder, 1, quick=True)[1]
    return Costs(
        source=today.isoformat(),
        threads=threads,
        start=start,
        process=process,
        kinds=costs_from(seen, alone, threads),
        versions={name: version(name) for name in _PACKAGES},
        measured_seconds=round(time.perf_counter() - begun, 1),
    )


def _measured(folder: Path | None, threads: int, *, quick: bool) -> tuple[float, list[Sized], float]:
    """Bytes of the process, what was seen, and the seconds until it could begin."""
    with TemporaryDirectory(prefix="tamis-calibration-", dir=folder) as place:
        code = _CHILD.format(variables=_VARIABLES, threads=str(threads), folder=place, quick=quick)
        start = _start_seconds()
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, timeout=_SECONDS
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
    answer = json.loads(done.stdout)
    return float(answer["process"]), [Sized(**one) for one in answer["seen"]], start


def _start_seconds() -> float:
    """Seconds until a new process has imported what a run needs; the second of two, when the files are in memory."""
    seconds = 0.0
    for _ in range(2):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-P", "-c", "import jobs.app, engine.pipeline"], check=False, timeout=_SECONDS)
        seconds = time.perf_counter() - begun
    return seconds


def costs_from(seen: Sequence[Sized], alone: Sequence[Sized], threads: int) -> dict[str, Cost]:
    """Costs by kind.

    Args:
        seen: What was seen with all threads; of run 0 everything was done for the first time.
        alone: What was seen with one thread, in some of the same runs.
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
    runs = {one.run for one in alone}
    many = sum(one.seconds for one in seen if one.run in runs)
    single = sum(one.seconds for one in alone)
    if threads == 1 or not single or not many:
        return 1.0
    share = (1 - many / single) / (1 - 1 / threads)
    return min(1.0, max(0.0, 1 - share))
