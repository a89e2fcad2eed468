"""How long a command takes and how much memory it needs, and the one form in which benchmarks write their results."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
PACKAGES = ("tamis", "polars", "lightgbm", "ray", "pyarrow", "numpy", "numba", "duckdb", "scikit-learn", "rapidfuzz")
POLL_SECONDS = 0.1
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Measurement:
    """Wall time and peak memory (MiB) of one run of one command."""

    what: str
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Finished:
    """A command that ended well: its measurement and what it wrote to standard output."""

    measurement: Measurement
    stdout: str


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The command's name, in brackets, may hold spaces and brackets; the parent is the second word after it.
            after_name = stat.read_text().rpartition(")")[2]
            children.setdefault(int(after_name.split()[1]), []).append(int(stat.parent.name))
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree


def _memory_kib(pid: int) -> tuple[int, int]:
    # The kernel's own high-water mark of a process misses no peak between two polls.
    now = peak = 0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                now = int(line.split()[1])
            elif line.startswith("VmHWM:"):
                peak = int(line.split()[1])
    return now, peak


def _watch(process: subprocess.Popen[str]) -> int:
    peak = 0
    while True:
        memory = [_memory_kib(pid) for pid in _tree(process.pid)]
        peak = max(peak, sum(now for now, _ in memory), *(high for _, high in memory))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
            return peak * 1024


def _rusage_bytes() -> int:
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def run_measured(what: str, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Finished:
    """Run a command in a process of its own, in the project's folder, and measure it.

    Peak memory is that of the whole process tree: the largest sum of resident memory seen at any poll, and never less
    than the largest high-water mark of a single process. Memory shared between processes counts in each of them. Where
    there is no /proc it is the largest single process that this one has waited for.

    Args:
        what: Name of the measurement.
        command: Program and arguments.
        env: Variables added to those of this process.

    Raises:
        RuntimeError: The command failed; the message ends with its standard error.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        out = stack.enter_context((folder / "stdout").open("w+", encoding="utf-8"))
        err = stack.enter_context((folder / "stderr").open("w+", encoding="utf-8"))
        started = time.perf_counter()
        process = stack.enter_context(
            subprocess.Popen(command, stdout=out, stderr=err, text=True, cwd=PROJECT, env=os.environ | dict(env or {}))
        )
        peak = _watch(process)
        seconds = time.perf_counter() - started
        if process.returncode != 0:
            err.seek(0)
            message = f"{what} ended with {process.returncode}: {' '.join(command)}\n{err.read()[-4000:]}"
            raise RuntimeError(message)
        out.seek(0)
        measured = Measurement(what, round(seconds, 3), round((peak or _rusage_bytes()) / MEBIBYTE, 1))
        return Finished(measured, out.read())


def versions() -> dict[str, str]:
    """Versions of what took part, and the machine: `python`, `platform`, `cpus` and each installed package."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "cpus": str(os.cpu_count())}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def write_result(
    name: str,
    *,
    size: Mapping[str, int],
    measurements: Sequence[Measurement],
    ratios: Mapping[str, float],
    folder: Path = RESULTS,
    more: Mapping[str, object] | None = None,
) -> Path:
    """Write `<folder>/<name>.json` in the form every benchmark of the project uses.

    Returns:
        The file: `{name, date, versions, size, measurements: [{what, seconds, peak_mb}], ratios: {name: number}}`, and
        after them what else the benchmark has to say (`more`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "name": name,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions(),
        "size": dict(size),
        "measurements": [asdict(measurement) for measurement in measurements],
        "ratios": {key: round(value, 4) for key, value in ratios.items()},
        **(more or {}),
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return path


def table(measurements: Sequence[Measurement], ratios: Mapping[str, float]) -> str:
    """The results as text: a Markdown table of the measurements, then one of the ratios."""
    lines = ["| what | seconds | peak MiB |", "|---|---:|---:|"]
    lines += [f"| {one.what} | {one.seconds:,.1f} | {one.peak_mb:,.0f} |" for one in measurements]
    lines += ["", "| ratio | |", "|---|---:|"]
    lines += [f"| {name} | {value:.2f} |" for name, value in ratios.items()]
    return "\n".join(lines)
