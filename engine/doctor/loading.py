"""Whether the native libraries load: each in a process of its own, which it may end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from engine.doctor.finding import Finding, Subject, failed, ok
from engine.privacy.key import child_environment

_SECONDS: Final = 60.0
_MODULES: Final = ("polars", "pyarrow.parquet", "lightgbm", "numba")
_LONGEST: Final = 200
# What LightGBM can do without and looks for: three quarters of the time that it takes to load.
_LEFT_OUT: Final = ("dask", "matplotlib", "pandas", "sklearn")

Loading = dict[str, subprocess.Popen[str]]


def modules_of(subject: Subject) -> tuple[str, ...]:
    """The modules that runs of a configuration load."""
    return (*_MODULES, "ray") if subject.execution.executor == "ray" else _MODULES


@contextmanager
def loading(modules: Sequence[str]) -> Iterator[Loading]:
    """Processes that each load a module, side by side; they are ended with the context."""
    children: Loading = {}
    try:
        for module in modules:
            script = f"import sys\nsys.modules.update(dict.fromkeys({_LEFT_OUT!r}))\nimport {module}"
            command = [sys.executable, "-P", "-c", script]
            children[module] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=child_environment(),
            )
        yield children
    finally:
        for child in children.values():
            child.kill()
            child.communicate()


def check_loading(children: Loading) -> Iterator[Finding]:
    """Wait for the processes, and say of each that failed why."""
    broken = False
    for module, child in children.items():
        try:
            _, told = child.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            told, code = f"it had not loaded after {_SECONDS:.0f} seconds", 1
        else:
            code = child.returncode
        if code != 0:
            broken = True
            yield failed(
                "loading", f"{module} does not load: {_reason(code, told)}", _fix(module, code, told), module=module
            )
    if not broken:
        yield ok("loading", ", ".join(children))


def _reason(code: int, told: str) -> str:
    if code < 0:
        return f"the process died of {signal.Signals(-code).name}"
    lines = told.strip().splitlines()
    return lines[-1][:_LONGEST] if lines else f"exit code {code}"


def _fix(module: str, code: int, told: str) -> str:
    package = module.partition(".")[0]
    if code == -signal.SIGILL and package == "polars":
        return "This processor is older than the build of Polars expects: pip install 'polars[rtcompat]'"
    if "libgomp" in told:
        return "Install the OpenMP library of the system: apt-get install libgomp1, or dnf install libgomp"
    return f"pip install --force-reinstall {package}"
